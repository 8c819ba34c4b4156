"""The samples of a measurement over time, as lines for the report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes.device import TARGET, process, steady_us

from toolkit.records import Conditions, Measurement, Plan
from toolkit.report.drift import POINTS, drift

PLAN = Plan(mode="quick", processes=2, min_samples=64, min_seconds=1.0, max_seconds=5.0)


def measured(*samples: list[float]) -> Measurement:
    return Measurement(
        recipe="int8",
        artifact_sha256="",
        target=TARGET,
        plan=PLAN,
        runs=tuple(process(i, s) for i, s in enumerate(samples)),
        delegated_ops=None,
        partitions=None,
        conditions=Conditions(before={}, after={}),
        verdict="valid",
    )


def heights(path: str) -> list[float]:
    return [float(point.split(",")[1]) for point in path[1:].split("L")]


def test_a_rise_is_a_rise_in_the_picture() -> None:
    found = drift(measured(list(np.linspace(100, 150, 1000))))
    assert found is not None
    (path,) = found["paths"]
    points = heights(path)
    assert len(points) == POINTS
    assert points == sorted(points, reverse=True)  # y grows downwards
    assert (points[0], points[-1]) == (96.0, 4.0)
    assert found["slowdown"] == pytest.approx(145 / 105, rel=0.01)


def test_processes_follow_each_other_on_one_scale() -> None:
    found = drift(measured(steady_us(100), steady_us(200)))
    assert found is not None
    slow, fast = heights(found["paths"][1]), heights(found["paths"][0])
    assert max(slow) < min(fast)
    assert found["slowdown"] == pytest.approx(1, abs=0.05)


def test_what_has_no_course() -> None:
    assert drift(measured()) is None
    assert drift(measured([1.0] * 9)) is None
    flat = drift(measured([5.0] * 12))
    assert flat is not None
    assert flat["spread"] == 0
    assert drift(replace(measured([5.0] * 12), runs=())) is None
