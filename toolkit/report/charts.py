"""Where things stand on the page's charts. Positions are per cent of the chart's width; text is laid out by the page.

The charts are HTML and small SVG paths rather than pictures: they take the page's colours in light and dark, and
their words stay readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.records import Measurement
from toolkit.report import lines as fmt
from toolkit.report import metric

SCATTER_HEIGHT = 340
"""Pixels, fixed so that labels can be kept apart."""

_LABEL_GAP = 19
_BINS = 60


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis: ``at`` gives the per cent of a value, ``ticks`` are (per cent, label)."""

    low: float
    high: float
    log: bool
    ticks: list[tuple[float, str]]

    def at(self, value: float) -> float:
        """Per cent along the axis, kept on it."""
        low, high, x = (math.log(max(v, 1e-12)) if self.log else v for v in (self.low, self.high, value))
        return round(min(100.0, max(0.0, 100 * (x - low) / (high - low))), 3)


def linear(
    values: Sequence[float], label: Callable[[float], str] | None = None, *, margin: float = 0.06, count: int = 5
) -> Axis:
    """An axis over all values with about ``count`` round ticks.

    Args:
        values: at least one.
        label: writes a tick; by default with as many decimals as the step has.
        margin: share of the range left free at both ends.
    """
    low, high = min(values), max(values)
    spread = (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - margin * spread, high + margin * spread
    step = _round_step((high - low) / count)
    decimals = next((d for d in range(9) if math.isclose(round(step, d), step)), 9)
    ticks = [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    axis = Axis(low, high, False, [])
    return Axis(low, high, False, [(axis.at(t), label(t) if label else f"{t:,.{decimals}f}") for t in ticks])


def logarithmic(values: Sequence[float]) -> Axis:
    """A logarithmic axis over all (positive) values with ticks at 1, 2 and 5; linear where they are close."""
    low, high = min(values) / 1.08, max(values) * 1.08
    if high / low < 4:
        return linear([low, high], margin=0)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 300 else (1,)
    axis = Axis(low, high, True, [])
    ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
    return Axis(low, high, True, [(axis.at(t), f"{t:,.10g}") for t in ticks])


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)


def forest(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Differences with their intervals, the zero line and the budget's: percentage points, or the label's unit."""
    shown = [r for r in rows if r["comparison"] and r["comparison"]["interval"]]
    if not shown:
        return None
    values = metric.is_regression(shown[0]["comparison"])
    ends = ((metric.bad_end(r["comparison"]), r["comparison"]["budget"]) for r in shown)
    budgets = sorted({(end, budget) for end, budget in ends if end is not None}, reverse=True)
    reach = [v for r in shown for v in r["comparison"]["interval"]] + [0.0] + [end for end, _ in budgets]
    if values:
        axis, unit = linear(reach), 1
    else:
        axis, unit = linear([100 * v for v in reach], lambda v: fmt.points(v / 100).rstrip("0").rstrip(".") or "0"), 100
    return {
        "ticks": axis.ticks,
        "zero": axis.at(0.0),
        "budgets": [
            (axis.at(unit * end), f"budget {fmt.points(budget)} %" if values else f"budget {fmt.points(-budget)}")
            for end, budget in budgets
        ],
        "rows": [
            {
                **row,
                "from": axis.at(unit * row["comparison"]["interval"][0]),
                "to": axis.at(unit * row["comparison"]["interval"][1]),
                "at": axis.at(unit * row["comparison"]["difference"]),
            }
            for row in shown
        ],
    }


def latencies(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Median with its interval and p90 of every measurement on one logarithmic axis in µs.

    A program that keeps no samples tells a median alone: ``from`` and ``to`` are then ``None``.
    """
    shown = [r for r in rows if r["measurement"] and r["measurement"]["median_us"]]
    if not shown:
        return None
    measured = [r["measurement"] for r in shown]
    reach = [v for m in measured for v in (*(m["interval_us"] or ()), m["p90_us"] or m["median_us"])]
    axis = logarithmic([v for v in reach if v > 0])
    return {
        "ticks": axis.ticks,
        "rows": [
            {
                **row,
                "from": axis.at(m["interval_us"][0]) if m["interval_us"] else None,
                "to": axis.at(m["interval_us"][1]) if m["interval_us"] else None,
                "at": axis.at(m["median_us"]),
                "p90": axis.at(m["p90_us"]) if m["p90_us"] else None,
            }
            for row, m in zip(shown, measured, strict=True)
        ],
    }


def scatter(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Size (as stored and after gzip, bytes, logarithmic) against the metric; tops and label tops in pixels.

    The metric's axis rises upwards whichever way is better: an rmse is better further down.
    """
    shown = [
        r
        for r in rows
        if r["artifact"] and r["artifact"]["gzip_bytes"] and r["comparison"] and r["comparison"]["edge"] is not None
    ]
    if not shown:
        return None
    unit = 1 if metric.is_regression(shown[0]["comparison"]) else 100
    clouds = {r["comparison"]["cloud"]: metric.value(r["comparison"], "cloud") for r in shown}
    clouds = {cloud: clouds[cloud] for cloud in sorted(c for c in clouds if c is not None)}
    sizes = [v for r in shown for v in (r["artifact"]["size_bytes"], r["artifact"]["gzip_bytes"])]
    across = logarithmic([v / 1000 for v in sizes])
    heights = [unit * r["comparison"]["edge"] for r in shown] + [unit * c for c in clouds]
    middle = sum(heights) / len(heights)
    least = 0.2 if unit == 100 else 0.01 * middle
    up = linear([*heights, middle - least, middle + least], margin=0.12)

    def top(percent: float) -> float:
        return round(SCATTER_HEIGHT * (1 - percent / 100), 1)

    marks = [
        {
            **row,
            "stored": across.at(row["artifact"]["size_bytes"] / 1000),
            "packed": across.at(row["artifact"]["gzip_bytes"] / 1000),
            "top": top(up.at(unit * row["comparison"]["edge"])),
        }
        for row in shown
    ]
    for mark, label_top in zip(
        sorted(marks, key=lambda m: (m["top"], -m["stored"])), apart(sorted(m["top"] for m in marks)), strict=True
    ):
        mark["label"] = label_top
    return {
        "height": SCATTER_HEIGHT,
        "across": across.ticks,
        "up": [(top(at), label) for at, label in up.ticks],
        "clouds": [(top(up.at(unit * cloud)), label) for cloud, label in clouds.items()],
        "marks": marks,
    }


def apart(tops: list[float], *, gap: float = _LABEL_GAP, height: float = SCATTER_HEIGHT) -> list[float]:
    """The same positions, in order, moved as little as needed to be ``gap`` apart and on the chart.

    Args:
        tops: pixels from the top, ascending.
    """
    gap = min(gap, height / max(1, len(tops)))
    # Isotonic regression (pool adjacent violators) of the positions less what the gaps take up.
    pools: list[list[float]] = []
    for i, top in enumerate(tops):
        pools.append([top - i * gap])
        while len(pools) > 1 and _mean(pools[-2]) >= _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    flat = [_mean(pool) for pool in pools for _ in pool]
    most = height - (len(tops) - 1) * gap
    return [round(min(max(v, 0.0), most) + i * gap, 1) for i, v in enumerate(flat)]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def distribution(measurement: Measurement) -> dict[str, Any] | None:
    """One row of bars per process, in time per inference; all on one axis, heights on one scale.

    The axis ends at the 0.5th and 99.5th percentile; what lies beyond is counted, never dropped in silence.
    """
    groups = [np.asarray(r.samples_ns, dtype=np.float64) / 1e3 for r in measurement.runs if r.samples_ns]
    if not groups:
        return None
    values = np.concatenate(groups)
    low, high = (float(v) for v in np.percentile(values, [0.5, 99.5]))
    pad = 0.04 * (high - low) or 0.01 * high or 1.0
    low, high = low - pad, high + pad
    axis = linear([low, high], margin=0, count=4)
    counts = [np.histogram(g, bins=_BINS, range=(low, high))[0] / len(g) for g in groups]
    tallest = max(float(c.max()) for c in counts) or 1.0
    outside = int(((values < low) | (values > high)).sum())
    return {
        "recipe": measurement.recipe,
        "target": measurement.target.name,
        "ticks": axis.ticks,
        "bins": _BINS,
        "median": axis.at(float(np.median(values))),
        "outside": outside,
        "least": fmt.number(float(values.min())),
        "most": fmt.number(float(values.max())),
        "processes": [
            {
                "count": len(group),
                "median": fmt.number(float(np.median(group))),
                "at": axis.at(float(np.median(group))),
                "path": _bars(heights / tallest),
            }
            for group, heights in zip(groups, counts, strict=True)
        ],
    }


def _bars(heights: np.ndarray) -> str:
    """An SVG path of bars in a box ``_BINS`` wide and 100 high, closed at the bottom."""
    steps = "".join(f"V{100 - 96 * float(h):.1f}h1" for h in heights)
    return f"M0,100{steps}V100Z"
