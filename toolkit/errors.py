"""Every error a user can meet, and the exit code it ends with.

    EdgeExportError            1
    ├── CheckFailed            1   a gate, budget or verdict failed
    ├── UsageError             2   the command was called wrongly
    ├── MissingError           3   something is missing on this machine
    ├── DeviceError            4   a device or its runner failed
    ├── BrokenInput            5   corrupt model, malformed data
    └── NothingProved          6   no artifact kept the budget

An error is one line: what happened, where, and what to do about it. It is caught once, at the edge of
the command line; library code raises and never prints or exits.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells report SIGINT (128 + 2)."""


class EdgeExportError(Exception):
    """What happened, where it happened, and the remedy.

    Args:
        what: one clause, without a full stop.
        where: the file, option, layer or device concerned; may be empty.
        remedy: what the user can do next; may be empty.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = _one_line(what)
        self.where = _one_line(where)
        self.remedy = _one_line(remedy)
        super().__init__(str(self))

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


class CheckFailed(EdgeExportError):
    """A gate, a budget or a verdict failed."""

    exit_code = 1


class UsageError(EdgeExportError):
    """The command was called wrongly."""

    exit_code = 2


class MissingError(EdgeExportError):
    """Something is missing on this machine: a package, a runtime, space, a permission."""

    exit_code = 3


class DeviceError(EdgeExportError):
    """A device or the runner on it failed."""

    exit_code = 4


class BrokenInput(EdgeExportError):
    """The input cannot be used: a corrupt model, malformed data."""

    exit_code = 5


class NothingProved(EdgeExportError):
    """No artifact could be proved to keep the budget."""

    exit_code = 6


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in a registry, with the nearest names offered.

    Args:
        kind: what was looked up, e.g. ``"recipe"``.
        name: what the user wrote.
        known: the names there are.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near += [n for n in names if n not in near and name and (n.startswith(name) or name.startswith(n))]
    remedy = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return UsageError(f"unknown {kind} {name!r}", remedy=remedy)


def not_permitted(path: object) -> MissingError:
    """The error for a file or folder that is there and must not be read; ``path`` is its name."""
    return MissingError(
        "must not be read (permission denied)", where=str(path), remedy="give yourself read permission, or use a copy"
    )


def _one_line(text: str) -> str:
    return " ".join(str(text).split())
