"""``bench --baseline``: is it slower than it was? Measurements of now against those of an earlier bench."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit import statistics
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Measurement, from_json
from toolkit.rows import measurement_row
from toolkit.serial import SCHEMA_VERSION

Row = Mapping[str, Any]


def read(path: Path) -> dict[tuple[str, str], Row]:
    """The rows of an earlier bench, by recipe and target: of its ``--json``, or of its measurements.jsonl.gz.

    Raises:
        BrokenInput: no such file, or neither of the two.
    """
    where = str(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
        rows = _rows(text)
    except OSError as error:
        raise BrokenInput(f"cannot be read ({error})", where=where, remedy="give what bench --json printed") from error
    except (ValueError, LookupError, TypeError, EOFError, RecursionError, zlib.error) as error:
        what = f"is neither a bench document nor measurements ({error})"
        raise BrokenInput(
            what, where=where, remedy="give what bench --json printed, or measurements.jsonl.gz"
        ) from error
    if not rows:
        raise BrokenInput("holds no measurement", where=where, remedy="give what bench --json printed")
    return {(row["recipe"], row["target"]): row for row in rows}


def _rows(text: str) -> list[Row]:
    try:
        document = json.loads(text)
    except ValueError:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [_checked(measurement_row(from_json(Measurement, line))) for line in lines]
    if not isinstance(document, Mapping):
        raise ValueError(f"it holds one {type(document).__name__}")
    if "measurements" not in document:
        return [_checked(measurement_row(from_json(Measurement, document)))]
    if document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema version {document.get('schema_version')}, not {SCHEMA_VERSION}")
    return [_checked(row) for row in document["measurements"]]


def _checked(row: Any) -> Row:
    """A row of a document: names are texts, and a number that is there is a time, finite and above 0."""
    if not isinstance(row, Mapping):
        raise ValueError("a measurement that is no object")
    for key in ("recipe", "target", "median_us", "interval_us", "verdict"):
        if key not in row:
            raise ValueError(f"a measurement without {key}")
    if not all(isinstance(row[key], str) for key in ("recipe", "target", "verdict")):
        raise ValueError("a measurement whose recipe, target or verdict is no text")
    interval = row["interval_us"]
    if interval is not None and not (isinstance(interval, list) and len(interval) == 2):
        raise ValueError("an interval_us that is no pair")
    for value in (row["median_us"], *(interval or ())):
        if value is None and interval is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ValueError(f"a time of {value!r} µs")
    return dict(row)


def compare(
    measurements: Sequence[Measurement], old: Mapping[tuple[str, str], Row], where: str
) -> list[dict[str, Any]]:
    """One row for each measurement: ratio to the baseline, its interval, a verdict.

    The interval is that of two sessions: from the low end over the high end to the high end over the low end of both
    medians' 95 % intervals, which holds at least as often (Bonferroni). Two sessions differ by more than their samples
    show: the verdict is ``slower`` only from 5 % on, as everywhere, and a machine's own drift is in the A/A control.

    Raises:
        UsageError: nothing of now is in the baseline.
    """
    found = [_row(m, old.get((m.recipe, m.target.name))) for m in measurements]
    if all(row["baseline_us"] is None and row["verdict"].startswith("not in") for row in found):
        known = ", ".join(sorted(f"{recipe} on {target}" for recipe, target in old))
        raise UsageError("nothing of this bench is in the baseline", where=where, remedy=f"it holds: {known[:300]}")
    return found


def _row(measurement: Measurement, old: Row | None) -> dict[str, Any]:
    new = measurement_row(measurement)
    row: dict[str, Any] = {
        "recipe": new["recipe"],
        "target": new["target"],
        "median_us": new["median_us"],
        "baseline_us": old["median_us"] if old else None,
        "ratio": None,
        "interval": None,
    }
    if old is None:
        return {**row, "verdict": "not in the baseline"}
    for name, side in (("now", new), ("the baseline", old)):
        if side["verdict"] in ("failed", "implausible") or not side["median_us"]:
            return {**row, "verdict": f"not compared: {name} is {side['verdict']}"}
    ratio = new["median_us"] / old["median_us"]
    if not new["interval_us"] or not old["interval_us"]:
        return {**row, "ratio": ratio, "verdict": "not compared: there is no interval"}
    low, high = new["interval_us"][0] / old["interval_us"][1], new["interval_us"][1] / old["interval_us"][0]
    if not all(map(math.isfinite, (low, high))):
        return {**row, "verdict": "not compared: there is no interval"}
    return {**row, "ratio": ratio, "interval": [low, high], "verdict": statistics.speed_verdict(ratio, (low, high))}


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For a terminal."""
    found = []
    for row in rows:
        ratio = "" if row["ratio"] is None else f" {row['ratio']:.2f} of the baseline"
        interval = "" if row["interval"] is None else f" ({row['interval'][0]:.2f}–{row['interval'][1]:.2f})"
        found.append(f"{row['recipe']} on {row['target']}:{ratio}{interval} {row['verdict']}")
    return found


def failures(rows: Sequence[Mapping[str, Any]], strict: bool) -> list[str]:
    """What is slower than it was; with ``strict`` also what could not be compared."""
    bad = [r for r in rows if r["verdict"] == "slower" or (strict and r["verdict"].startswith("not "))]
    return [line.strip() for line in lines(bad)]
