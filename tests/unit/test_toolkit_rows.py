"""The JSON row of a measurement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes.report_records import measurement, process

from toolkit.records import Memory
from toolkit.rows import measurement_row
from toolkit.statistics import condense


def test_times_come_from_all_samples_of_all_processes() -> None:
    made = measurement("int8")
    row = measurement_row(made)
    samples = np.concatenate([r.samples_ns for r in made.runs]) / 1e3
    assert row["median_us"] == pytest.approx(float(np.median(samples)))
    assert row["p90_us"] == pytest.approx(float(np.percentile(samples, 90)))
    assert row["interval_us"][0] <= row["median_us"] <= row["interval_us"][1]
    assert (row["samples"], row["processes"], row["delegated_ops"]) == (128, 2, [6, 6])
    assert row["init_us"] == 1800.5


def test_too_few_samples_have_no_p90_and_say_so() -> None:
    row = measurement_row(replace(measurement("int8"), runs=(process(0, 5.0, count=63),)))
    assert row["p90_us"] is None
    assert "63 samples" in row["p90_reason"]
    assert row["median_us"] is not None


def test_a_failed_run_has_no_numbers() -> None:
    row = measurement_row(measurement("float16", verdict="failed", reasons=("the runner died",)))
    assert [row[k] for k in ("median_us", "p90_us", "interval_us", "init_us", "first_us", "memory")] == [None] * 6
    assert (row["samples"], row["verdict"], row["reasons"]) == (0, "failed", ["the runner died"])


def test_memory_is_the_largest_reading_with_its_kind() -> None:
    runs = tuple(replace(process(i, 5.0), memory=Memory(bytes=10 + i, kind="ru_maxrss")) for i in range(3))
    assert measurement_row(replace(measurement("int8"), runs=runs))["memory"] == {"bytes": 12, "kind": "ru_maxrss"}


def test_a_long_run_keeps_its_quantiles_when_condensed() -> None:
    groups = [np.random.default_rng(i).gamma(2.0, size=n) for i, n in enumerate((9001, 3000))]
    cut = condense(groups)
    assert [len(g) for g in cut] == [1001, 334]
    for whole, part in zip(groups, cut, strict=True):
        assert np.quantile(part, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(whole, [0.1, 0.5, 0.9]), rel=0.01)

    assert all(a is b for a, b in zip(condense(cut), cut, strict=True))
