"""Metrics and slices of a comparison as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.report import lines as fmt

SHOWN = 10
"""Slices that are listed; the document has all."""


def lines(comparison: Mapping[str, Any]) -> list[str]:
    """Both sides, the difference with its interval and what it shows, a line a metric; then the slices, worst first."""
    head = f"{comparison['recipe']} on {comparison['target']} against {comparison['against']}, {comparison['n']:,} rows"
    rows = [
        (
            row["metric"],
            _number(row["cloud"]),
            _number(row["edge"]),
            _signed(row["difference"]),
            _interval(row["interval"]),
            row["verdict"] if row["budget"] is not None else "",
        )
        for row in comparison.get("metrics", ())
    ]
    found = [head, *_table(("metric", "cloud", "edge", "difference", "95 % interval", ""), rows)] if rows else []
    sliced = comparison.get("slices") or {}
    if sliced:
        found.append(
            f"slices: {sliced['tested']} tested, {sliced['worse']} worse by more than {sliced['budget']:g}; "
            f"{sliced['too_small']} with fewer than {sliced['smallest']} rows are not tested"
        )
        shown = [
            (
                row["name"],
                f"{row['n']:,}",
                _number(row["cloud"]),
                _number(row["edge"]),
                _signed(row["difference"]),
                f"p {row['p_adjusted']:.2g}",
                row["verdict"],
            )
            for row in sliced["slices"][:SHOWN]
        ]
        found += _table(("slice", "rows", "cloud", "edge", "difference", "adjusted", ""), shown)
    return found


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
