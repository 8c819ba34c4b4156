"""On which runtimes does a ``.tflite`` load, run and agree? Every one that is here, XNNPACK on and off.

What is right is the answer of the file's float parent, where the record beside the file and the run around it lead to
it; else that of the newest runtime without XNNPACK, which is only held to be right. Every run is in a process of its
own: a crash in native code is a reason why, never a crash of ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import devices.targets
from converters import contract, further, kinds, legality
from devices import runtimes
from devices.device import RunnerFailed
from toolkit import flatbuffer, parity
from toolkit.errors import BrokenInput, EdgeExportError
from toolkit.flatmodel import FlatModel
from toolkit.progress import Progress
from toolkit.records import Artifact, Tolerance, from_json, to_json
from toolkit.store import read_json, sha256_file, sha256_tree

SAMPLES = 16
"""Made-up samples that a file is asked; a wrong kernel is wrong on the first."""

_NOT_LOADED = ("start", "load", "allocate")
"""Stages of a runner that come before the first inference."""

_ABOVE = 3
"""Folders above a file in which its run is looked for: ``artifacts/quarantine`` is two below."""

Answers = dict[str, Mapping[str, np.ndarray]]
"""Outputs by signature and name."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of a file on one runtime."""

    runtime: str
    xnnpack: bool
    loads: bool
    answers: Answers | None
    why: str | None
    delegated_ops: tuple[int, int] | None = None


class Reference(NamedTuple):
    """What the answers are held against: in words, the answers, and how far from them is still the same."""

    text: str
    answers: Answers | None
    tolerance: Tolerance


def report(
    path: Path, fleet: Sequence[str] = (), *, data: Mapping[str, np.ndarray] | None = None, progress: Progress
) -> dict[str, Any]:
    """Tries a file on every runtime that is here.

    Args:
        path: a ``.tflite`` from anywhere.
        fleet: runtimes (``name==version``) that have to be here; by default all that are.
        data: inputs of the main signature by name ``[N, ...]``; ``None``: made up from the signature, seeded.
        progress: told what is going on.

    Returns:
        ``{"reference", "tolerance", "runtimes"}``: the rows as docs/commands.md describes them. ``agree`` is ``None``
        where there is no answer to compare, and ``False`` where a file that loads does not run.

    Raises:
        BrokenInput: the file is damaged, or no inputs can be made up for it.
        MissingError: one of the ``fleet`` is not here.
    """
    model = flatbuffer.read(path)
    inputs = _inputs(path, model, data)
    texts = list(dict.fromkeys([*runtimes.available(), *fleet]))
    with progress.task(f"try {path.name}", total=2 * len(texts)) as task:
        tried = []
        for text in texts:
            for xnnpack in (True, False):
                tried.append(_try(path, text, xnnpack, inputs))
                task.advance()
    found = kinds.of_file(model)
    reference = _parent(path, inputs, progress) or _newest(model, found, tried)
    return {
        "reference": reference.text,
        "tolerance": _describe(reference.tolerance),
        "runtimes": [_row(each, reference, found) for each in tried],
    }


def disagreeing(found: Mapping[str, Any]) -> list[str]:
    """The runtimes of a :func:`report` that load the file and do not give the right answer, a line for each."""
    return [
        f"{row['runtime']}{'' if row['xnnpack'] else ' without XNNPACK'}: {row['why']}"
        for row in found["runtimes"]
        if row["loads"] and row["agree"] is False
    ]


def _inputs(path: Path, model: FlatModel, data: Mapping[str, np.ndarray] | None) -> dict[str, dict[str, np.ndarray]]:
    """Inputs by signature and name. Of given ``data`` a signature takes its own, and is left out if one is missing."""
    found = {}
    for key in [model.signature().key, *(signature.key for signature in model.further())]:
        signature = contract.float_signature(path, key or None)
        names = [spec.name for spec in signature.inputs]
        if data is None:
            try:
                found[key] = further.seeded_inputs(signature, SAMPLES)
            except BrokenInput as error:
                raise BrokenInput(error.what, where=str(path), remedy="give samples with --data data.npz") from error
        elif set(names) <= set(data):
            found[key] = {name: data[name] for name in names}
    return found


def _try(path: Path, text: str, xnnpack: bool, inputs: Mapping[str, Mapping[str, np.ndarray]]) -> Tried:
    target = devices.targets.open(f"cpu:runtime={text},xnnpack={'on' if xnnpack else 'off'}")
    answers: Answers = {}
    delegated = None
    for key, feed in inputs.items():
        try:
            answer = target.answer(path, feed, batch=1, signature=key or None)
        except EdgeExportError as error:
            failed_early = isinstance(error, RunnerFailed) and error.failure.stage in _NOT_LOADED
            # What the runtime says about a file that it holds to be no model carries no stage.
            loads = bool(answers) or not (failed_early or isinstance(error, BrokenInput))
            return Tried(runtime=text, xnnpack=xnnpack, loads=loads, answers=None, why=_plain(error.what))
        answers[key] = answer.outputs
        delegated = delegated or answer.delegated_ops
    return Tried(runtime=text, xnnpack=xnnpack, loads=True, answers=answers, why=None, delegated_ops=delegated)


_NEWER = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'.*")


