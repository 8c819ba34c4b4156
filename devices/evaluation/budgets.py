"""Do the data show that a metric stays within its budget? The interval's bad end decides, never the point."""

from __future__ import annotations

import math

from devices.evaluation.paired import Result
from toolkit import statistics
from toolkit.errors import UsageError

KEPT, BROKEN, UNJUDGED = "kept", "broken", "not judged: no budget"
NEVER = "not enough samples: no number of them can show it"

BUDGETS: dict[str, float] = {"accuracy": 0.005, "rmse": 0.02}
"""What an artifact may lose where the user says nothing: half a point of accuracy, which is a tenth of the errors of a
classifier that is right in 95 %, or a fiftieth of the rmse."""


FEW = 30
"""Rows below which an interval by resampling or by Student's t shows nothing to be kept: a percentile bootstrap's is
too narrow there, by about a tenth at 10 rows (Hesterberg, The American Statistician 69:371–386, 2015, section 4.3)."""


def check(budget: float | None) -> None:
    """Refuses a budget that is no fraction (raises :class:`UsageError`)."""
    if budget is not None and not (0 <= budget <= 1):
        raise UsageError(f"a budget of {budget:g} is no fraction", remedy="write 0.005 for half a point")


def judge(found: Result, budget: float | None) -> tuple[bool, str]:
    """Whether the data show that the metric loses no more than the budget, and what they show instead.

    ``kept`` if the interval's bad end is within it. ``broken`` if its good end is beyond it, or the point is, so
    that no number of samples is expected to help. Else how many more samples would do.

    Args:
        found: the metric.
        budget: largest tolerated loss in the metric's unit, or as a share of the cloud's value where it is
            ``relative``; ``None`` judges nothing.
    """
    if budget is None:
        return True, UNJUDGED
    if found.difference is None or found.cloud is None:
        return False, BROKEN if found.n else "not decided: there are no rows"
    if found.gained is not None and found.lost is not None:
        return of_flips(found.gained, found.lost, found.n, budget)
    if found.interval is None:
        return False, f"not enough samples: {max(1, found.few - found.n)} more needed"
    allowed = budget * abs(found.cloud) if found.relative else budget
    # Counted as a loss: positive is worse.
    loss = -found.difference if found.higher else found.difference
    best, worst = (-found.interval[1], -found.interval[0]) if found.higher else found.interval
    if worst <= allowed and found.n >= found.few:
        return True, KEPT
    if best > allowed or loss > allowed:
        return False, BROKEN
    room = allowed - loss
    if room == 0 and worst > loss:
        return False, NEVER
    # An interval's width falls with the root of the samples. A difference that is nearly the budget asks for more than
    # anybody has; beyond 2**53 it is not a number.
    share = (worst - loss) / room if room else 0.0
    needed = max(math.ceil(min(found.n * share**2, 2.0**53)), found.n + 1, found.few)
    return False, f"not enough samples: {needed - found.n} more needed"


def of_flips(gained: int, lost: int, n: int, budget: float | None) -> tuple[bool, str]:
    """:func:`judge` of a proportion: Tango's interval, and samples that flip at the same rates.

    Args:
        gained: samples only the edge gets right.
        lost: samples only the cloud gets right.
        n: all samples.
        budget: largest tolerated drop, a fraction; ``None`` judges nothing.
    """
    if budget is None:
        return True, UNJUDGED
    difference, interval = statistics.paired_difference(gained, lost, n)
    if interval[0] >= -budget:
        return True, KEPT
    needed = statistics.samples_needed(difference, (gained + lost) / n, budget, n)
    if interval[1] < -budget or difference < -budget:
        return False, BROKEN
    if needed is None:
        return False, NEVER
    needed = max(needed, n + 1)
    # The normal approximation behind ``needed`` can be too hopeful for Tango's interval; a budget of 0 never ends.
    for _ in range(400):
        more = needed / n
        _, (low, _) = statistics.paired_difference(round(gained * more), math.ceil(lost * more), needed)
        if low >= -budget:
            return False, f"not enough samples: {needed - n} more needed"
        needed = math.ceil(needed * 1.05)
    return False, NEVER


def undecided(verdict: str) -> bool:
    """Whether more samples could still show that the budget is kept."""
    return verdict.endswith("more needed")
