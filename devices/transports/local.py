"""This machine: a runner in a fresh process of its own session, with a time limit, and nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from devices.device import Answer, Timed
from devices.transports import ending
from toolkit.errors import MissingError
from toolkit.records import Plan

if TYPE_CHECKING:
    import numpy as np

_PREFIX = "edge-export-job-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A runner and the Python to run it with. ``files[0]`` is the program, the others lie beside it."""

    python: Path
    files: tuple[Path, ...]
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def sha256(self) -> str:
        """Digest of the runner's files: which program took the numbers."""
        from toolkit import store

        return store.key_of([store.sha256_file(path) for path in self.files])


def answer(command: Command, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray], *, timeout: float) -> Answer:
    """Runs an ``answer`` job here; raises as :meth:`devices.device.Device.answer`."""
    from devices import exchange

    where, n = str(job["model"]), max((len(array) for array in inputs.values() if array.ndim), default=0)
    with workspace() as folder:
        result, provenance = _result(command, job, inputs, folder, timeout)
        return exchange.read_answer(folder, result, provenance, where=where, n=n)


def time(
    command: Command,
    job: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray] | None,
    plan: Plan,
    *,
    round: int,
    start_seconds: float,
) -> Timed:
    """Runs a ``time`` job here. ``start_seconds``: time to start, load and allocate before its work counts."""
    from devices import exchange

    at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    # The last sample and the doubling check may run past the plan's seconds.
    timeout = start_seconds + plan.warmup_max_seconds + 3 * plan.max_seconds / plan.processes
    with workspace() as folder:
        result, provenance = _result(command, {**job, **exchange.time_job(plan)}, inputs, folder, timeout)
        return exchange.read_timed(result, provenance, where=str(job["model"]), round=round, at=at)


def _result(
    command: Command, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray] | None, folder: Path, timeout: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    from devices import exchange

    exchange.write_job(folder, {**job, "die_with_parent": True}, inputs)
    where = str(job["model"])
    stderr = run(command, folder, timeout=timeout, where=where)
    provenance = {"runner_sha256": command.sha256(), "transport": "local"}
    return exchange.read_result(folder, where=where, stderr=stderr), provenance


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder for one job, gone afterwards.

    Its name holds our process id: what a killed process could not remove, the next one does.
    """
    import tempfile

    from toolkit.store import disk_errors

    base = Path(tempfile.gettempdir())
    _sweep(base)
    with disk_errors(base):
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(command: Command, folder: Path, *, timeout: float, where: str) -> str:
    """Runs a runner on ``folder/plan.json`` to its end and returns the tail of its stderr.

    Exit code 1 is a result like 0: the runner says in ``result.json`` what failed. The process has a session of
    its own, so Ctrl-C reaches only us and we end it with all it started.

    Args:
        command: the runner.
        folder: its working directory.
        timeout: seconds until it is killed.
        where: what to name in an error: the model.

    Raises:
        RunnerFailed: it died of a signal, ended with another code, or took too long.
        MissingError: it could not be started.
    """
    arguments = [str(command.python), *command.flags, str(command.files[0]), "plan.json"]
    with open(folder / "stderr", "w+b") as stderr:
        try:
            process = subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
                env={**os.environ, **command.env},
            )
        except OSError as error:
            raise MissingError(
                f"the runner cannot be started ({error.strerror})",
                where=str(command.python),
                remedy="run edge-export doctor",
            ) from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ending.overdue(timeout, folder, tail(stderr), where=where) from error
        finally:
            kill(process)
        said = tail(stderr)
    failed = ending.failure(code, folder, said, where=where)
    if failed is not None:
        raise failed
    return said


def kill(process: subprocess.Popen) -> None:
    """Ends the runner's whole session, also what it may have left running."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(stream: IO[bytes]) -> str:
    """The end of what a runner wrote there."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - ending.STDERR_TAIL))
    return stream.read().decode("utf-8", "replace").strip()


def _sweep(base: Path) -> None:
    """Removes workspaces of processes of this user that are no more."""
    from toolkit.store import alive

    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            owner = int(folder.name[len(_PREFIX) :].split("-")[0])
            if folder.stat().st_uid == os.getuid() and not alive(owner):
                shutil.rmtree(folder, ignore_errors=True)
