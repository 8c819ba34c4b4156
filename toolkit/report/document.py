"""The one JSON document that every command prints, built from the records.

Its fields are a contract with whoever reads it: fields are added freely, and one that changes meaning
raises ``schema_version``. Paths are relative to ``run_dir``. A number that could not be had is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit import speed
from toolkit.records import SCHEMA_VERSION, Artifact, Comparison, Embedding, Measurement, ModelBundle, Sparsity, to_json
from toolkit.report.loading import REFERENCE, Records, load
from toolkit.rows import measurement_row
from toolkit.store import Run


def collect(run: Run) -> dict[str, Any]:
    """The document of a run directory.

    Raises:
        BrokenInput: a record file is damaged; names it.
    """
    return from_records(load(run), run_dir=run.root)


def from_records(records: Records, *, run_dir: Path | None) -> dict[str, Any]:
    """The document of records already read."""
    return build(
        run_dir=run_dir,
        model=records.bundle.name if records.bundle else None,
        bundle=records.bundle,
        artifacts=records.artifacts,
        measurements=records.measurements,
        comparisons=records.comparisons,
        warnings=records.warnings,
        embeddings=records.embeddings,
        sparsity=records.sparsity,
    )


def build(
    *,
    run_dir: Path | None = None,
    model: str | None = None,
    bundle: ModelBundle | None = None,
    artifacts: Sequence[Artifact] = (),
    measurements: Sequence[Measurement] = (),
    comparisons: Sequence[Comparison] = (),
    warnings: Sequence[str] = (),
    embeddings: Sequence[Embedding] = (),
    sparsity: Sequence[Sparsity] = (),
) -> dict[str, Any]:
    """The document of records in memory, in the order given.

    Args:
        run_dir: what the records' paths are relative to; ``None`` where nothing was written.
        model: the model's name, ``None`` where only files were given.
        bundle: ``None`` where nothing was trained or imported.
    """
    rows = {
        "artifacts": [_artifact(a, artifacts) for a in artifacts],
        "measurements": [_measurement(m) for m in measurements],
        "comparisons": [_comparison(c) for c in comparisons],
    }
    return _finite(
        {
            "schema_version": SCHEMA_VERSION,
            "run_dir": str(run_dir) if run_dir is not None else None,
            "model": model,
            "summary": _summary(rows),
            "bundle": _bundle(bundle) if bundle else None,
            **rows,
            "speed": _speed(measurements),
            "warnings": list(warnings),
            "embeddings": [_embedding(e) for e in embeddings],
            "sparsity": to_json(sparsity),
        }
    )


def _bundle(bundle: ModelBundle) -> dict[str, Any]:
    signatures = {"signature": to_json(bundle.signature), "signatures": to_json(bundle.signatures)}
    return {**vars(bundle), **signatures}


def _artifact(artifact: Artifact, among: Sequence[Artifact]) -> dict[str, Any]:
    reference = next((a for a in among if a.recipe == REFERENCE), None)
    return {
        **to_json(artifact),
        "size_ratio": artifact.size_bytes / reference.size_bytes if reference and reference.size_bytes else None,
        "gzip_ratio": artifact.gzip_bytes / reference.gzip_bytes if reference and reference.gzip_bytes else None,
        "quarantined": not artifact.gate.passed,
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    return {
        **measurement_row(measurement),
        "artifact_sha256": measurement.artifact_sha256,
        "failure": to_json(measurement.failure),
        "plan": to_json(measurement.plan),
        "runtime": to_json(measurement.target),
        "conditions": to_json(measurement.conditions),
        "provenance": vars(measurement)["provenance"],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    # Pictures stay in the record: they are for eyes and would make up most of the document.
    worst = [{k: v for k, v in sample.items() if k != "image"} for sample in comparison.worst]
    identical = comparison.psnr_db == math.inf
    return {**vars(comparison), "worst": worst, "identical": identical}


def _embedding(embedding: Embedding) -> dict[str, Any]:
    # Points and labels stay in the record: they are for eyes.
    return {
        "name": embedding.name,
        "kind": embedding.kind,
        "n": len(embedding.points),
        "explained": to_json(embedding.explained),
    }


def _speed(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Every measurement against float32's on the same target, else against the first; corrected over a target's."""
    rows: list[dict[str, Any]] = []
    for target in dict.fromkeys(m.target.name for m in measurements):
        here = [m for m in measurements if m.target.name == target]
        reference = next((m for m in here if m.recipe == REFERENCE), here[0])
        for found in speed.compare_all(here, reference):
            recipe, against = found.pop("a"), found.pop("b")
            rows.append({"recipe": recipe, "target": target, "against": against, **found})
    return rows


def _summary(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    artifacts, measurements, comparisons = rows["artifacts"], rows["measurements"], rows["comparisons"]
    counts = {
        "artifacts": len(artifacts),
        "quarantined": sum(a["quarantined"] for a in artifacts),
        "measurements": len(measurements),
        "measurements_not_valid": sum(m["verdict"] != "valid" for m in measurements),
        "measurements_failed": sum(m["verdict"] == "failed" for m in measurements),
        "comparisons": len(comparisons),
        "comparisons_kept": sum(c["verdict"] == "kept" for c in comparisons),
        "comparisons_not_passed": sum(not c["passed"] for c in comparisons),
    }
    failed = counts["quarantined"] + counts["measurements_failed"] + counts["comparisons_not_passed"]
    return {**counts, "passed": failed == 0}


def _finite(value: Any) -> Any:
    """The same value in plain JSON types, with ``None`` for what JSON has no number for."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
