"""Makes the native runner for an architecture, by zig's C compiler or, for this machine's own, the system's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from devices.remote import alone
from toolkit import store
from toolkit.errors import MissingError

SOURCE = Path(__file__).parent.parent / "runners" / "native.c"
GLIBC = "2.27"
"""The oldest that LiteRT's own library starts with."""

BUILD_SECONDS = 300.0


def native(machine: str) -> Path:
    """The program for ``machine`` (``aarch64``, ``x86_64``, Linux with glibc), from the user's cache if it is there.

    Raises:
        MissingError: no compiler, or it fails.
    """
    key = store.key_of([store.sha256_file(SOURCE), machine, GLIBC])[:16]
    made = store.cache_dir() / "native" / f"{key}-{machine}"
    if made.is_file():
        return made
    with alone(f"building {made.name}"):
        return made if made.is_file() else _built(made, machine)


def _built(made: Path, machine: str) -> Path:
    where = f"the native runner for {machine}"
    if importlib.util.find_spec("ziglang") is not None:
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.{GLIBC}"]
    elif machine == os.uname().machine and shutil.which("cc"):
        compiler = ["cc"]
    else:
        raise MissingError("there is no compiler", where=where, remedy="pip install 'edge-export[native]'")
    with store.disk_errors(made.parent):
        made.parent.mkdir(parents=True, exist_ok=True)
    part = made.with_name(f"{made.name}.{os.getpid()}.part")
    try:
        done = subprocess.run(
            [*compiler, "-std=gnu11", "-O2", "-o", str(part), str(SOURCE), "-ldl", "-lm"],
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"the compiler does not run ({error})", where=where) from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), "no reason given")
        raise MissingError(f"it does not compile ({said[:200]})", where=where)
    os.replace(part, made)
    return made
