"""What is behind an emulated ``adbd``: ARM programs in a root, or a folder of this machine; and what goes wrong."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

DATA = "/data/local/tmp"
PROPERTIES = {
    "ro.product.name": "emulated",
    "ro.product.model": "Emulated_phone",
    "ro.product.device": "emulated",
    "ro.product.manufacturer": "Edge Export",
    "ro.kernel.qemu": "1",
    "ro.build.version.release": "14",
    "ro.build.fingerprint": "edge-export/emulated/emulated:14/0/0:userdebug/test-keys",
}


@dataclass
class Faults:
    """What goes wrong; a test sets it at any time.

    Args:
        unplug_in: ``push``, ``run`` or ``pull``: the device is gone in the middle of the next one.
        after: bytes (of a copy) or seconds (of a command that matches ``command``) until it is.
        command: what a command must hold to be meant by ``unplug_in="run"``.
        room: bytes that the disk still takes.
        refused: it has not allowed this computer.
        slow_seconds: each command takes so much longer.
        cut: bytes that are missing at the end of the next file pulled whose name ends in ``cut_name``.
    """

    unplug_in: str | None = None
    after: float = 0
    command: str = ""
    room: int | None = None
    refused: bool = False
    slow_seconds: float = 0
    cut: int = 0
    cut_name: str = ""


class Here:
    """Runs commands on this machine; the device's folder is one of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        tools(root / ".tools")

    def real(self, path: str) -> Path:
        """Where a path of the device lies."""
        if not path.startswith(DATA + "/") and path != DATA:
            raise PermissionError(errno.EACCES, "Permission denied")
        found = (self.root / path[len(DATA) :].lstrip("/")).resolve()
        if not found.is_relative_to(self.root.resolve()):
            raise PermissionError(errno.EACCES, "Permission denied")
        return found

    def start(self, line: str, properties: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts one line of shell."""
        line = line.replace(DATA, str(self.root.resolve()))
        env = {**os.environ, "PATH": f"{self._tools(properties)}:{os.environ['PATH']}"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["sh", "-c", line], stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd="/", start_new_session=True
        )

    def _tools(self, properties: dict[str, str]) -> Path:
        folder = self.root / ".tools"
        write_properties(folder, properties)
        return folder


class Arm:
    """Runs commands in a root of ARM programs, by qemu-user; its ``/data`` is a folder of its own."""

    def __init__(self, root: Path, data: Path, start: Callable[[str], list[str]]) -> None:
        self.root, self.data, self._start = root, data, start
        (data / "local/tmp").mkdir(parents=True, exist_ok=True)

    def real(self, path: str) -> Path:
        """Where a path of the device lies."""
        base, rest = (self.data, path[len("/data") :]) if path.startswith("/data") else (self.root, path)
        found = Path(os.path.realpath(f"{base}/{rest}"))
        if not found.is_relative_to(base.resolve()):
            raise PermissionError(errno.EACCES, "Permission denied")
        return found

    def start(self, line: str, properties: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts one line of shell."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._start(line), stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True
        )


def tools(folder: Path) -> None:
    """``getprop`` and ``dumpsys``, as Android has them."""
    folder.mkdir(parents=True, exist_ok=True)
    scripts = {
        "getprop": 'f="${0%/*}/properties"; [ -f "$f" ] || f=/system/properties\nsed -n "s/^$1=//p" "$f"\n',
        "dumpsys": 'f="${0%/*}/$1.txt"; [ -f "$f" ] && cat "$f" || { echo "Can\'t find service: $1" >&2; exit 20; }\n',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    (folder / "thermalservice.txt").write_text("IsStatusOverride: false\nThermalEventListeners:\nThermal Status: 0\n")
    (folder / "battery.txt").write_text(
        "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 87\n  temperature: 273\n"
    )


def write_properties(folder: Path, properties: dict[str, str]) -> None:
    """What ``getprop`` answers from."""
    part = folder / "properties.part"
    part.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    os.replace(part, folder / "properties")


@dataclass
class Device:
    """One device: what is behind it, what it says of itself, what goes wrong."""

    behind: Here | Arm
    properties: dict[str, str] = field(default_factory=lambda: dict(PROPERTIES))
    faults: Faults = field(default_factory=Faults)
