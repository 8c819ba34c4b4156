"""An iPhone or iPad: only a Mac reaches one. ``ios bundle`` writes what it needs, ``ios import`` takes it back."""

from __future__ import annotations

from typing import Any, NoReturn

from toolkit.errors import MissingError

NAME = "ios"
WHY = "only a Mac with Xcode reaches an iPhone"
REMEDY = "run edge-export ios bundle FILES --out FOLDER, run its run.sh on a Mac, then edge-export ios import FOLDER"


def describe() -> dict[str, Any]:
    """The target's row of ``targets list``."""
    return {
        "name": NAME,
        "reachable": False,
        "why": f"{WHY}: {REMEDY}",
        "emulated": False,
        "platform": "ios-arm64",
        "runtimes": [],
    }


def open(rest: str, threads: int) -> NoReturn:
    """Never a device: the way there is a bundle.

    Raises:
        MissingError: always, with that way.
    """
    raise MissingError(WHY, where=f"target {NAME}{':' + rest if rest else ''}", remedy=REMEDY)
