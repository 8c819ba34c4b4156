"""What both ``benchmark_model`` programs print, in all its shapes.

Formats, after the sources: ``Stat::OutputToStream`` and, in newer builds, ``StatWithPercentiles`` (TensorFlow's
``xla/tsl/util/stats_calculator.h``), ``BenchmarkModel::Run`` and ``OnBenchmarkEnd`` (TFLite's
``tools/benchmark/benchmark_model.cc``), and ``BenchmarkLoggingListener`` (``litert/tools/benchmark_litert_model.h``).
Both programs print the ``count=`` lines, in µs, first the warm-up's and then the measured runs'; the classic one's
summary is in µs, LiteRT's ``BENCHMARK RESULTS`` block in ms with two decimals, on stderr.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from devices.device import RunnerFailed
from devices.programs.google_delegation import Delegation, read_delegation
from devices.programs.google_log import Line, failed, last_run, read_lines, reported_error

MIB = 1024 * 1024
"""Bytes of what the tools call MB: they divide the kernel's KiB by 1,024."""

_N = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_ANY = rf"(?:{_N}|[-+]?nan|[-+]?inf)"
_COUNT = re.compile(
    rf"count=(?P<count>\d+)(?: first=(?P<first>{_N}) curr={_N} min=(?P<min>{_N}) max=(?P<max>{_N}) avg=(?P<avg>{_N})"
    rf" std=(?P<std>{_ANY})| curr=(?P<same>{_N})(?:\(all same\))?)?(?: p5=(?P<p5>{_N}) median=(?P<median>{_N})"
    rf" p95=(?P<p95>{_N}))? *"
)
_SUMMARY = (
    re.compile(
        rf"Inference timings in us: Init: (?P<init_us>{_ANY}), First inference: (?P<first_us>{_ANY}), "
        rf"Warmup \(avg\): (?P<warmup_us>{_ANY}), Inference \(avg\): {_ANY}"
    ),
    re.compile(rf"Average inference timings in us: Warmup: (?P<warmup_us>{_ANY}), Init: (?P<init_us>{_ANY}), "),
)
_INITIALIZED = re.compile(rf"Initialized session in (?P<ms>{_N})ms")
_MEMORY = re.compile(rf"(?:Peak m|M)emory footprint.*\(MB\): init=(?P<init>{_N}) overall=(?P<overall>{_N})")
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: (?P<peak>{_N})")
_BLOCK_BEGINS = re.compile(r"=+ BENCHMARK RESULTS =+")
_BLOCK_ENDS = re.compile(r"={20,}")
_BLOCK = {
    "init_us": (1000, re.compile(rf"Model initialization: +({_N}) ms")),
    "first_us": (1000, re.compile(rf"Warmup \(first\): +({_N}) ms")),
    "warmup_us": (1000, re.compile(rf"Warmup \(avg\): +({_N}) ms \(\d+ runs\)")),
    "warmup_runs": (1, re.compile(rf"Warmup \(avg\): +{_ANY} ms \((\d+) runs\)")),
    "mean_us": (1000, re.compile(rf"Inference \(avg\): +({_N}) ms \(\d+ runs\)")),
    "runs": (1, re.compile(rf"Inference \(avg\): +{_ANY} ms \((\d+) runs\)")),
    "min_us": (1000, re.compile(rf"Inference \(min\): +({_N}) ms")),
    "max_us": (1000, re.compile(rf"Inference \(max\): +({_N}) ms")),
    "std_us": (1000, re.compile(rf"Inference \(std\): +({_N})")),
    "memory_init_bytes": (MIB, re.compile(rf"Init footprint: +({_N}) MB")),
    "memory_overall_bytes": (MIB, re.compile(rf"Overall footprint: +({_N}) MB")),
    "memory_peak_bytes": (MIB, re.compile(rf"Peak memory: +({_N}) MB")),
}


@dataclass(frozen=True, kw_only=True)
class GoogleText:
    """The figures of the last run in an output, by the names of ``GoogleResult``'s fields, in µs and bytes.

    What the output does not hold is not in ``values``.
    """

    values: dict[str, float]
    delegation: Delegation


