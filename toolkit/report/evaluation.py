"""Metrics and slices of a comparison as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.report import lines as fmt

SHOWN = 10
"""Slices that are listed; the document has all."""


METRICS = ("metric", "cloud", "edge", "difference", "95 % interval", "verdict")
SLICES = ("slice", "rows", "cloud", "edge", "difference", "adjusted p", "verdict")


def tables(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison's metrics and its slices, the worst first, as texts; ``slices`` is empty where none were asked for.

    Returns:
        ``title``, ``metrics`` and ``slices`` (rows under :data:`METRICS` and :data:`SLICES`), ``said`` of the slices.
    """
    found = comparison.get("slices") or {}
    said = ""
    if found:
        said = (
            f"slices tested: {found['tested']}, worse by more than {found['budget']:g}: {found['worse']}; "
            f"not tested, with fewer than {found['smallest']} rows: {found['too_small']}"
        )
    return {
        "recipe": comparison["recipe"],
        "title": f"{comparison['recipe']} on {comparison['target']} against {comparison['against']}",
        "n": f"{comparison['n']:,}",
        "metrics": [
            (
                row["metric"],
                _number(row["cloud"]),
                _number(row["edge"]),
                _signed(row["difference"]),
                _interval(row["interval"]),
                row["verdict"] if row["budget"] is not None else "",
            )
            for row in comparison.get("metrics", ())
        ],
        "slices": [
            (
                row["name"],
                f"{row['n']:,}",
                _number(row["cloud"]),
                _number(row["edge"]),
                _signed(row["difference"]),
                f"{row['p_adjusted']:.2g}",
                row["verdict"],
            )
            for row in (found.get("slices") or ())[:SHOWN]
        ],
        "said": said,
    }


def lines(comparison: Mapping[str, Any]) -> list[str]:
    """:func:`tables` for the terminal."""
    found = tables(comparison)
    made = [f"{found['title']}, {found['n']} rows", *_table(METRICS, found["metrics"])] if found["metrics"] else []
    return made + ([f"  {found['said']}", *_table(SLICES, found["slices"])] if found["said"] else [])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    found = []
    for row in [head, *rows]:
        cells = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        found.append("  ".join(["  " + row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return found


def _number(value: float | None) -> str:
    return fmt.NOTHING if value is None else f"{value:.5g}"


def _signed(value: float | None) -> str:
    return fmt.NOTHING if value is None else f"{value:+.3g}".replace("-", fmt.MINUS)


def _interval(found: list[float] | None) -> str:
    return fmt.NOTHING if found is None else " to ".join(_signed(end) for end in found)
