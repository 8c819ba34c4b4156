"""Makes isolated environments for runtimes that cannot live beside ours, one per runtime and version, with pip.

tflite-runtime needs numpy < 2 and an older Python, and fails in a process that knows TensorFlow; other releases of
ai-edge-litert would replace ours. So each gets an environment of its own in the user's cache. Nothing is made unless
somebody named the runtime. What can be had is pip's own answer, for every Python that is on this machine.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from devices import pythons, runtimes
from toolkit import store
from toolkit.errors import EdgeExportError, MissingError, UsageError

if TYPE_CHECKING:
    from toolkit.progress import Progress

_PINS = (("tflite-runtime", "", "numpy==1.26.4"), ("ai-edge-litert", "1.1", "numpy==1.26.4"))
"""``(runtime, versions below which, package)``: native code built for numpy 1, which says so nowhere and dies with
numpy 2 when an interpreter is built (measured: ai-edge-litert 1.0.0 and 1.0.1 do, 1.1.0 and those after it do not)."""

_INSTALL_SECONDS = 900.0
_ASK_SECONDS = 60.0
_OFFERED = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_NO_ANSWER = re.compile(r"Retrying|[Cc]onnection|[Tt]imed out|HTTP error|SSL", re.MULTILINE)


def ready(texts: Iterable[str], *, progress: Progress | None = None) -> tuple[str, ...]:
    """Every runtime named, made where it is not here yet; as ``name==version``, each once, in their order.

    Raises:
        UsageError: no runtime or no version of that name.
        MissingError: it cannot be had here.
    """
    # All names first: nobody should wait for an environment to hear of a slip in the next name.
    wanted = [runtimes.parse(text) for text in texts]
    found = []
    for name, version in wanted:
        if runtimes.exact(name, version) is None:
            create(name, version, progress=progress)
        found.append(runtimes.exact(name, version) or f"{name}=={version}")
    return tuple(dict.fromkeys(found))


def create(
    name: str = runtimes.OLDEST[0], version: str = runtimes.OLDEST[1], *, progress: Progress | None = None
) -> Path:
    """Makes the environment unless it is complete; returns its Python. Safe to run again, also beside itself.

    A virtual environment cannot be moved, so it is built in place and counts only once ``complete.json`` is in it,
    after an inference in it; what a killed creation left is thrown away.

    Raises:
        UsageError: there is no such version.
        MissingError: no fitting Python, pip failed, or what it installed does not run.
    """
    from toolkit.progress import Progress

    tell = progress or Progress(quiet=True)
    where = f"runtime {name}=={version}"
    there = runtimes.locate(name, version)
    if there is not None:
        return there
    why = runtimes.why_not(name)
    if why is not None:
        raise MissingError(why, where=where, remedy="everything but this runtime works without it")
    with store.disk_errors(runtimes.home()):
        runtimes.home().mkdir(parents=True, exist_ok=True)
    with _lock(runtimes.home() / f".{name}-{version}.lock"):
        there = runtimes.locate(name, version)
        if there is not None:
            return there
        series, release = _choose(name, version)
        folder = runtimes.home() / f"{name}-{release}-py{pythons.text(series)}"
        store.remove(folder)
        packages = [f"{name}=={release}", *_pins(name, release)]
        with tell.task(f"creating the runtime environment {folder.name}"):
            made = _install(folder, series, packages, where)
            try:
                _prove(made, name)
            except EdgeExportError as error:
                store.remove(folder)
                raise MissingError(
                    f"is installed and does not run here ({error.what})", where=where, remedy="name another version"
                ) from error
        store.write_json(folder / "complete.json", {"packages": packages, "python": pythons.text(series)})
        return made


def offered(name: str, series: pythons.Series) -> list[str]:
    """The versions that pip could install for a Python of this series on this system, newest first: its own answer.

    Raises:
        MissingError: pip is not there, or has no answer.
    """
    question = ["index", "versions", name, "--pre", "--only-binary=:all:", "--python-version", pythons.text(series)]
    code, said = _run([*_pip(), *question, "--retries", "1", "--timeout", "20"], _ASK_SECONDS, f"runtime {name}")
    found = _OFFERED.search(said)
    if found:
        return [version.strip() for version in found.group(1).split(",")]
    if "No matching distribution" not in said or _NO_ANSWER.search(said):
        lines = said.strip().splitlines() or [f"exit code {code}"]
        last = next((line for line in lines if _NO_ANSWER.search(line)), lines[-1])[:160]
        raise MissingError(
            f"pip cannot say which versions there are ({last})",
            where=f"runtime {name}",
            remedy="check the network and pip",
        )
    return []


def _choose(name: str, version: str) -> tuple[pythons.Series, str]:
    """The first Python here that pip has this version for, and the version as pip writes it."""
    elsewhere: dict[str, list[str]] = {}
    for series in pythons.known():
        versions = offered(name, series)
        match = next((v for v in versions if runtimes.order(v) == runtimes.order(version)), None)
        if match and pythons.of(series):
            return series, match
        for found in versions:
            elsewhere.setdefault(found, []).append(pythons.text(series))
    where = f"runtime {name}=={version}"
    needs = next((v for k, v in elsewhere.items() if runtimes.order(k) == runtimes.order(version)), None)
    if needs:
        what = f"needs a Python of {', '.join(needs)}, and none of them is here"
        raise MissingError(what, where=where, remedy="install one, e.g. with pyenv or uv, or name another version")
    if not elsewhere:
        raise MissingError(f"pip has no wheel of {name} for this system", where=where, remedy="name another runtime")
    listed = ", ".join(sorted(elsewhere, key=runtimes.order))
    raise UsageError("there is no such version", where=where, remedy=f"pip knows: {listed}")


def _pins(name: str, version: str) -> list[str]:
    return [
        package
        for runtime, below, package in _PINS
        if runtime == name and (not below or runtimes.order(version) < runtimes.order(below))
    ]


def _install(folder: Path, series: pythons.Series, packages: list[str], where: str) -> Path:
    base = pythons.of(series)
    assert base is not None
    made = folder / "bin" / "python"
    _must([str(base), "-m", "venv", "--without-pip", str(folder)], where)
    _must([*_pip(), "--python", str(made), "install", "--quiet", "--only-binary=:all:", *packages], where)
    return made


def _prove(python: Path, name: str) -> None:
    """One inference in the environment; raises what the device does."""
    from devices.targets.cpu import RUNNER_FILES, START_SECONDS
    from devices.transports import local

    job = {"job": "answer", "batch": 1, "model": str(runtimes.PROBE), "runtime": name, "threads": 1, "xnnpack": True}
    command = local.Command(python=python, flags=("-E", "-s"), files=RUNNER_FILES)
    answer = local.answer(command, {**job, "signature": None}, {"x": runtimes.probe_input()}, timeout=START_SECONDS)
    runtimes.check_probe(answer.outputs["y"])


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def _must(command: list[str], where: str) -> None:
    code, said = _run(command, _INSTALL_SECONDS, where)
    if code:
        lines = said.strip().splitlines() or ["no message"]
        last = next((line for line in reversed(lines) if "ERROR" in line or "rror:" in line), lines[-1])
        raise MissingError(
            f"the environment could not be made ({last})", where=where, remedy="check the network and pip"
        )


def _run(command: list[str], seconds: float, where: str) -> tuple[int, str]:
    """Exit code and all that it said."""
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"the environment could not be made ({error})", where=where, remedy="try again") from error
    return done.returncode, f"{done.stdout}\n{done.stderr}"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lets one process at a time make an environment; a lock of a dead process is free."""
    import fcntl

    with store.disk_errors(path), open(path, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
