"""Lines of a ``benchmark_model``'s output without the prefixes they come with, and the last run among them.

Prefixes, after the sources of the tools' loggers: none (older builds), ``INFO: `` / ``WARN: `` / ``ERROR: ``
(``tflite/tools/logging.h``), ``VERBOSE: `` (``minimal_logging``), ``INFO: [file.h:92] `` (LiteRT's), Android's logcat
in its formats brief, tag, time and threadtime, and Apple's unified log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from devices.device import RunnerFailed
from toolkit.records import Failure

TAIL = 2048
"""Characters of output kept in a failure."""

_LOGCAT = re.compile(
    r"(?:(?:\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d\.\d+ +)?(?:(?:\d+|u\d+_a\d+|[a-z]+) +)?(?:\d+ +\d+ +)?"
    r"(?P<level>[VDIWEF])[ /](?:tflite|litert) *(?:\( *\d+\))?: ?(?P<text>.*)"
)
_APPLE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+[+-]\d{4} \S+\[\d+:\d+\] ")
_SEVERITY = re.compile(r"(VERBOSE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL): (.*)")
_SOURCE = re.compile(r"\[[\w./\\-]+:\d+\] ?")
_LEVELS = {"V": "VERBOSE", "D": "DEBUG", "I": "INFO", "W": "WARN", "E": "ERROR", "F": "FATAL", "WARNING": "WARN"}


class Line(NamedTuple):
    """What one line says, and how severe it calls itself (empty where it does not)."""

    severity: str
    text: str


def read_lines(text: str) -> list[Line]:
    """All whole lines, without prefixes. A last line without its newline was cut off and is left out.

    On Android the tool writes everything twice, to its console and to logcat: where both are in ``text``, logcat's
    copy is left out.
    """
    plain: list[Line] = []
    every: list[Line] = []
    for raw in text.split("\n")[:-1]:
        line, logcat = _strip(raw.rstrip("\r"))
        every.append(line)
        if not logcat:
            plain.append(line)
    return plain if any(_is_result(line) for line in plain) else every


def last_run(lines: Sequence[Line]) -> list[Line]:
    """The lines from where the last run begins; a log can hold runs before it."""
    start, timed = 0, False
    for index, line in enumerate(lines):
        # The app's library prints no STARTING!, so what comes first after a run's times begins the next one.
        begins = line.text.startswith(("Unconsumed cmdline flags", "Log parameter values verbosely"))
        if line.text == "STARTING!" or (timed and begins):
            start, timed = index, False
        elif line.text.startswith("count="):
            timed = True
    return list(lines[start:])


def reported_error(lines: Sequence[Line]) -> str:
    """The last error the tool told of that says something, or nothing."""
    for line in reversed(lines):
        if line.severity in ("ERROR", "FATAL") and not line.text.startswith(("Benchmarking failed", "usage:")):
            return line.text.strip()
    return ""


def failed(stage: str, message: str, output: str, *, remedy: str = "") -> RunnerFailed:
    """The error for a run without a result, with the end of its output."""
    failure = Failure(stage=stage, message=message, stderr_tail=output[-TAIL:].strip())
    return RunnerFailed(failure, where="benchmark_model", remedy=remedy)


def _strip(raw: str) -> tuple[Line, bool]:
    found = _LOGCAT.fullmatch(raw)
    if found:
        severity, text = _LEVELS[found["level"]], found["text"]
    else:
        severity, text = "", _APPLE.sub("", raw, count=1)
    named = _SEVERITY.fullmatch(text)
    if named:
        severity, text = _LEVELS.get(named[1], named[1]), named[2]
    source = _SOURCE.match(text)
    return Line(severity, text[source.end() :] if source else text), found is not None


def _is_result(line: Line) -> bool:
    return line.text.startswith(("count=", "Inference (avg):"))
