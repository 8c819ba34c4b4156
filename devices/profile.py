"""Which operator takes how long: by the profiler of LiteRT's C library, in a run of its own and never the timed one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from toolkit.errors import DeviceError, EdgeExportError, MissingError

RUNS = 200
"""Inferences of a profile, unless they take more than 5 seconds (native.c)."""

SECONDS = 120.0

_ROW = re.compile(
    r"^\s*(?P<op>\S.*?)\s{2,}(?P<start>[\d.]+)\s+(?P<first>[\d.]+)\s+(?P<mean>[\d.]+)\s+(?P<share>[\d.]+)%\s+[\d.]+%"
    r"\s+[\d.]+\s+(?P<calls>\d+)\s+(?P<name>\S.*)$"
)


def rows(text: str) -> list[dict[str, Any]]:
    """The operators of a profile, in the order they ran.

    Args:
        text: LiteRT's summary; its section "Run Order" is read.

    Returns:
        ``op``, ``name``, ``mean_us`` an inference, ``share`` of the whole, ``calls``. The profiler counts whole µs:
        what takes less is mostly 0.

    Raises:
        ValueError: there is no such section, or it is empty.
    """
    _, mark, rest = text.partition("Run Order")
    section = rest.split("Top by Computation Time")[0]
    found = []
    for line in section.splitlines():
        match = _ROW.match(line)
        if match:
            found.append(
                {
                    "op": match["op"].strip(),
                    "name": match["name"].strip(),
                    "mean_us": float(match["mean"]) * 1e3,
                    "share": float(match["share"]) / 100,
                    "calls": int(match["calls"]),
                }
            )
    if not mark or not found:
        raise ValueError("the profile has no operators")
    return found


def of(device: Any, model: Path) -> tuple[list[dict[str, Any]] | None, str | None]:
    """A model's profile on a device, or ``None`` and why there is none."""
    take = getattr(device, "profile", None)
    if take is None:
        return None, f"target {device.target.name} has no profile of operators"
    try:
        return take(model), None
    except EdgeExportError as error:
        return None, str(error)


def here(model: Path, job: dict[str, Any]) -> list[dict[str, Any]]:
    """The profile on this machine's CPU.

    Raises:
        MissingError: no compiler for the runner, or no library.
        DeviceError: it does not run.
    """
    import subprocess

    import ai_edge_litert

    from devices.programs import build
    from devices.programs.native import Native
    from devices.transports import local

    if os.uname().sysname != "Linux":
        raise MissingError("the native runner is for Linux", where="profile of operators")
    library = Path(ai_edge_litert.__file__).with_name("libLiteRt.so")
    program = Native({"native": build.native(os.uname().machine), "libLiteRt.so": library})
    with local.workspace() as folder:
        program.write(folder, {**job, **JOB, "library": str(library)}, None, model)
        words = [str(program.files["native"]), "plan.txt"]
        try:
            done = subprocess.run(
                words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"the profile did not end in {SECONDS:.0f} s", where=str(model)) from error
        found: list[dict[str, Any]] = program.read(folder, where=str(model), stderr=done.stderr, model=model)["profile"]
        return found


JOB = {"job": "profile", "profile_runs": RUNS, "seed": 0}
