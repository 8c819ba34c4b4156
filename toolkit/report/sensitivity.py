"""The sensitivity of layers as lines for a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.disk import replacing

FORMATS = (".svg", ".png", ".pdf")

_LOSS = {
    "accuracy": "points lost",
    "agreement": "points changed",
    "rmse": "rmse change %",
    "error": "error % of spread",
}
"""What a loss is called; all are shown times 100."""


def lines(found: Mapping[str, Any]) -> list[str]:
    """A table, the most damaging layer first.

    Args:
        found: as :func:`converters.sensitivity.measured` returns it.
    """
    head = ("layer", "operator", "bytes", "SQNR dB", _LOSS[found["metric"]])
    rows = [(each["label"], each["op"], f"{each['bytes']:,}", *_figures(each)) for each in found["layers"]]
    rows.append(("all of them", "", "", *_figures(found["all_int8"])))
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    made = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    made.insert(1, "─" * len(made[0]))
    made.insert(-1, "─" * len(made[0]))
    return [*made, f"Each in int8 alone, on {found['samples']:,} samples ({found['judged_by']})."]


def _figures(row: Mapping[str, Any]) -> tuple[str, str]:
    """SQNR and loss; a dash for what is no number, since the layer answers with NaN."""
    noise, loss = row["sqnr_db"], row["loss"]
    return "–" if noise is None else f"{noise:.1f}", "–" if loss is None else f"{100 * loss:+.2f}"


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Two bars a layer, noise and loss, in the table's order; ``path`` ends in one of :data:`FORMATS`."""
    from matplotlib.figure import Figure

    layers = list(reversed(found["layers"]))
    names = [each["label"] for each in layers]
    places = range(len(names))
    figure = Figure(figsize=(10, 1.5 + 0.28 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.barh(places, [each["sqnr_db"] or 0.0 for each in layers], color="#3b6fb5")
    left.set_yticks(places, names, fontsize=8)
    left.set_xlabel("SQNR of the outputs, dB (more is better)")
    right.barh(places, [100 * (each["loss"] or 0.0) for each in layers], color="#c2572f")
    right.set_xlabel(f"{_LOSS[found['metric']]} (less is better)")
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
        axes.axvline(0, color="black", linewidth=0.6)
    figure.suptitle("Each layer in int8 alone", fontsize=11)
    with replacing(path) as beside:
        # The name beside has no ending that says the format; no date, or equal runs would differ.
        kept = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}[path.suffix]
        figure.savefig(beside, format=path.suffix[1:], metadata=kept, dpi=120)
