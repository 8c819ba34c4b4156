"""Where models run: one file per target, the folder is the registry.

A target's file has ``describe()`` (fast: it looks at files and imports nothing heavy) and ``open(rest, threads)``,
which makes a :class:`devices.device.Device` from what stands behind the colon. ``_`` in a file's name is ``-`` in
the target's.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from devices import spec as _spec
from devices.device import Device
from toolkit.errors import unknown_name


def names() -> list[str]:
    """The targets there are."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(f.stem.replace("_", "-") for f in files if not f.stem.startswith("_"))


def open(spec: str, *, threads: int = 1) -> Device:
    """The device a text such as ``cpu`` or ``cpu:threads=4,xnnpack=off,runtime=tflite-runtime==2.14.0`` names.

    Args:
        spec: target, options behind a colon.
        threads: of the runtime, 1 or more, where ``spec`` does not say.

    Raises:
        UsageError: unknown target or option.
        MissingError: a runtime that is not here.
    """
    name, rest = _spec.split(spec)
    _spec.threads(name, str(threads))
    device: Device = _module(name).open(rest, threads)
    return device


def describe_all() -> list[dict[str, Any]]:
    """A row or several per target: name, reachable, why not, emulated, platform, runtimes."""
    found = (_module(name).describe() for name in names())
    return [row for rows in found for row in ([rows] if isinstance(rows, dict) else rows)]


def _module(name: str) -> Any:
    if name not in names():
        raise unknown_name("target", name, names())
    return importlib.import_module(f"devices.targets.{name.replace('-', '_')}")
