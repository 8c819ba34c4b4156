"""A model that stays loaded on a device while blocks of samples come, where the device can; else a call a block."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from devices.device import Answer, Device, RunnerFailed
from devices.transports import ending, local
from toolkit.errors import MissingError

if TYPE_CHECKING:
    import numpy as np


class Session(Protocol):
    """One model on one device."""

    def answer(self, inputs: Mapping[str, np.ndarray]) -> Answer:
        """As :meth:`devices.device.Device.answer`, for the session's model."""

    def close(self) -> None:
        """Ends what runs; calling it twice is fine."""


def start(device: Device, model: Path, *, batch: int) -> Session:
    """A session of ``model``; raises as :meth:`devices.device.Device.answer`, perhaps only at the first request."""
    make = getattr(device, "session", None)
    return make(model, batch=batch) if make is not None else Calls(device, model, batch)


class Calls:
    """A session of a device that knows none: every request is a job of its own."""

    def __init__(self, device: Device, model: Path, batch: int) -> None:
        self._device, self._model, self._batch = device, model, batch

    def answer(self, inputs: Mapping[str, np.ndarray]) -> Answer:
        """See :class:`Session`."""
        return self._device.answer(self._model, inputs, batch=self._batch)

    def close(self) -> None:
        """Nothing runs between requests."""


class Process:
    """A runner on this machine that stays; see ``devices/runners/session.py``.

    Args:
        command: the runner; ``session.py`` must lie beside it.
        job: of an ``answer`` job, the model in it.
        start_seconds: until the first answer, beside ``seconds``.
        seconds: until any answer.
    """

    def __init__(self, command: local.Command, job: Mapping[str, Any], *, start_seconds: float, seconds: float) -> None:
        self._command, self._job = command, {**job, "job": "answer"}
        self._seconds, self._start_seconds = seconds, start_seconds
        self._where = str(job["model"])
        self._start()

    def _start(self) -> None:
        self._numbers = itertools.count()
        self._opened = contextlib.ExitStack()
        self._folder = self._opened.enter_context(local.workspace())
        self._stderr = self._opened.enter_context(open(self._folder / "stderr", "w+b"))  # noqa: SIM115
        command = self._command
        words = [str(command.python), *command.flags, str(command.files[0]), "--session"]
        try:
            self._process = subprocess.Popen(
                words,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                env={**os.environ, **command.env},
            )
        except OSError as error:
            self._opened.close()
            raise MissingError(
                f"the runner cannot be started ({error.strerror})",
                where=str(command.python),
                remedy="run edge-export doctor",
            ) from error

    def answer(self, inputs: Mapping[str, np.ndarray]) -> Answer:
        """See :class:`Session`."""
        try:
            return self._answer(inputs)
        except RunnerFailed as error:
            # A kernel that crashes once resized still answers one by one.
            if error.failure.stage != "batch" or self._job.get("batch") == 1:
                raise
            self.close()
            self._job["batch"] = 1
            self._start()
            return self._answer(inputs)

    def _answer(self, inputs: Mapping[str, np.ndarray]) -> Answer:
        from devices import exchange

        number = next(self._numbers)
        folder = self._folder / str(number)
        folder.mkdir()
        n = max((len(array) for array in inputs.values() if array.ndim), default=0)
        try:
            plan = exchange.write_job(folder, self._job, inputs)
            self._ask(plan, folder, self._seconds + (0 if number else self._start_seconds))
            result = exchange.read_result(folder, where=self._where, stderr=local.tail(self._stderr))
            provenance = {"runner_sha256": self._command.sha256(), "transport": "local"}
            return exchange.read_answer(folder, result, provenance, where=self._where, n=n)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """See :class:`Session`."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not taken by a dead runner
                assert pipe is not None
                pipe.close()
        local.kill(self._process)
        self._opened.close()

    def _ask(self, plan: Path, folder: Path, seconds: float) -> None:
        """Hands over a plan and waits for the answer.

        Raises:
            RunnerFailed: the runner died, or took longer than ``seconds``.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{plan}\n".encode())
            self._process.stdin.flush()
        except OSError as error:
            raise self._died(folder) from error
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            local.kill(self._process)
            raise ending.overdue(seconds, folder, local.tail(self._stderr), where=self._where)
        if not self._process.stdout.readline().endswith(b"\n"):
            raise self._died(folder)

    def _died(self, folder: Path) -> RunnerFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        local.kill(self._process)
        code = self._process.returncode
        said = local.tail(self._stderr)
        # A runner that ends by itself, whatever its code, has not answered.
        return ending.failure(code if code not in (0, 1) else 255, folder, said, where=self._where) or ending.overdue(
            0, folder, said, where=self._where
        )
