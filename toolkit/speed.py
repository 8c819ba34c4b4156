"""What may be said of two latencies: a ratio of medians with its interval, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit import statistics
from toolkit.records import Measurement

DRAWS_PER_TEST = 50
"""Bootstrap draws for each of many comparisons. The smallest p-value of n draws is 2 / (n + 1), and Holm's correction
multiplies it by the number of tests: with 1,000 draws, of 26 comparisons none could ever be called different."""


def compare_speed(a: Measurement, b: Measurement, *, seed: int = 0, draws: int = 1000) -> dict[str, Any]:
    """How ``a``'s latency relates to ``b``'s: below 1, ``a`` is faster.

    Args:
        a, b: measurements of one target, from the same rounds.
        seed: of the bootstrap.
        draws: of the p-value.

    Returns:
        ``ratio`` of the medians, paired by round, its 95 % ``interval``, ``p_value`` and ``verdict``. The numbers
        are ``None`` where nothing can be compared, and the verdict says why.
    """
    names = {"a": a.recipe, "b": b.recipe}
    for side in (a, b):
        # A time that cannot be true must not be printed as a win.
        if side.verdict in ("failed", "implausible"):
            return {**names, **_no_ratio(f"not compared: {side.recipe} is {side.verdict}")}
    left = {run.round: run.samples_ns for run in a.runs if run.samples_ns}
    right = {run.round: run.samples_ns for run in b.runs if run.samples_ns}
    both = sorted(left.keys() & right.keys())
    if not (left and right):
        none = [side.recipe for side, kept in ((a, left), (b, right)) if not kept]
        return {**names, **_no_ratio(f"not compared: no samples were kept of {' and '.join(none)}")}
    if not both:
        return {**names, **_no_ratio("not compared: never measured in the same round")}
    top, bottom = [left[r] for r in both], [right[r] for r in both]
    ratio, interval = statistics.ratio_of_medians(top, bottom, seed=seed)
    return {
        **names,
        "ratio": ratio,
        "interval": list(interval),
        "p_value": statistics.ratio_p_value(top, bottom, seed=seed, draws=draws),
        "p_holm": None,
        "verdict": statistics.speed_verdict(ratio, interval),
    }


def compare_all(measurements: Sequence[Measurement], reference: Measurement, *, seed: int = 0) -> list[dict[str, Any]]:
    """:func:`compare_speed` of each with ``reference``, Holm's correction over all of them in ``p_holm``.

    A difference that does not survive it (``p_holm`` of 0.05 or more) is only "about the same, maybe".
    """
    others = [m for m in measurements if m is not reference]
    draws = max(1000, DRAWS_PER_TEST * len(others))
    found = [compare_speed(m, reference, seed=seed, draws=draws) for m in others]
    tested = [comparison for comparison in found if comparison["p_value"] is not None]
    for comparison, adjusted in zip(tested, statistics.holm([c["p_value"] for c in tested]), strict=True):
        comparison["p_holm"] = adjusted
        if adjusted >= 0.05 and comparison["verdict"] in ("faster", "slower"):
            comparison["verdict"] = "about the same, maybe"
    return found


def _no_ratio(why: str) -> dict[str, Any]:
    return {"ratio": None, "interval": None, "p_value": None, "p_holm": None, "verdict": why}
