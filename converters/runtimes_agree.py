"""On which runtimes does a ``.tflite`` load, run and agree? Every one that is here, XNNPACK on and off.

What is right is the answer of the file's float parent, where the record beside the file and the run around it lead to
it; else that of the newest runtime without XNNPACK, which is only held to be right. Every run is in a process of its
own: a crash in native code is a reason why, never a crash of ours.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import devices.targets
from converters import contract, further, kinds, references
from converters.references import Answers, Reference, Tried
from devices import runtimes
from devices.device import RunnerFailed
from toolkit import flatbuffer, parity
from toolkit.errors import BrokenInput, EdgeExportError
from toolkit.flatmodel import FlatModel
from toolkit.progress import Progress
from toolkit.records import Tolerance, to_json

SAMPLES = 16
"""Made-up samples that a file is asked; a wrong kernel is wrong on the first."""

_NOT_LOADED = ("start", "load", "allocate")
"""Stages of a runner that come before the first inference."""


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
    reference = references.parent(path, inputs, progress) or references.newest(path, model, found, tried)
    noise = functools.cache(functools.partial(_noise, reference, inputs))
    return {
        "reference": reference.text,
        "tolerance": _describe(reference.tolerance),
        "runtimes": [_row(each, reference, found, noise) for each in tried],
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


Noise = Callable[[], Mapping[str, Mapping[str, float]]]


def _noise(reference: Reference, inputs: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """How far the last bits of the inputs move each output of the reference, by signature."""
    if reference.again is None or reference.answers is None:
        return {}
    return {
        key: parity.change(reference.answers[key], reference.again(key, parity.nudged(feed)))
        for key, feed in inputs.items()
    }


def _row(tried: Tried, reference: Reference, found: set[kinds.Kind], noise: Noise) -> dict[str, Any]:
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
        "known": references.known(tried, found),
    }
    if tried.answers is not None and reference.answers is not None:
        wrong, errors, ratios = _distances(reference, tried.answers, {})
        if wrong and reference.tolerance.max_abs is not None:
            wrong, errors, ratios = _distances(reference, tried.answers, noise())
        row["agree"] = not wrong
        row["max_abs_error"] = max(errors) if errors and all(map(math.isfinite, errors)) else None
        row["psnr_db"] = to_json(min(ratios)) if ratios else None
        row["why"] = "; ".join(wrong) or None
    return row


def _distances(
    reference: Reference, answers: Answers, noise: Mapping[str, Mapping[str, float]]
) -> tuple[list[str], list[float], list[float]]:
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
            known = noise.get(key, {}).get(name, 0.0)
            reasons = parity.within(distance, reference.tolerance, judge_top1=False, noise=known)
            wrong += [f"{name}: {reason}" if len(measured) > 1 else reason for reason in reasons]
    return wrong, errors, ratios


def _describe(tolerance: Tolerance) -> str:
    bounds = []
    if tolerance.max_abs is not None:
        bounds.append(f"max-abs {tolerance.max_abs:g} of the peak")
    if tolerance.psnr_db is not None:
        bounds.append(f"PSNR {tolerance.psnr_db:g} dB")
    return f"{' and '.join(bounds) or 'none'} ({tolerance.reason})"
