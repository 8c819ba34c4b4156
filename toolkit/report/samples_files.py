"""A run's measurements for other tools: every record with its raw samples, and one table."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.disk import write_bytes
from toolkit.records import Measurement, to_json
from toolkit.rows import measurement_row
from toolkit.store import Run

LINES = "measurements.jsonl.gz"
TABLE = "measurements.csv"

COLUMNS = (
    *("recipe", "target", "median_us", "low_us", "high_us", "p90_us", "mad_us", "cv", "min_us", "max_us", "init_us"),
    *("first_us", "samples", "processes", "delegated", "operators", "partitions", "memory_bytes", "memory_kind"),
    *("verdict", "reasons", "emulated", "platform", "runtime", "runtime_version", "threads", "artifact_sha256"),
)


def write(run: Run, measurements: Sequence[Measurement]) -> list[Path]:
    """Writes both files into the run directory, whole or not at all; returns their paths."""
    lines = "".join(json.dumps(to_json(m), allow_nan=False) + "\n" for m in measurements)
    written = [run.path(LINES), run.path(TABLE)]
    # No time stamp: the same measurements are the same bytes.
    write_bytes(written[0], gzip.compress(lines.encode("utf-8"), mtime=0))
    write_bytes(written[1], table(measurements).encode("utf-8"))
    for path in written:
        run.keep(path)
    return written


def table(measurements: Sequence[Measurement]) -> str:
    """One line for each, times in µs per inference; empty where there is no number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for measurement in measurements:
        writer.writerow(_cells(measurement))
    return text.getvalue()


def _cells(measurement: Measurement) -> dict[str, Any]:
    row, target = measurement_row(measurement), measurement.target
    low, high = row["interval_us"] or (None, None)
    delegated, operators = row["delegated_ops"] or (None, None)
    memory = row["memory"] or {}
    known = {**row, **{k: getattr(target, k) for k in ("platform", "runtime", "runtime_version", "threads")}}
    return {
        **{name: known[name] for name in COLUMNS if name in known},
        "low_us": low,
        "high_us": high,
        "delegated": delegated,
        "operators": operators,
        "memory_bytes": memory.get("bytes"),
        "memory_kind": memory.get("kind"),
        "reasons": "; ".join(row["reasons"]),
        "artifact_sha256": measurement.artifact_sha256,
    }
