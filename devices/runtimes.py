"""Isolated environments for runtimes that cannot live beside ours, one per runtime and version.

tflite-runtime 2.14 needs numpy < 2 and Python 3.9–3.11 and fails in a process that knows TensorFlow, so it gets
an environment of its own in the user's cache. ``complete.json`` marks one whose creation came to its end.
An import is no health check: :func:`probe` builds an interpreter and runs an inference.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import store
from toolkit.errors import BrokenInput, EdgeExportError, MissingError

if TYPE_CHECKING:
    from toolkit.progress import Progress

OLDEST = ("tflite-runtime", "2.14.0")
"""The last release of tflite-runtime: the oldest runtime a fleet may still hold."""

_PINS = {"tflite-runtime": ("numpy==1.26.4",)}
_PYTHONS = {"tflite-runtime": ((3, 11), (3, 10), (3, 9))}
_SYSTEMS = {"tflite-runtime": ("Linux",)}
_TIMEOUT = 900.0


def home() -> Path:
    """The folder of all runtime environments."""
    return store.cache_dir() / "runtimes"


def locate(name: str, version: str) -> Path | None:
    """The Python of a complete environment with this runtime, or ``None``. Looks at files only."""
    for folder in sorted(home().glob(f"{name}-{version}-py3.*"), reverse=True):
        python = folder / "bin" / "python"
        if (folder / "complete.json").is_file() and python.exists():
            return python
    return None


def available() -> list[str]:
    """Every runtime there is, as ``name==version``: our own first. Looks at files only, imports nothing."""
    found = []
    own = installed("ai-edge-litert")
    if own is not None:
        found.append(f"ai-edge-litert=={own}")
    for marker in sorted(home().glob("*-py3.*/complete.json")):
        name, version = marker.parent.name.rsplit("-py", 1)[0].rsplit("-", 1)
        if locate(name, version) and f"{name}=={version}" not in found:
            found.append(f"{name}=={version}")
    return found


def installed(name: str) -> str | None:
    """The version of a package in our own environment, from its folder's name; ``importlib.metadata`` takes 20 ms."""
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    for folder in Path(spec.origin).parent.parent.glob(f"{module}-*.dist-info"):
        return folder.name[len(module) + 1 : -len(".dist-info")]
    return None


def python_of(name: str, version: str | None) -> Path:
    """The Python to run a runtime with: ours, or that of its environment.

    Args:
        name: ``ai-edge-litert`` or ``tflite-runtime``.
        version: ``None`` for our own, or the one there is.

    Raises:
        MissingError: it is not there; the remedy says how to get it, the message why not if it cannot be had.
    """
    own = installed(name)
    if own is not None and version in (None, own):
        return Path(sys.executable)
    wanted = version or (OLDEST[1] if name == OLDEST[0] else "")
    python = locate(name, wanted)
    if python is None:
        why = why_not(name)
        remedy = "use ai-edge-litert instead" if why else "run scripts/bootstrap"
        if (name, wanted) != OLDEST and not why:
            # Set-up makes one environment only; sending somebody there for another would be in vain.
            remedy = f"the versions that can be had here: {', '.join(dict.fromkeys([*available(), '=='.join(OLDEST)]))}"
        raise MissingError(f"is not here{f' ({why})' if why else ''}", where=f"runtime {name}=={wanted}", remedy=remedy)
    return python


def why_not(name: str = OLDEST[0]) -> str | None:
    """Why no environment for ``name`` can be made here; ``None`` if one can."""
    systems = _SYSTEMS.get(name)
    if systems and os.uname().sysname not in systems:
        return f"{name} has no wheels for {os.uname().sysname}"
    if _interpreter(name) is None:
        wanted = ", ".join(f"{a}.{b}" for a, b in _PYTHONS[name])
        return f"{name} needs a Python of {wanted}; this is {sys.version.split()[0]} and none of them is on the PATH"
    return None


