"""The cloud's side of a comparison: a SavedModel's ``serving_default`` under TensorFlow, in a process of its own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices import runtimes, spec
from devices.targets import cpu
from toolkit.errors import BrokenInput, MissingError

if TYPE_CHECKING:  # this file is read for ``targets list``: what only a run needs is imported by the run
    import numpy as np

    from devices.device import Answer, Timed
    from devices.sessions import Session
    from devices.transports.local import Command
    from toolkit.records import Plan

NAME = "saved-model"
RUNNER = cpu.RUNNER.with_name("saved_model.py")

START_SECONDS = 180.0
"""TensorFlow alone takes 5 s to import on a fast machine."""


def describe() -> dict[str, Any]:
    """The target's row of ``targets list``."""
    version = runtimes.installed("tensorflow")
    return {
        "name": NAME,
        "reachable": version is not None,
        "why": None if version else "TensorFlow is not installed: pip install tensorflow",
        "emulated": False,
        "platform": cpu.host(),
        "runtimes": [f"tensorflow=={version}"] if version else [],
    }


def open(rest: str, threads: int) -> SavedModelDevice:
    """The device; ``rest`` may hold ``threads``.

    Raises:
        UsageError: an unknown option or value.
        MissingError: TensorFlow is not installed.
    """
    found = spec.options(NAME, rest, ("threads",))
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingError("TensorFlow is not installed", where=f"target {NAME}", remedy="pip install tensorflow")
    own = spec.threads(NAME, found["threads"]) if "threads" in found else threads
    return SavedModelDevice(name=spec.canonical(NAME, found), threads=own)


class SavedModelDevice:
    """A :class:`devices.device.Device` that runs SavedModel folders here.

    Args:
        name: what the target is called in results.
        threads: of one operator (TensorFlow's intra-op threads).
    """

    def __init__(self, *, name: str = NAME, threads: int = 1) -> None:
        from toolkit.records import Target

        self.target = Target(
            name=name,
            platform=cpu.host(),
            runtime="tensorflow",
            runtime_version=runtimes.installed("tensorflow") or "unknown",
            threads=threads,
        )

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64, signature: str | None = None
    ) -> Answer:
        """See :meth:`devices.device.Device.answer`. TensorFlow's batches need not equal batch 1 in every bit."""
        from devices.transports import local

        job = {**self._job(model, signature), "job": "answer", "batch": batch}
        return local.answer(self._command(), job, inputs, timeout=cpu.ANSWER_SECONDS)

    def session(self, model: Path, *, batch: int = 64) -> Session:
        """A process that keeps the model loaded; see :mod:`devices.sessions`."""
        from devices import sessions

        job = {**self._job(model, None), "batch": batch}
        return sessions.Process(self._command(), job, start_seconds=START_SECONDS, seconds=cpu.ANSWER_SECONDS)

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

        job = {**self._job(model, signature), "job": "time"}
        return local.time(self._command(), job, inputs, plan, round=round, start_seconds=START_SECONDS)

    def conditions(self) -> tuple[dict[str, Any], dict[str, str]]:
        """See :meth:`devices.device.Device.conditions`."""
        from devices import conditions

        return conditions.read()

    def _job(self, model: Path, signature: str | None) -> dict[str, Any]:
        if not (model / "saved_model.pb").is_file():
            raise BrokenInput("is no SavedModel (no saved_model.pb)", where=str(model), remedy="give its folder")
        return {"model": str(model.resolve()), "threads": self.target.threads, "signature": signature}

    def _command(self) -> Command:
        from devices.transports.local import Command

        files = (RUNNER, *cpu.RUNNER_FILES)
        return Command(python=Path(sys.executable), files=files, env={"TF_CPP_MIN_LOG_LEVEL": "2"})
