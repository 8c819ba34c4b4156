"""What a ``.tflite``'s answers are held against where nobody says it: its float parent's, else a runtime's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import devices.targets
from converters import kinds, legality
from devices import runtimes
from toolkit.errors import BrokenInput
from toolkit.flatmodel import FlatModel
from toolkit.progress import Progress
from toolkit.records import Artifact, Tolerance, from_json
from toolkit.store import read_json, sha256_file, sha256_tree

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
    """What the answers are held against: in words, the answers, and how far from them is still the same; how the same
    model answers to other inputs, by signature."""

    text: str
    answers: Answers | None
    tolerance: Tolerance
    again: Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None


def parent(path: Path, inputs: Mapping[str, Mapping[str, np.ndarray]], progress: Progress) -> Reference | None:
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

        def again(key: str, feed: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            return target.answer(folder, feed, signature=key or None).outputs

        answers: Answers = {key: again(key, feed) for key, feed in inputs.items()}
    return Reference(f"the float parent {folder}", answers, tolerance, again)


def newest(path: Path, model: FlatModel, found: set[kinds.Kind], tried: Sequence[Tried]) -> Reference:
    """The newest runtime without XNNPACK; one that is known to be wrong about such a file only if there is no other."""

    def rank(each: Tried) -> tuple[Any, ...]:
        name, version = runtimes.parse(each.runtime)
        return (known(each, found) is None, -runtimes.NAMES.index(name), runtimes.order(version))

    tolerance = _same_file(model)
    able = [each for each in tried if not each.xnnpack and each.answers is not None]
    if not able:
        return Reference("none: it runs on no runtime without XNNPACK", None, tolerance)
    best = max(able, key=rank)
    doubt = ", which is known to be wrong about it" if known(best, found) else ""

    def again(key: str, feed: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        target = devices.targets.open(f"cpu:runtime={best.runtime},xnnpack=off")
        return target.answer(path, feed, batch=1, signature=key or None).outputs

    return Reference(
        f"{best.runtime} without XNNPACK{doubt} (no float parent is known)", best.answers, tolerance, again
    )


def _same_file(model: FlatModel) -> Tolerance:
    """How far two right runtimes may be apart on the same file: what the recipes allow against the float parent."""
    dtypes = {kind.dtype for kind in kinds.of_file(model)}
    if any(dtype not in ("float32", "float16") for dtype in dtypes) or any(t.scales for t in model.activations()):
        return Tolerance(psnr_db=30.0, reason="8 bits are rounded differently by different kernels")
    if "float16" in dtypes:
        return Tolerance(psnr_db=40.0, reason="some kernels compute in 16 bits")
    return Tolerance(max_abs=1e-4, reason="only the order of float additions differs")


def known(tried: Tried, found: set[kinds.Kind]) -> str | None:
    """What the legality table says of the file's kernels on this runtime."""
    name, version = runtimes.parse(tried.runtime)
    said = [
        f"{' and '.join(clauses)}: {legality.describe(kind)}"
        for kind in sorted(found)
        if (clauses := legality.broken(kind, name, version, xnnpack=tried.xnnpack))
    ]
    return "; ".join(said) or None
