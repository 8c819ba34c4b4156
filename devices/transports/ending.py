"""How a runner ended, from its exit code and what it left, the same for every transport."""

from __future__ import annotations

import signal
from pathlib import Path

from devices.device import RunnerFailed
from toolkit.records import Failure

STDERR_TAIL = 2048
"""Bytes of a dead runner's stderr that go into its record."""


def stage(folder: Path) -> str:
    """What the runner was doing last, as it noted in ``folder``."""
    try:
        return (folder / "stage").read_text(encoding="utf-8", errors="replace").strip() or "start"
    except OSError:
        return "start"


def failure(code: int, folder: Path, stderr: str, *, where: str) -> RunnerFailed | None:
    """The error of a runner that left no result; ``None`` for 0 and 1, which leave one.

    Args:
        code: its exit code, negative for a signal.
        folder: where it noted its stage.
        stderr: the end of what it said.
        where: what to name in the error: the model.
    """
    if code in (0, 1):
        return None
    at = stage(folder)
    how = f"died of {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        how += " (the system kills so when memory runs out)"
    return RunnerFailed(
        Failure(stage=at, message=f"the runner {how} in stage {at!r}", stderr_tail=stderr[-STDERR_TAIL:]), where=where
    )


def overdue(seconds: float, folder: Path, stderr: str, *, where: str) -> RunnerFailed:
    """The error of a runner that did not end in its time and was killed."""
    message = f"the runner did not end in {seconds:.0f} s"
    return RunnerFailed(Failure(stage=stage(folder), message=message, stderr_tail=stderr[-STDERR_TAIL:]), where=where)


def signal_name(number: int) -> str:
    """``SIGSEGV`` of 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
