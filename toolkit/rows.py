"""The JSON row of a measurement, shared by whoever prints one. Derived from the raw samples, never stored."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.records import Measurement, to_json
from toolkit.statistics import summarize


def measurement_row(measurement: Measurement) -> dict[str, Any]:
    """What a measurement says: times in µs per inference, ``None`` where there is no number, and why.

    ``init_us`` and ``first_us`` are medians over the fresh processes. ``memory`` is the largest reading.
    """
    runs = measurement.runs
    timed = [r.samples_ns for r in runs if r.samples_ns]
    summary = summarize(timed, seed=measurement.plan.seed) if timed else None
    told = [r.reported for r in runs if r.reported]
    memory = max((r.memory for r in runs if r.memory is not None), key=lambda m: m.bytes, default=None)
    return {
        "recipe": measurement.recipe,
        "target": measurement.target.name,
        "median_us": summary.median_us if summary else _told(told, "median_us") or _told(told, "mean_us"),
        "interval_us": list(summary.interval_us) if summary else None,
        "p90_us": summary.p90_us if summary else None,
        "p90_reason": summary.p90_reason if summary else f"not available: {'no samples kept' if told else '0 samples'}",
        "mad_us": summary.mad_us if summary else None,
        "cv": summary.cv if summary else None,
        "min_us": summary.min_us if summary else _told(told, "min_us"),
        "max_us": summary.max_us if summary else _told(told, "max_us"),
        "process_spread": summary.process_spread if summary else None,
        "init_us": _median([r.init_us for r in runs]),
        "first_us": _median([r.first_us for r in runs]),
        "samples": summary.n if summary else 0,
        "processes": len(runs),
        "delegated_ops": list(measurement.delegated_ops) if measurement.delegated_ops else None,
        "partitions": measurement.partitions,
        "memory": to_json(memory),
        "verdict": measurement.verdict,
        "reasons": list(measurement.reasons),
        "emulated": measurement.target.emulated,
        "fidelity": measurement.provenance.get("fidelity"),
    }


def _told(told: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    return _median([each.get(name) for each in told])


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return plain.median(known) if known else None
