"""``bench --baseline``: slower than it was is exit 1; what cannot be compared is said."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.command import Done
from fakes.device import TARGET, process, steady_us

from devices import runtimes
from toolkit.cli import baseline
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Conditions, Measurement, Plan, to_json
from toolkit.report import document, samples_files
from toolkit.store import Run

PLAN = Plan(mode="quick", processes=2, min_samples=64, min_seconds=1.0, max_seconds=5.0)


def made(median: float, *, recipe: str = "int8", verdict: str = "valid", target: str = "cpu") -> Measurement:
    return Measurement(
        recipe=recipe,
        artifact_sha256="ab",
        target=dataclasses.replace(TARGET, name=target),
        plan=PLAN,
        runs=tuple(process(i, steady_us(median, seed=i)) for i in range(2)),
        delegated_ops=(3, 4),
        partitions=1,
        conditions=Conditions(before={}, after={}),
        verdict=verdict,
    )


def kept(folder: Path, *measurements: Measurement) -> Path:
    path = folder / "old.json"
    path.write_text(json.dumps(document.build(measurements=measurements)))
    return path


def verdicts(now: list[Measurement], old: Path) -> list[str]:
    return [row["verdict"] for row in baseline.compare(now, baseline.read(old), str(old))]


@pytest.mark.parametrize(
    ("now", "verdict"), [(100, "no difference"), (108, "slower"), (92, "faster"), (103, "about the same, maybe")]
)
def test_a_verdict_for_each(tmp_path: Path, now: float, verdict: str) -> None:
    assert verdicts([made(now)], kept(tmp_path, made(100))) == [verdict]


def test_both_sessions_intervals_count(tmp_path: Path) -> None:
    """8 % slower by the medians, but the baseline may have been as slow as this."""
    path = kept(tmp_path, made(100))
    old = {key: {**row, "interval_us": [90.0, 110.0]} for key, row in baseline.read(path).items()}
    (row,) = baseline.compare([made(108)], old, "old")
    assert row["interval"][0] < 1 < row["interval"][1]
    assert row["verdict"] == "about the same, maybe"


def test_samples_of_a_run_are_a_baseline_too(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    lines, table = samples_files.write(run, [made(100), made(50, recipe="float32")])
    assert verdicts([made(120)], lines) == ["slower"]
    rows = table.read_text().splitlines()
    assert rows[0].startswith("recipe,target,median_us,low_us,high_us")
    assert len(rows) == 3
    first = lines.read_bytes()
    samples_files.write(run, [made(100), made(50, recipe="float32")])
    assert lines.read_bytes() == first  # the same measurements, the same bytes
    single = tmp_path / "one.json"
    single.write_text(json.dumps(to_json(made(100))))
    assert verdicts([made(100)], single) == ["no difference"]


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    old = kept(tmp_path, made(100), made(9, recipe="bad", verdict="implausible"))
    now = [made(100), made(9, recipe="bad"), made(1, recipe="new"), made(5, recipe="bad", target="gpu")]
    found = verdicts(now, old)
    assert found == [
        "no difference",
        "not compared: the baseline is implausible",
        "not in the baseline",
        "not in the baseline",
    ]
    rows = baseline.compare(now, baseline.read(old), "old")
    assert baseline.failures(rows, strict=False) == []
    assert len(baseline.failures(rows, strict=True)) == 3


def test_another_bench_is_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing of this bench is in the baseline"):
        baseline.compare([made(1, recipe="other")], baseline.read(kept(tmp_path, made(1))), "old.json")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "hello", '{"schema_version": 99, "measurements": []}', '{"measurements": 3}']
)
def test_what_is_no_baseline(tmp_path: Path, text: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(BrokenInput, match=r"neither|holds no"):
        baseline.read(path)
    with pytest.raises(BrokenInput, match="cannot be read"):
        baseline.read(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"median_us": math.nan},
        {"median_us": math.inf},
        {"median_us": -3.0},
        {"median_us": "fast"},
        {"median_us": True},
        {"median_us": [1]},
        {"median_us": None},
        {"interval_us": [0, 0]},
        {"interval_us": [None, None]},
        {"interval_us": [math.nan, 100.0]},
        {"interval_us": [100.0]},
        {"interval_us": "ab"},
        {"recipe": ["int8"]},
        {"verdict": 3},
    ],
    ids=str,
)
def test_a_row_that_is_no_time_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """NaN compares as no difference, and a nought divides: a baseline that cannot be true must not pass a release."""
    path = kept(tmp_path, made(100))
    document = json.loads(path.read_text())
    document["measurements"][0].update(wrong)
    path.write_text(json.dumps(document))
    with pytest.raises(BrokenInput, match="neither a bench document nor measurements"):
        baseline.read(path)


def test_bytes_of_all_kinds_are_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "old.json.gz"
    packed = gzip.compress(bytes(range(256)) * 8)
    for data in (b'"measurements"', b'{"measurements": ["recipe"]}', b"[" * 100_000, packed[:30], b"\x1f\x8b\x08" * 9):
        path.write_bytes(data)
        with pytest.raises(BrokenInput):
            baseline.read(path)
    for at in range(10, 60):  # zlib tells of some damage by an error of its own
        path.write_bytes(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :])
        with pytest.raises(BrokenInput):
            baseline.read(path)


def test_a_release_can_hang_on_it(tmp_path: Path, edge_export: Callable[..., Done]) -> None:
    first = edge_export("bench", runtimes.PROBE, "--json")
    assert first.code == 0, first.err
    old: dict[str, Any] = json.loads(first.out)
    row = old["measurements"][0]
    row["median_us"], row["interval_us"] = row["median_us"] / 3, [v / 3 for v in row["interval_us"]]
    (tmp_path / "old.json").write_text(json.dumps(old))
    slow = edge_export("bench", runtimes.PROBE, "--baseline", "old.json", "--json")
    assert slow.code == 1
    assert "failed: baseline: probe on cpu" in slow.err
    (regression,) = json.loads(slow.out)["regressions"]
    assert regression["verdict"] == "slower"
    assert regression["ratio"] > 2
    row["median_us"], row["interval_us"] = row["median_us"] * 9, [v * 9 for v in row["interval_us"]]
    (tmp_path / "old.json").write_text(json.dumps(old))
    fast = edge_export("bench", runtimes.PROBE, "--baseline", "old.json")
    assert fast.code == 0
    assert "baseline       probe on cpu" in fast.out
    assert edge_export("bench", runtimes.PROBE, "--baseline", "nowhere.json").code == 5
