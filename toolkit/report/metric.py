"""What a run is judged by, and its numbers in their unit: accuracy as per cent and points, rmse in the label's unit."""

from __future__ import annotations

import math
from typing import Any

from toolkit.report import lines as fmt


def of(document: dict[str, Any]) -> str:
    """``"rmse"`` where a comparison of the run is a regression's, else ``"accuracy"``."""
    return "rmse" if any(is_regression(c) for c in document["comparisons"]) else "accuracy"


def is_regression(comparison: dict[str, Any]) -> bool:
    """Whether the numbers of a comparison are in the label's unit, and smaller is better."""
    return bool(comparison["metric"] == "rmse")


def value(comparison: dict[str, Any], side: str = "edge") -> str:
    """The metric of ``"cloud"`` or ``"edge"``: ``97.42 %``, or ``56,234`` label units."""
    return _written(comparison[side], comparison) if is_regression(comparison) else fmt.percent(comparison[side])


def difference(comparison: dict[str, Any]) -> str:
    """Edge minus cloud with its sign: in points, or in the label's unit."""
    found = comparison["difference"]
    return _signed(found, comparison) if is_regression(comparison) else fmt.points(found)


def interval(comparison: dict[str, Any]) -> str:
    """The difference's interval: ``−0.61 to +0.12``."""
    if not is_regression(comparison):
        return fmt.points_between(comparison["interval"])
    found = comparison["interval"]
    return "" if found is None else " to ".join(_signed(end, comparison) for end in found)


def change(comparison: dict[str, Any]) -> str:
    """The difference as per cent of the cloud's value, with its sign: ``+0.47``."""
    cloud, found = comparison["cloud"], comparison["difference"]
    return fmt.points(found / cloud) if cloud and found is not None else fmt.NOTHING


def bad_end(comparison: dict[str, Any]) -> float | None:
    """The difference at which the budget is used up, in the unit of the difference; ``None`` without a budget."""
    budget, cloud = comparison["budget"], comparison["cloud"]
    if budget is None:
        return None
    if comparison["budget_kind"] == "relative":
        return float(budget * cloud) if cloud is not None else None
    return -float(budget)


def _signed(number: float | None, comparison: dict[str, Any]) -> str:
    if number is None:
        return fmt.NOTHING
    text = _written(abs(number), comparison)
    return text if not number or not text.strip("0.,") else (fmt.MINUS if number < 0 else "+") + text


def _written(number: float | None, comparison: dict[str, Any]) -> str:
    """A number in the label's unit to about 0.01 % of the cloud's value, as accuracies are to 0.01 points.

    Three digits of its own where the cloud's is 0 or too small to be written out.
    """
    cloud = comparison["cloud"]
    decimals = max(0, 3 - math.floor(math.log10(cloud))) if cloud else 9
    return fmt.number(number) if number is None or decimals > 8 else f"{number:,.{decimals}f}"
