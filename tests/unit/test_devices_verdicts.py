"""Verdicts on replayed timings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes.device import process, steady_us

from devices import verdicts
from toolkit.records import Failure


def test_steady_processes_are_valid() -> None:
    runs = [process(i, steady_us(100, seed=i)) for i in range(3)]
    assert verdicts.judge(runs, floor_us=1.0) == ("valid", ())


def test_scatter_is_unstable() -> None:
    runs = [process(0, steady_us(100, cv=0.15))]
    verdict, reasons = verdicts.judge(runs)
    assert verdict == "unstable"
    assert "coefficient of variation" in reasons[0]


@pytest.mark.parametrize(("outlier", "word"), [(151.0, "slowest"), (49.0, "fastest")])
def test_one_sample_half_off_the_median_is_unstable(outlier: float, word: str) -> None:
    verdict, reasons = verdicts.judge([process(0, [*steady_us(100, 400, cv=0.001), outlier])])
    assert verdict == "unstable"
    assert word in reasons[0]


def test_an_unsteady_warm_up_in_most_processes_is_unstable() -> None:
    runs = [process(i, steady_us(100, seed=i), steady=i == 0) for i in range(3)]
    assert verdicts.judge(runs)[0] == "unstable"
    runs = [process(i, steady_us(100, seed=i), steady=i != 0) for i in range(3)]
    assert verdicts.judge(runs)[0] == "valid"


def test_slowing_down_inside_processes_is_throttled() -> None:
    ramp = list(np.linspace(100, 110, 100))
    verdict, reasons = verdicts.judge([process(i, ramp) for i in range(2)])
    assert verdict == "throttled"
    assert "last fifth" in reasons[0]
    assert verdicts.judge([process(i, ramp[::-1]) for i in range(2)])[0] == "valid"


def test_slowing_down_from_process_to_process_is_throttled() -> None:
    rising = [process(i, steady_us(level, seed=i)) for i, level in enumerate((100, 104, 108))]
    assert verdicts.judge(rising)[0] == "throttled"
    mixed = [process(i, steady_us(level, seed=i)) for i, level in enumerate((104, 100, 108))]
    assert verdicts.judge(mixed)[0] == "valid"
    two = [process(i, steady_us(level, seed=i)) for i, level in enumerate((100, 108))]
    assert verdicts.judge(two)[0] == "valid"


@pytest.mark.parametrize("doubling", [1.0, 1.79, 2.21])
def test_twice_the_work_must_take_twice_the_time(doubling: float) -> None:
    verdict, reasons = verdicts.judge([process(i, steady_us(100), doubling=doubling) for i in range(2)])
    assert verdict == "implausible"
    assert "twice the inferences" in reasons[0]


def test_one_disturbed_doubling_does_not_condemn() -> None:
    runs = [process(0, steady_us(100), doubling=1.2), process(1, steady_us(100), doubling=1.98)]
    assert verdicts.judge(runs)[0] == "valid"
    assert verdicts.judge([process(0, steady_us(100), doubling=None)])[0] == "valid"


def test_faster_than_the_arithmetic_is_implausible() -> None:
    assert verdicts.judge([process(0, steady_us(100))], floor_us=101.5)[0] == "implausible"


@pytest.mark.parametrize(
    ("told", "verdict", "word"),
    [
        ({"min_us": 99.0, "max_us": 149.0}, "valid", ""),
        ({"min_us": 99.0, "max_us": 151.0}, "unstable", "slowest"),
        ({"min_us": 49.0, "max_us": 101.0}, "unstable", "fastest"),
        ({"std_us": 11.0}, "unstable", "coefficient of variation"),
        ({"median_us": None, "max_us": 151.0}, "valid", ""),
    ],
)
def test_a_program_without_samples_is_judged_by_its_own_figures(
    told: dict[str, float | None], verdict: str, word: str
) -> None:
    figures = {"median_us": 100.0, "mean_us": 100.0, "std_us": 1.0, **told}
    found, reasons = verdicts.judge([dataclasses.replace(process(0, []), reported=figures)])
    assert found == verdict
    assert word in "; ".join(reasons)


def test_the_worst_verdict_wins_and_every_reason_stays() -> None:
    ramp = [*np.linspace(100, 300, 100)]
    failure = Failure(stage="measure", message="the runner died of SIGSEGV")
    verdict, reasons = verdicts.judge([process(0, ramp, doubling=1.0)], failure=failure)
    assert verdict == "failed"
    assert reasons[0] == "measure: the runner died of SIGSEGV"
    assert len(reasons) >= 4


def test_nothing_run_is_failed() -> None:
    assert verdicts.judge([]) == ("failed", ("no process was run",))
