"""What every way to a device can do: run, push, pull, each within a time limit; and how it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from toolkit.errors import DeviceError

COMMAND_SECONDS = 60.0
"""Time limit of a command that does little; an emulated one takes a second."""

BYTES_PER_SECOND = 200_000
"""The slowest link that a copy is waited for: a bad wireless network."""


class Done(NamedTuple):
    """A command that ended on a device. ``code`` is negative for a signal, as in :mod:`subprocess`."""

    code: int
    stdout: str
    stderr: str


class DeviceLost(DeviceError):
    """The device, or the way to it, is gone or does not let us in. ``doing``: push, run, pull or connect.

    ``final``: it would be the same a second time (a changed host key, no permission).
    """

    def __init__(self, what: str, *, doing: str, where: str = "", remedy: str = "", final: bool = False) -> None:
        self.doing = doing
        self.final = final
        super().__init__(what, where=where, remedy=remedy)


class CommandFailed(DeviceError):
    """A command of ours on the device that must not fail did."""


class TooSlow(DeviceError):
    """A command that did not end in its time; it was killed there, as far as the device let us."""


class Transport(Protocol):
    """One way to one device. Remote paths are absolute; words are passed as they are, never through a shell of ours."""

    name: str
    """``ssh``, ``adb``."""

    where: str
    """The device, for people."""

    base: str
    """The folder on the device that is ours."""

    def run(self, words: Sequence[str], *, seconds: float = COMMAND_SECONDS, stdin: bytes = b"") -> Done:
        """Runs a program on the device.

        Raises:
            DeviceLost: the connection broke.
            TooSlow: the time is over.
        """

    def push(self, files: Mapping[str, Path], *, seconds: float) -> None:
        """Copies files to the device: ``{remote path: local file}``; the folders are there.

        Raises:
            DeviceLost: the connection broke.
            CommandFailed: the device does not take them (disk full, read-only).
            TooSlow: the time is over.
        """

    def pull(self, remote: Sequence[str], folder: Path, *, seconds: float) -> list[str]:
        """Copies files from the device into ``folder``, under their own names; returns those that were there.

        Raises: as :meth:`push`.
        """

    def close(self) -> None:
        """Ends the connection."""


def copy_seconds(size: int) -> float:
    """The time limit of a copy of ``size`` bytes."""
    return COMMAND_SECONDS + size / BYTES_PER_SECOND
