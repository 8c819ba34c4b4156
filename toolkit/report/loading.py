"""Reads every record of a run directory back, or says which file is damaged."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from toolkit.errors import BrokenInput
from toolkit.records import Artifact, Comparison, Embedding, Measurement, ModelBundle, Sparsity, from_json
from toolkit.store import Run, read_json

REFERENCE = "float32"
"""The recipe that sizes and latencies are compared with."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Records:
    """All that the stages left. What a stage did not do is empty (``bundle``: ``None``)."""

    bundle: ModelBundle | None = None
    artifacts: Sequence[Artifact] = ()
    measurements: Sequence[Measurement] = ()
    comparisons: Sequence[Comparison] = ()
    warnings: Sequence[str] = ()
    embeddings: Sequence[Embedding] = ()
    sparsity: Sequence[Sparsity] = ()


def load(run: Run) -> Records:
    """The records of a run: the reference recipe first, then from the largest file (gzip) to the smallest.

    Quarantined artifacts come last. Measurements and comparisons follow their artifacts, target by target.

    Raises:
        BrokenInput: a record file is damaged; names it.
    """
    artifacts = _read_all(Artifact, run, "artifacts/*.json") + _read_all(Artifact, run, "artifacts/quarantine/*.json")
    current = {a.recipe: a.sha256 for a in artifacts}

    def is_current(record: Measurement | Comparison) -> bool:
        # What was found out about an earlier file of the same name says nothing about this one.
        known = current.get(record.recipe)
        return known is None or record.artifact_sha256 in (None, known)

    bundle_file = run.path("bundle", "bundle.json")
    return arranged(
        Records(
            bundle=_read(ModelBundle, bundle_file) if bundle_file.exists() else None,
            artifacts=artifacts,
            measurements=[m for m in _read_all(Measurement, run, "measurements/*/*.json") if is_current(m)],
            comparisons=[c for c in _read_all(Comparison, run, "comparisons/*/*.json") if is_current(c)],
            warnings=_warnings(run.path("warnings.json")),
            embeddings=embeddings(run),
            sparsity=sparsity(run),
        )
    )


def embeddings(run: Run) -> list[Embedding]:
    """What the model learned, codes before columns, by name.

    Raises:
        BrokenInput: a record file is damaged; names it.
    """
    found = [_embedding(path) for path in sorted(run.root.glob("embeddings/*.json"))]
    return sorted(found, key=lambda e: (e.kind != "codes", e.name))


def sparsity(run: Run) -> list[Sparsity]:
    """The zeros of the trained model's kernels, in its order; none of a model from elsewhere.

    Raises:
        BrokenInput: the training's record is damaged; names it.
    """
    path = run.path("bundle", "training.json")
    if not path.exists():
        return []
    try:
        return [from_json(Sparsity, found) for found in read_json(path).get("sparsity", [])]
    except (TypeError, ValueError) as error:
        raise BrokenInput(
            f"has no readable sparsity ({error})", where=str(path), remedy="remove it and train again"
        ) from error


def _embedding(path: Path) -> Embedding:
    found = _read(Embedding, path)
    wrong = next(
        (
            f"{len(values)} {name} of {len(found.points)} points"
            for name, values in (("labels", found.labels), ("counts", found.counts))
            if len(values) not in (0, len(found.points))
        ),
        None,
    )
    if wrong is None and not all(math.isfinite(v) for point in found.points for v in point):
        wrong = "a point that is nowhere"
    if wrong:
        raise BrokenInput(f"holds {wrong}", where=str(path), remedy="remove it and train again")
    return found


def arranged(records: Records) -> Records:
    """The same records in the report's order: see :func:`load`."""
    artifacts = sorted(records.artifacts, key=lambda a: (not a.gate.passed, *_by_size(a)))
    order = {a.recipe: i for i, a in reversed(list(enumerate(artifacts)))}

    def rank(target: str, recipe: str) -> tuple[str, int, str]:
        return target, order.get(recipe, len(order)), recipe

    def measured(m: Measurement) -> tuple[str, int, str]:
        return rank(m.target.name, m.recipe if artifacts else "")

    def compared(c: Comparison) -> tuple[str, int, str]:
        return rank(c.target, c.recipe if artifacts else "")

    # Without artifacts (files from anywhere) the order they were given in stays.
    return dataclasses.replace(
        records,
        artifacts=artifacts,
        measurements=sorted(records.measurements, key=measured),
        comparisons=sorted(records.comparisons, key=compared),
    )


def _by_size(artifact: Artifact) -> tuple[bool, int, str]:
    return artifact.recipe != REFERENCE, -artifact.gzip_bytes, artifact.recipe


def _read_all(kind: type[T], run: Run, pattern: str) -> list[T]:
    return [_read(kind, path) for path in sorted(run.root.glob(pattern))]


def _read(kind: type[T], path: Path) -> T:
    try:
        return from_json(kind, read_json(path))
    except (TypeError, ValueError) as error:
        raise BrokenInput(
            f"is not a {kind.__name__} record ({error})", where=str(path), remedy="remove it and run the stage again"
        ) from error


def _warnings(path: Path) -> list[str]:
    if not path.exists():
        return []
    found = read_json(path).get("warnings")
    if not isinstance(found, list) or not all(isinstance(w, str) for w in found):
        raise BrokenInput(
            "does not hold a list of warnings", where=str(path), remedy="remove it and run the stage again"
        )
    return found
