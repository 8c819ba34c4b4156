"""What a user sees while a stage works: bars on a terminal, plain lines elsewhere, always on stderr.

Native libraries write to file descriptor 2 as they please. :func:`native_output_to` sends that to a log
file while progress keeps its own copy of the terminal's descriptor.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO


class Task(Protocol):
    """One thing being done, with a known or unknown number of steps."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Counts steps as done and may change the note beside the bar."""


class Progress:
    """Reports what is going on. ``quiet`` silences everything but warnings."""

    def __init__(self, *, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._own = stream
        self._quiet = quiet
        self.warnings: list[str] = []

    @property
    def stream(self) -> TextIO:
        """Where progress goes: the given stream, else what stderr is now."""
        return self._own or _terminal or sys.stderr

    def say(self, line: str) -> None:
        """One plain line."""
        if not self._quiet:
            print(line, file=self.stream, flush=True)

    def warn(self, line: str) -> None:
        """One line that also goes into the result document's ``warnings``."""
        if line not in self.warnings:
            self.warnings.append(line)
            print(f"warning: {line}", file=self.stream, flush=True)

    @contextlib.contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator[Task]:
        """A bar (terminal) or a line at start and end (anything else) around some work."""
        if self._quiet:
            yield _Silent()
        elif self.stream.isatty():
            with _bar(self.stream, title, total) as bar:
                yield bar
        else:
            start = time.monotonic()
            self.say(f"{title} ...")
            line = _Line()
            yield line
            note = f", {line.note}" if line.note else ""
            self.say(f"{title}: done in {time.monotonic() - start:.1f} s{note}")


_terminal: TextIO | None = None


@contextlib.contextmanager
def native_output_to(log: Path) -> Iterator[None]:
    """Appends everything written to file descriptor 2 to ``log`` while the block runs.

    Progress still reaches the user: it keeps a copy of the old descriptor. Not re-entrant by design:
    an inner block leaves the outer one's log in place.
    """
    global _terminal
    if _terminal is not None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    saved = os.dup(2)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    _terminal = os.fdopen(os.dup(saved), "w", encoding="utf-8", errors="replace")
    os.dup2(target, 2)
    os.close(target)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        _terminal.close()
        _terminal = None


class _Silent:
    def advance(self, steps: float = 1, note: str = "") -> None:
        pass


class _Line:
    def __init__(self) -> None:
        self.note = ""

    def advance(self, steps: float = 1, note: str = "") -> None:
        self.note = note or self.note


@contextlib.contextmanager
def _bar(stream: TextIO, title: str, total: float | None) -> Iterator[Task]:
    # rich is imported only where a bar is drawn: it must not slow --help down.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    counted: list[Any] = [BarColumn(), MofNCompleteColumn()]
    columns: list[Any] = [
        TextColumn("{task.description}"),
        *(counted if total is not None else [SpinnerColumn(finished_text="done")]),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    ]
    with Bars(*columns, console=Console(file=stream)) as bars:
        identifier = bars.add_task(title, total=1 if total is None else total, note="")

        class _Bar:
            def advance(self, steps: float = 1, note: str = "") -> None:
                bars.advance(identifier, steps if total is not None else 0)
                if note:
                    bars.update(identifier, note=note)

        yield _Bar()
        bars.update(identifier, completed=1 if total is None else total)
