"""The exact zeros of a trained model, and what they are worth: in a line, and as a section of the page."""

from __future__ import annotations

from typing import Any

from toolkit.report import lines as fmt

SHOWN = 0.01
"""Share of zeros above which a kernel is worth a word: an untrained one has none, and rounding makes a few."""

_NAMED = 8
"""At most so many kernels in a line."""


def line(document: dict[str, Any]) -> str:
    """``hidden_1 46 %, hidden_2 2 %``: the kernels with zeros; empty if there are none."""
    found = [f"{_name(row)} {_per_cent(row['zeros'])}" for row in document["sparsity"] if row["zeros"] > SHOWN]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def of(document: dict[str, Any]) -> dict[str, Any] | None:
    """What the page shows: a row for every kernel and what the device gains; ``None`` if no kernel has zeros."""
    if not line(document):
        return None
    rows = [{**row, "name": _name(row), "share": _per_cent(row["zeros"])} for row in document["sparsity"]]
    size, packed = (sum(row[key] for row in rows) for key in ("bytes", "gzip_bytes"))
    return {
        "rows": rows,
        "gain": f"A download gains: of {fmt.integer(size)} bytes of kernels gzip leaves {fmt.integer(packed)}, "
        f"{_per_cent(packed / size)}. The file itself and the time per inference do not: zeros are stored and "
        "multiplied like any other number.",
        "compaction": _compaction(rows, size),
    }


def _compaction(rows: list[dict[str, Any]], size: int) -> str:
    inputs, units = (sum(row[key] for row in rows) for key in ("dead_inputs", "dead_units"))
    if not inputs + units:
        return "No input or unit is zero throughout, so there is nothing that compaction could take out."
    kept = sum(
        row["bytes"] * (1 - row["dead_inputs"] / row["inputs"]) * (1 - row["dead_units"] / row["units"]) for row in rows
    )
    what = " and ".join(_count(n, word) for n, word in ((inputs, "input"), (units, "unit")) if n)
    are = "is" if inputs + units == 1 else "are"
    return (
        f"Compaction, which is not done here, could do more: {what} {are} zero throughout, and without them the "
        f"kernels would have {_per_cent(1 - kept / size)} fewer bytes, and be multiplied faster."
    )


def _count(n: int, word: str) -> str:
    return f"{fmt.integer(n)} {word}{'s' * (n != 1)}"


def _name(row: dict[str, Any]) -> str:
    return fmt.plain(row["name"].removesuffix("/kernel"))


def _per_cent(share: float) -> str:
    """Whole per cent; never 0 or 100 for what is not quite."""
    if 0 < share < 0.005:
        return "<1 %"
    return f"{min(100 * share, 99) if share < 1 else 100:.0f} %"