def _plain(why: str) -> str:
    """A runtime's own words, shorter where they are known."""
    return _NEWER.sub(r"it does not know \1 version \2", why.removeprefix("the model does not load: "))


def _parent(path: Path, inputs: Mapping[str, Mapping[str, np.ndarray]], progress: Progress) -> Reference | None:
    """The float parent's answers, if the record beside the file leads to it and it is still that one."""
    try:
        artifact = from_json(Artifact, read_json(path.with_suffix(".json")))
        saved = dict(artifact.data["saved_model"])
        tolerance = from_json(Tolerance, artifact.data["label"]["tolerance"])
    except (BrokenInput, OSError, ValueError, KeyError, TypeError):
        return None
    roots = (folder for folder in list(path.resolve().parents)[:_ABOVE] if (folder / "run.json").is_file())
    root = next(roots, None)
    if root is None or artifact.sha256 != sha256_file(path):
        return None
    folder = root / str(saved.get("path"))
    if not folder.is_dir() or sha256_tree(folder) != saved.get("sha256"):
        return None
    with progress.task("answers of the float parent"):
        target = devices.targets.open("saved-model")
        answers: Answers = {
            key: target.answer(folder, feed, signature=key or None).outputs for key, feed in inputs.items()
        }
    return Reference(f"the float parent {folder}", answers, tolerance)


def _newest(model: FlatModel, found: set[kinds.Kind], tried: Sequence[Tried]) -> Reference:
    """The newest runtime without XNNPACK; one that is known to be wrong about such a file only if there is no other."""

    def rank(each: Tried) -> tuple[Any, ...]:
        name, version = runtimes.parse(each.runtime)
        return (_known(each, found) is None, -runtimes.NAMES.index(name), runtimes.order(version))

    tolerance = _same_file(model)
    able = [each for each in tried if not each.xnnpack and each.answers is not None]
    if not able:
        return Reference("none: it runs on no runtime without XNNPACK", None, tolerance)
    best = max(able, key=rank)
    doubt = ", which is known to be wrong about it" if _known(best, found) else ""
    return Reference(f"{best.runtime} without XNNPACK{doubt} (no float parent is known)", best.answers, tolerance)


def _same_file(model: FlatModel) -> Tolerance:
    """How far two right runtimes may be apart on the same file: what the recipes allow against the float parent."""
    dtypes = {kind.dtype for kind in kinds.of_file(model)}
    if any(dtype not in ("float32", "float16") for dtype in dtypes) or any(t.scales for t in model.activations()):
        return Tolerance(psnr_db=30.0, reason="8 bits are rounded differently by different kernels")
    if "float16" in dtypes:
        return Tolerance(psnr_db=40.0, reason="some kernels compute in 16 bits")
    return Tolerance(max_abs=1e-4, reason="only the order of float additions differs")


def _row(tried: Tried, reference: Reference, found: set[kinds.Kind]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "runtime": tried.runtime,
        "xnnpack": tried.xnnpack,
        "loads": tried.loads,
        "runs": tried.answers is not None,
        "agree": False if tried.loads and tried.answers is None else None,
        "max_abs_error": None,
        "psnr_db": None,
        "delegated_ops": to_json(tried.delegated_ops),
        "why": tried.why,
        "known": _known(tried, found),
    }
    if tried.answers is not None and reference.answers is not None:
        wrong, errors, ratios = _distances(reference, tried.answers)
        row["agree"] = not wrong
        row["max_abs_error"] = max(errors) if errors and all(map(math.isfinite, errors)) else None
        row["psnr_db"] = to_json(min(ratios)) if ratios else None
        row["why"] = "; ".join(wrong) or None
    return row


def _distances(reference: Reference, answers: Answers) -> tuple[list[str], list[float], list[float]]:
    """Reasons why answers are not the reference's, and for every output the largest error and the PSNR."""
    wrong: list[str] = []
    errors: list[float] = []
    ratios: list[float] = []
    for key, outputs in answers.items():
        try:
            measured = parity.compare((reference.answers or {})[key], outputs)
        except ValueError as error:
            wrong.append(str(error))
            continue
        for name, distance in measured.items():
            errors.append(distance.max_abs)
            ratios.append(distance.psnr_db)
            reasons = parity.within(distance, reference.tolerance, judge_top1=False)
            wrong += [f"{name}: {reason}" if len(measured) > 1 else reason for reason in reasons]
    return wrong, errors, ratios


def _known(tried: Tried, found: set[kinds.Kind]) -> str | None:
    """What the legality table says of the file's kernels on this runtime."""
    name, version = runtimes.parse(tried.runtime)
    said = [
        f"{' and '.join(clauses)}: {legality.describe(kind)}"
        for kind in sorted(found)
        if (clauses := legality.broken(kind, name, version, xnnpack=tried.xnnpack))
    ]
    return "; ".join(said) or None


def _describe(tolerance: Tolerance) -> str:
    bounds = []
    if tolerance.max_abs is not None:
        bounds.append(f"max-abs {tolerance.max_abs:g} of the peak")
    if tolerance.psnr_db is not None:
        bounds.append(f"PSNR {tolerance.psnr_db:g} dB")
    return f"{' and '.join(bounds) or 'none'} ({tolerance.reason})"
