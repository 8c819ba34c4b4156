"""What ``inspect`` found, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.report import html
from toolkit.store import write_bytes

CONSTANTS = 20
"""So many of the largest constants are listed."""


def write(path: Path, found: Mapping[str, Any], difference: Sequence[str] = ()) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: of the page.
        found: the document that ``inspect --json`` prints.
        difference: its ``diff`` in words.

    Raises:
        MissingError: it cannot be written there.
    """
    write_bytes(path, render(found, difference).encode("utf-8"))


def render(found: Mapping[str, Any], difference: Sequence[str] = ()) -> str:
    """The page."""
    environment = html.page_environment()
    environment.filters["shape"] = _shape
    optional: dict[str, Any] = {"diff": None, "runtimes": [], "reference": None, "tolerance": None}
    constants = sorted((t for t in found["tensors"] if t["bytes"]), key=lambda t: -t["bytes"])
    page: str = environment.get_template("inspection.html.j2").render(
        found={**optional, **found},
        name=Path(found["path"]).name,
        total=max(1, sum(found["bytes_by_op"].values())),
        constants=constants[:CONSTANTS],
        difference=list(difference),
    )
    return page


def _shape(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
