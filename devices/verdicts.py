"""What a measurement is worth, judged from its own samples. Thresholds are those of pyperf and of MLPerf's practice.

``failed``       a process failed
``implausible``  twice the inferences do not take twice as long, or the time is below the roofline's floor
``throttled``    the samples get slower while they are taken, or the device says so
``unstable``     they scatter, or the warm-up never became steady
``valid``        none of these
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from toolkit.records import Failure, ProcessRun
from toolkit.statistics import robust_cv

MAX_CV = 0.10
"""Unstable from here (pyperf's check)."""

MAX_OFF_MEDIAN = 0.50
"""Unstable if the fastest or slowest sample is this far off the median (pyperf's check)."""

MAX_SLOWDOWN = 1.05
"""Throttled above: median of the last fifth over the first fifth."""

DOUBLING = (1.8, 2.2)
"""How much longer twice the inferences may take; outside, the clock did not see the work end."""


def judge(
    runs: Sequence[ProcessRun],
    *,
    failure: Failure | None = None,
    floor_us: float | None = None,
    device_says: Sequence[str] = (),
) -> tuple[str, tuple[str, ...]]:
    """The verdict and every reason found, also those of lesser verdicts.

    Args:
        runs: the fresh processes, in the order they were taken.
        failure: of the process that failed, if one did.
        floor_us: the roofline's floor in µs per inference, if known.
        device_says: why the device itself says that it was throttled (:func:`devices.readings.throttling`).
    """
    found: list[tuple[str, str]] = []
    if failure is not None:
        found.append(("failed", f"{failure.stage}: {failure.message}"))
    found += [("throttled", reason) for reason in device_says]
    groups = [np.asarray(run.samples_ns, dtype=np.float64) for run in runs if run.samples_ns]
    if groups:
        found += _implausible(runs, groups, floor_us) + _throttled(groups) + _unstable(runs, groups)
    told = [run.reported for run in runs if run.reported]
    if told and not groups:
        found += _told(told, floor_us)
    if not groups and not told and failure is None:
        found.append(("failed", "no process was run"))
    for verdict in ("failed", "implausible", "throttled", "unstable"):
        if any(kind == verdict for kind, _ in found):
            return verdict, tuple(reason for _, reason in found)
    return "valid", ()


def _told(told: Sequence[Mapping[str, float | None]], floor_us: float | None) -> list[tuple[str, str]]:
    """The same of a program that keeps no samples, as far as its own figures go."""
    found = []
    for each in told:
        mean, deviation = each.get("mean_us"), each.get("std_us")
        middle = each.get("median_us") or mean
        if middle is not None and floor_us is not None and middle < floor_us:
            what = f"median {middle:.3g} µs is below the {floor_us:.3g} µs that the arithmetic alone takes"
            found.append(("implausible", what))
        if mean and deviation is not None and deviation / mean >= MAX_CV:
            found.append(("unstable", f"coefficient of variation {deviation / mean:.0%}, not below {MAX_CV:.0%}"))
        found += _off_median(each.get("median_us"), each.get("min_us"), each.get("max_us"))
    return found


def _off_median(median: float | None, fastest: float | None, slowest: float | None) -> list[tuple[str, str]]:
    """Whether an extreme is too far off the median, any unit; nothing is said of what nobody told."""
    found = []
    for name, extreme in (("fastest", fastest), ("slowest", slowest)):
        if median and extreme is not None and abs(extreme - median) >= MAX_OFF_MEDIAN * median:
            found.append(("unstable", f"the {name} sample is {abs(extreme / median - 1):.0%} off the median"))
    return found


def _implausible(
    runs: Sequence[ProcessRun], groups: Sequence[np.ndarray], floor_us: float | None
) -> list[tuple[str, str]]:
    found = []
    doublings = [run.doubling_ratio for run in runs if run.doubling_ratio is not None]
    if doublings:
        # A clock that misses the end of the work does so in every process; a burst of other load does not.
        ratio = min(doublings, key=lambda doubling: abs(doubling - 2))
        if not DOUBLING[0] <= ratio <= DOUBLING[1]:
            low, high = DOUBLING
            found.append(("implausible", f"twice the inferences took {ratio:.2f} times as long, not {low} to {high}"))
    median_us = float(np.median(np.concatenate(groups))) / 1e3
    if floor_us is not None and median_us < floor_us:
        what = f"median {median_us:.3g} µs is below the {floor_us:.3g} µs that the arithmetic alone takes"
        found.append(("implausible", what))
    return found


def _throttled(groups: Sequence[np.ndarray]) -> list[tuple[str, str]]:
    """Inside the processes, and from process to process.

    Pooling all samples would call it throttling when one process merely landed on slower memory, so between
    processes the medians must rise every time, over at least three.
    """
    found = []
    fifths = [(g[: len(g) // 5], g[-(len(g) // 5) :]) for g in groups if len(g) >= 10]
    slowdown = float(np.median([np.median(last) / np.median(first) for first, last in fifths])) if fifths else 1.0
    if slowdown > MAX_SLOWDOWN:
        found.append(("throttled", f"the last fifth of the samples took {slowdown:.2f} times the first"))
    medians = [float(np.median(g)) for g in groups]
    rising = all(later > earlier for earlier, later in itertools.pairwise(medians))
    if len(medians) >= 3 and rising and medians[-1] / medians[0] > MAX_SLOWDOWN:
        ratio = medians[-1] / medians[0]
        found.append(
            ("throttled", f"every process was slower than the one before, the last {ratio:.2f} times the first")
        )
    return found


def _unstable(runs: Sequence[ProcessRun], groups: Sequence[np.ndarray]) -> list[tuple[str, str]]:
    found = []
    values = np.concatenate(groups)
    cv, median = robust_cv(values), float(np.median(values))
    if cv >= MAX_CV:
        found.append(("unstable", f"coefficient of variation {cv:.0%}, not below {MAX_CV:.0%}"))
    found += _off_median(median, float(values.min()), float(values.max()))
    unsteady = sum(not run.warmup_steady for run in runs)
    if 2 * unsteady > len(runs):
        found.append(("unstable", f"the warm-up was not steady at its end in {unsteady} of {len(runs)} processes"))
    return found