def read_text(stdout: str, stderr: str = "", *, delegate: str | None = None, subgraph: int = 0) -> GoogleText:
    """Reads an output of either program.

    Args:
        stdout: what it printed; or both streams together, or a logcat. A last line without newline counts as cut off.
        stderr: the other stream, where it was kept apart. LiteRT's block and the delegates' counts are there.
        delegate: whose nodes to count, and ``subgraph`` where; see :func:`google_delegation.read_delegation`.

    Raises:
        RunnerFailed: no finished run in it (``stage`` says how far it came), or the program did not know a flag.
    """
    output = stdout + stderr
    lines = last_run(read_lines(stdout)) + read_lines(stderr)
    for line in lines:
        if line.text.startswith("Unconsumed cmdline flags:"):
            raise failed(
                "flags",
                f"the program does not know {line.text.partition(':')[2].strip()}",
                output,
                remedy="use a build that knows the flag, or leave it out",
            )
    counts = [_count(line.text, output) for line in lines if line.text.startswith("count=")]
    block = _block(lines)
    if len(counts) > 2:
        raise failed("result", f"{len(counts)} count= lines in one run, so the measured one is not known", output)
    if len(counts) < 2 and not (block and not counts):
        raise _unfinished(lines, len(counts), output)
    values = dict(block)
    if counts:
        values.update(_warmup(counts[0]))
        values.update({name: value for name, value in counts[1].items() if name != "first_run_us"})
    for line in lines:
        _summary(line.text, values)
    values = {name: value for name, value in values.items() if math.isfinite(value)}
    if not values.get("runs") or "mean_us" not in values:
        raise failed("run", "not one inference was timed", output)
    if not values.get("warmup_runs", 1):
        for name in ("first_us", "warmup_us"):  # the tools print 0 for what never ran
            values.pop(name, None)
    return GoogleText(values=values, delegation=read_delegation(lines, delegate=delegate, subgraph=subgraph))


def _count(text: str, output: str) -> dict[str, float]:
    """A ``count=`` line in µs. ``count=3 curr=5(all same)`` and ``count=1 curr=5`` are spread out over all fields."""
    match = _COUNT.fullmatch(text)
    found = {name: float(value) for name, value in (match.groupdict() if match else {}).items() if value is not None}
    count = found.get("count", 0.0)
    if match is None or (count and "avg" not in found and "same" not in found):
        raise failed("result", f"this line cannot be read: {text}", output)
    if not count:
        return {"runs": 0.0}
    if "same" in found:
        same = found["same"]
        found = dict.fromkeys(("first", "min", "max", "avg", "p5", "median", "p95"), same)
        found["std"] = 0.0
    values = {"runs": count, "mean_us": found["avg"], "first_run_us": found["first"]}
    values.update({f"{name}_us": found[name] for name in ("min", "max", "p5", "median", "p95") if name in found})
    if found["std"] >= 0:  # the tool's integer arithmetic can leave the root of a negative number here
        values["std_us"] = found["std"]
    return values


def _warmup(counted: dict[str, float]) -> dict[str, float]:
    names = {"runs": "warmup_runs", "mean_us": "warmup_us", "first_run_us": "first_us"}
    return {names[name]: value for name, value in counted.items() if name in names}


def _block(lines: Sequence[Line]) -> dict[str, float]:
    """LiteRT's block, in µs and bytes; empty where there is none or its end is missing."""
    values: dict[str, float] = {}
    inside = False
    for line in lines:
        if _BLOCK_BEGINS.fullmatch(line.text):
            inside, values = True, {}
        elif inside and _BLOCK_ENDS.fullmatch(line.text):
            return values
        elif inside:
            for name, (factor, pattern) in _BLOCK.items():
                match = pattern.fullmatch(line.text)
                if match:
                    values[name] = float(match[1]) * factor
    return {}


def _summary(text: str, values: dict[str, float]) -> None:
    """Adds what the lines around the ``count=`` ones say."""
    for pattern in _SUMMARY:
        match = pattern.match(text)
        if match:
            values.update({name: float(value) for name, value in match.groupdict().items()})
    match = _INITIALIZED.match(text)
    if match:
        values.setdefault("init_us", float(match["ms"]) * 1000)
    match = _MEMORY.match(text)
    if match:
        values["memory_init_bytes"] = float(match["init"]) * MIB
        values["memory_overall_bytes"] = float(match["overall"]) * MIB
    match = _PEAK.match(text)
    if match:
        values["memory_peak_bytes"] = float(match["peak"]) * MIB


def _unfinished(lines: Sequence[Line], counts: int, output: str) -> RunnerFailed:
    initialized = any(_INITIALIZED.match(line.text) for line in lines)
    stage = "run" if counts else "warm-up" if initialized else "init"
    said = reported_error(lines)
    return failed(stage, said or f"the output ends in stage {stage!r}, before any result", output)
