"""The emulated devices that are up: a note that ``scripts/emulate`` leaves in the user's cache, and nobody else writes.

Whether a device *is* emulated it says itself (a marker file, ``ro.kernel.qemu``, the adapter's name); this note only
says where to find those that were started here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolkit import store


def note() -> Path:
    """Where it lies; there only while something is up."""
    return store.cache_dir() / "emulated" / "up.json"


def up(target: str) -> list[dict[str, Any]]:
    """The devices of a target that were started: each at least ``name``, as ``--target`` takes it.

    A note whose process is gone counts for nothing.
    """
    try:
        found = json.loads(note().read_text(encoding="utf-8"))["devices"]
        return [d for d in found if d["target"] == target and _running(int(d["process_id"]))]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def driver() -> str | None:
    """The manifest of the software GPU's driver, if it is up."""
    found = up("gpu")
    return str(found[0]["driver"]) if found else None


def _running(process_id: int) -> bool:
    """Whether that process is; 0 stands for a device that needs none."""
    return not process_id or store.alive(process_id)