def create(name: str = OLDEST[0], version: str = OLDEST[1], *, progress: Progress | None = None) -> Path:
    """Makes the environment unless it is complete; returns its Python. Safe to run again, also beside itself.

    A virtual environment cannot be moved, so it is built in place and counts only once ``complete.json`` is in it;
    what a killed creation left is thrown away.

    Raises:
        MissingError: no fitting Python, or pip failed.
    """
    from toolkit.progress import Progress

    tell = progress or Progress(quiet=True)
    python = _interpreter(name)
    series = None if python is None else _series(python)
    why = why_not(name)
    if why is not None or python is None or series is None:
        raise MissingError(
            why or "no Python for it",
            where=f"runtime {name}=={version}",
            remedy="everything but this runtime works without it",
        )
    with store.disk_errors(home()):
        home().mkdir(parents=True, exist_ok=True)
    with _lock(home() / f".{name}-{version}.lock"):
        there = locate(name, version)
        if there is not None:
            return there
        folder = home() / f"{name}-{version}-py{series[0]}.{series[1]}"
        store.remove(folder)
        with tell.task(f"creating the runtime environment {folder.name}"):
            _must([str(python), "-m", "venv", "--without-pip", str(folder)], f"runtime {name}=={version}")
            made = folder / "bin" / "python"
            packages = [f"{name}=={version}", *_PINS.get(name, ())]
            pip = [
                sys.executable,
                "-m",
                "pip",
                "--python",
                str(made),
                "install",
                "--disable-pip-version-check",
                "--quiet",
            ]
            _must([*pip, *packages], f"runtime {name}=={version}")
        store.write_json(folder / "complete.json", {"packages": packages, "python": f"{series[0]}.{series[1]}"})
        return made


def probe(name: str, version: str | None = None) -> dict[str, Any]:
    """Builds an interpreter of the runtime in a process of its own and runs one inference.

    Returns:
        ``{"runtime", "version", "works", "why"}``; ``why`` is ``None`` if it works.
    """
    from devices.targets.cpu import Cpu  # imported late: the target asks this file for its Python

    try:
        import numpy as np

        device = Cpu(runtime=name, version=version)
        model = Path(__file__).parent / "runners" / "probe.tflite"
        given = np.array([[1.0, -2.0, 3.5, 0.0]], dtype=np.float32)
        answer = device.answer(model, {"x": given})
        if not np.array_equal(answer.outputs["y"], given + 1):
            raise BrokenInput(f"x + 1 came out as {answer.outputs['y'].tolist()}")
        return {"runtime": name, "version": answer.provenance["runtime_version"], "works": True, "why": None}
    except EdgeExportError as error:
        return {"runtime": name, "version": version, "works": False, "why": str(error)}


def _interpreter(name: str) -> Path | None:
    """A Python the runtime has wheels for: this one, else one on the PATH that really starts."""
    fitting = _PYTHONS.get(name)
    if fitting is None or sys.version_info[:2] in fitting:
        return Path(sys.executable)
    import shutil

    for major, minor in fitting:
        found = shutil.which(f"python{major}.{minor}")
        # A version manager puts names on the PATH that only say "command not found".
        if found and _series(Path(found)) == (major, minor):
            return Path(found)
    return None


def _series(python: Path) -> tuple[int, int] | None:
    if os.fspath(python) == sys.executable:
        return sys.version_info[:2]
    import subprocess

    code = "import sys, venv; print(*sys.version_info[:2])"
    try:
        said = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=20, check=True
        ).stdout.split()
        return int(said[0]), int(said[1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _must(command: list[str], where: str) -> None:
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"the environment could not be made ({error})", where=where, remedy="try again") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise MissingError(
            f"the environment could not be made ({last})", where=where, remedy="check the network and pip"
        )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lets one process at a time make an environment; a lock of a dead process is free."""
    import fcntl

    with store.disk_errors(path), open(path, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
