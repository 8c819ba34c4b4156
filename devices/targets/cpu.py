"""This machine's CPU: LiteRT or another TFLite runtime in a process of its own, XNNPACK on or off."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices import runtimes, spec
from devices.device import Answer, RunnerFailed, Timed, check_tflite
from toolkit.errors import MissingError, UsageError

if TYPE_CHECKING:  # this file is read for ``targets list``: what only a run needs is imported by the run
    import numpy as np

    from devices.sessions import Session
    from devices.transports.local import Command
    from toolkit.records import Plan

NAME = "cpu"
OPTIONS = ("threads", "xnnpack", "runtime", "cores")
RUNTIMES = runtimes.NAMES
RUNNER = Path(__file__).parent.parent / "runners" / "portable.py"
RUNNER_FILES = (RUNNER, RUNNER.with_name("job.py"))
"""The program first; a transport pushes them to lie side by side."""

START_SECONDS = 60.0
"""Time a runner gets to start, load and allocate, before its work counts."""

ANSWER_SECONDS = 1800.0
"""Time limit of an ``answer`` job."""


def describe() -> dict[str, Any]:
    """The target's row of ``targets list``."""
    found = runtimes.available()
    return {
        "name": NAME,
        "reachable": bool(found),
        "why": None if found else "no TFLite runtime is installed: pip install ai-edge-litert",
        "emulated": False,
        "platform": host(),
        "runtimes": found,
    }


def host() -> str:
    """This machine's platform, e.g. ``linux-x86_64``."""
    system = os.uname()  # the platform module takes 5 ms to import
    return f"{system.sysname.lower()}-{system.machine}"


def open(rest: str, threads: int) -> Cpu:
    """The device for the options in ``rest``.

    ``threads``, ``xnnpack`` (on, off), ``runtime`` (name or name==version), ``cores`` (``big``, or numbers joined by
    ``+``: the runner stays on them).

    Raises:
        UsageError: an unknown option or value.
        MissingError: a runtime that is not here.
    """
    found = spec.options(NAME, rest, OPTIONS)
    xnnpack, cores = spec.switch(NAME, found, "xnnpack"), spec.cores(NAME, found)
    runtime, _, version = found.get("runtime", RUNTIMES[0]).partition("==")
    if runtime not in RUNTIMES:
        raise UsageError(
            f"unknown runtime {runtime!r}", where=f"target {NAME}", remedy=f"there are: {', '.join(RUNTIMES)}"
        )
    return Cpu(
        name=spec.canonical(NAME, found),
        threads=spec.threads(NAME, found["threads"]) if "threads" in found else threads,
        xnnpack=xnnpack,
        cores=cores,
        runtime=runtime,
        version=version or None,
    )


class Cpu:
    """A :class:`devices.device.Device` on this machine.

    Args:
        name: what the target is called in results.
        threads: of the runtime.
        xnnpack: whether the default delegate is applied.
        runtime: ``ai-edge-litert`` or ``tflite-runtime``.
        version: of the runtime; ``None`` for the one there is.
        cores: as of the option.

    Raises:
        MissingError: the runtime is not here.
    """

    def __init__(
        self,
        *,
        name: str = NAME,
        threads: int = 1,
        xnnpack: bool = True,
        runtime: str = RUNTIMES[0],
        version: str | None = None,
        cores: str | None = None,
    ) -> None:
        from toolkit.records import Target

        self._cores = None if cores is None else _affinity(cores)

        self._python = runtimes.python_of(runtime, version)
        self._isolated = str(self._python) != sys.executable
        if version is None:
            version = runtimes.OLDEST[1] if self._isolated else runtimes.installed(runtime)
        else:
            version = (runtimes.exact(runtime, version) or version).rpartition("=")[2]
        self.target = Target(
            name=name,
            platform=host(),
            runtime=runtime,
            runtime_version=version or "unknown",
            delegate="xnnpack" if xnnpack else None,
            threads=threads,
        )

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64, signature: str | None = None
    ) -> Answer:
        """See :meth:`devices.device.Device.answer`."""
        from devices.transports import local

        check_tflite(model)
        job = {**self._job(model, signature), "job": "answer", "batch": batch}
        try:
            return local.answer(self._command(), job, inputs, timeout=ANSWER_SECONDS)
        except RunnerFailed as error:
            # A kernel that crashes once resized still answers one by one.
            if batch > 1 and error.failure.stage == "batch":
                return self.answer(model, inputs, batch=1, signature=signature)
            raise

    def session(self, model: Path, *, batch: int = 64) -> Session:
        """A process that keeps the model loaded; see :mod:`devices.sessions`."""
        from devices import sessions

        check_tflite(model)
        job = {**self._job(model, None), "batch": batch}
        return sessions.Process(self._command(), job, start_seconds=START_SECONDS, seconds=ANSWER_SECONDS)

    def time(
        self,
        model: Path,
        inputs: Mapping[str, np.ndarray] | None,
        plan: Plan,
        *,
        round: int,
        signature: str | None = None,
    ) -> Timed:
        """See :meth:`devices.device.Device.time`."""
        from devices.transports import local

        check_tflite(model)
        job = {**self._job(model, signature), "job": "time"}
        return local.time(self._command(), job, inputs, plan, round=round, start_seconds=START_SECONDS)

    def profile(self, model: Path) -> list[dict[str, Any]]:
        """Which operator takes how long, by LiteRT's C library; see :mod:`devices.profile`."""
        from devices import profile

        check_tflite(model)
        if self._isolated or self.target.runtime != RUNTIMES[0]:
            raise MissingError(f"{self.target.runtime} has no profiler", where=f"target {self.target.name}")
        return profile.here(model, {**self._job(model, None), "model": str(model.resolve())})

    def conditions(self) -> tuple[dict[str, Any], dict[str, str]]:
        """See :meth:`devices.device.Device.conditions`."""
        from devices import conditions

        return conditions.read()

    def _job(self, model: Path, signature: str | None) -> dict[str, Any]:
        return {
            "model": str(model.resolve()),
            "runtime": self.target.runtime,
            "threads": self.target.threads,
            "xnnpack": self.target.delegate is not None,
            "signature": signature,
            "affinity": self._cores,
        }

    def _command(self) -> Command:
        from devices.transports.local import Command

        # An isolated runtime must not meet the packages of PYTHONPATH or of the user's own folder.
        flags = ("-E", "-s") if self._isolated else ()
        return Command(python=self._python, flags=flags, files=RUNNER_FILES)


def _affinity(cores: str) -> list[int] | None:
    if cores != "big":
        return spec.affinity(cores, {})
    found = {}
    for core in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq")
        if path.is_file():
            found[str(core)] = int(path.read_text(encoding="ascii"))
    return spec.affinity(cores, {"max_frequency_khz": found})
