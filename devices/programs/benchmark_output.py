"""What Google's two programs called ``benchmark_model`` print and write, as one record.

The classic one (tflite/tools/benchmark) prints µs, plain or with ``INFO: `` or logcat's head before each line; LiteRT's
prints a ``BENCHMARK RESULTS`` block in ms. Both write the proto2 message ``BenchmarkResult``. Neither keeps samples nor
has a p90.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

NO_SAMPLES = "benchmark_model keeps no samples"

_HEAD = re.compile(r"^(?:\d\d-\d\d \d\d:\d\d:\d\d\.\d+\s+\d+\s+\d+ [VDIWEF] [^:]*: |INFO: |WARN: |WARNING: |ERROR: )+")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PAIR = re.compile(rf"(\w+)=({_NUMBER})")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: ({_NUMBER}), First inference: ({_NUMBER}), "
    rf"Warmup \(avg\): ({_NUMBER}), Inference \(avg\): ({_NUMBER})"
)
_MEMORY = re.compile(rf"Memory footprint delta from the start of the tool \(MB\): init=({_NUMBER}) overall=({_NUMBER})")
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
_UNCONSUMED = re.compile(r"Unconsumed cmdline flags: (.*)")
_REPLACED = re.compile(
    r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(([^)]*)\) node, yielding (\d+) partitions"
)
_NOT_DELEGATED = re.compile(r"the model graph will not be executed by the delegate|Failed to apply .* delegate", re.I)
_ALL_DELEGATED = re.compile(r"the model graph will be completely executed by the delegate")
_NO_DELEGATE = re.compile(
    r"(?:GPU|Hexagon|NNAPI|CoreML).*(?:not supported|isn't supported|unavailable|not available)", re.I
)
_FAILED = re.compile(r"Benchmarking failed|Failed to (?:load|initialize|invoke|allocate)|Error during", re.I)
_BLOCK = re.compile(rf"^(?P<name>[A-Z][\w ]*(?:\([\w ]+\))?):\s+(?P<value>{_NUMBER}) ms(?: \((?P<runs>\d+) runs\))?")
_FULLY = re.compile(r"Fully accelerated:\s+(True|False|true|false)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reported:
    """One run's figures; µs and bytes, ``None`` where it told none. ``kind`` is ``classic`` or ``litert``.

    ``delegated`` is (taken by the delegate, all operators); ``fully`` whether all were, as far as that alone is told.
    """

    kind: str
    median_us: float | None = None
    mean_us: float | None = None
    min_us: float | None = None
    max_us: float | None = None
    std_us: float | None = None
    p5_us: float | None = None
    p95_us: float | None = None
    init_us: float | None = None
    first_us: float | None = None
    warmup_us: float | None = None
    runs: int | None = None
    warmup_runs: int | None = None
    init_bytes: int | None = None
    overall_bytes: int | None = None
    peak_bytes: int | None = None
    delegated: tuple[int, int] | None = None
    partitions: int | None = None
    fully: bool | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Op:
    """One operator of a profile: its kind and name, mean µs a run, and how often it was called."""

    kind: str
    name: str
    mean_us: float
    calls: int


class Unreadable(Exception):
    """Output without a result, and why: said by the program where it did."""


def parse_text(text: str) -> Reported:
    """The figures in what either program printed, stdout and stderr in any order.

    Raises:
        Unreadable: there are none; a flag was not known; a delegate that was asked for is not there.
    """
    lines = [_HEAD.sub("", line.rstrip("\r")) for line in text.splitlines()]
    plain = "\n".join(lines)
    refused = _UNCONSUMED.search(plain)
    if refused:
        # Only a warning there: the run would be timed without what was asked for.
        raise Unreadable(f"it does not know the flags {refused[1].strip()}")
    missing = _NO_DELEGATE.search(plain)
    if missing:
        raise Unreadable(f"it has no such delegate ({missing[0].strip()})")
    found = _block(lines) if "BENCHMARK RESULTS" in plain else _classic(lines, plain)
    if found is None:
        failed = next((line for line in lines if _FAILED.search(line)), "")
        raise Unreadable(failed.strip() or "it printed no timings")
    return dataclasses.replace(found, **_delegation(plain))


def _classic(lines: list[str], plain: str) -> Reported | None:
    counts = [dict(_PAIR.findall(line)) for line in lines if line.startswith("count=")]
    summary = _TIMINGS.search(plain)
    if not counts and summary is None:
        return None
    # The first are the warm-up's, unless that was switched off; the last are those that count.
    last: Mapping[str, str] = counts[-1] if counts else {}
    one = last.get("curr") if "avg" not in last else None  # one run, or all of them alike

    def of(key: str) -> float | None:
        value = last.get(key, one)
        return None if value is None else float(value)

    memory, peak = _MEMORY.search(plain), _PEAK.search(plain)
    known: dict[str, Any] = {}
    if summary:
        known = dict(zip(("init_us", "first_us", "warmup_us"), map(float, summary.groups()[:3]), strict=True))
    mean = of("avg")
    return Reported(
        kind="classic",
        mean_us=mean if mean is not None else float(summary[4]) if summary else None,
        median_us=of("median"),
        min_us=of("min"),
        max_us=of("max"),
        std_us=0.0 if one is not None else of("std"),
        p5_us=of("p5"),
        p95_us=of("p95"),
        runs=int(float(last["count"])) if "count" in last else None,
        warmup_runs=int(float(counts[0]["count"])) if len(counts) > 1 else None,
        init_bytes=_bytes(memory[1]) if memory else None,
        overall_bytes=_bytes(memory[2]) if memory else None,
        peak_bytes=_bytes(peak[1]) if peak else None,
        **known,
    )


_BLOCK_FIELDS = {
    "Model initialization": "init_us",
    "Warmup (first)": "first_us",
    "Warmup (avg)": "warmup_us",
    "Inference (avg)": "mean_us",
    "Inference (min)": "min_us",
    "Inference (max)": "max_us",
    "Inference (median)": "median_us",
    "Inference (std)": "std_us",
    "Inference (p5)": "p5_us",
    "Inference (p95)": "p95_us",
}


def _block(lines: list[str]) -> Reported | None:
    known: dict[str, Any] = {}
    for line in lines:
        match = _BLOCK.match(line.strip())
        field = _BLOCK_FIELDS.get(match["name"]) if match else None
        if match and field:
            known[field] = float(match["value"]) * 1e3
            if match["runs"] and field in ("mean_us", "warmup_us"):
                known["runs" if field == "mean_us" else "warmup_runs"] = int(match["runs"])
    fully = _FULLY.search("\n".join(lines))
    if fully:
        known["fully"] = fully[1].lower() == "true"
    return Reported(kind="litert", **known) if "mean_us" in known or "median_us" in known else None


def _delegation(plain: str) -> dict[str, Any]:
    replaced = [(int(m[1]), int(m[2]), int(m[4])) for m in _REPLACED.finditer(plain)]
    if _NOT_DELEGATED.search(plain):
        return {"fully": False}
    if replaced:
        taken, total, partitions = replaced[-1]
        return {"delegated": (taken, total), "partitions": partitions, "fully": taken == total}
    return {"fully": True} if _ALL_DELEGATED.search(plain) else {}


def _bytes(megabytes: str) -> int:
    return round(float(megabytes) * 1024 * 1024)


_LATENCY = {
    1: "mean_us",
    2: "min_us",
    3: "max_us",
    4: "std_us",
    5: "median_us",
    6: "p5_us",
    7: "p95_us",
    8: "init_us",
    9: "first_us",
    10: "warmup_us",
}
_MEMORY_FIELDS = {1: ("init_bytes", 1024.0), 2: ("overall_bytes", 1024.0), 3: ("peak_bytes", 1024.0 * 1024)}
_MISC = {2: "runs", 3: "warmup_runs"}


def parse_proto(data: bytes, kind: str = "classic") -> Reported:
    """The figures in a serialized ``BenchmarkResult`` (tflite/tools/benchmark/proto/benchmark_result.proto).

    Raises:
        Unreadable: it is cut short, or no such message.
    """
    known: dict[str, Any] = {}
    try:
        for number, value in _fields(data):
            if number == 2 and isinstance(value, bytes):
                known.update({_LATENCY[n]: v * 1e3 for n, v in _fields(value) if n in _LATENCY})
            elif number == 3 and isinstance(value, bytes):
                for n, v in _fields(value):
                    if n in _MEMORY_FIELDS:
                        name, factor = _MEMORY_FIELDS[n]
                        known[name] = round(v * factor)
            elif number == 4 and isinstance(value, bytes):
                known.update({_MISC[n]: int(v) for n, v in _fields(value) if n in _MISC})
    except (IndexError, struct.error, ValueError, TypeError, OverflowError) as error:
        raise Unreadable(f"its result file is cut short or none ({error})") from error
    if "mean_us" not in known:
        raise Unreadable("its result file holds no latency")
    return Reported(kind=kind, **known)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The wire format of protocol buffers: (number, value) of each field; bytes of a submessage as they are."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 1:
            yield number, struct.unpack_from("<d", data, at)[0]
            at += 8
        elif wire == 5:
            yield number, struct.unpack_from("<f", data, at)[0]
            at += 4
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("a field is longer than the file")
            yield number, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")


def parse_ops(text: str) -> list[Op]:
    """The rows of the first "Run Order" section of ``--op_profiling_output_mode=csv``.

    Raises:
        Unreadable: there is no such section.
    """
    lines = [_HEAD.sub("", line) for line in text.splitlines()]
    start = next((i for i, line in enumerate(lines) if re.match(r"\s*\[?node type\]?\s*,", line, re.I)), None)
    if start is None:
        raise Unreadable("it wrote no profile of operators")
    names = [cell.strip(" []").lower() for cell in next(csv.reader(io.StringIO(lines[start])))]
    found = []
    for cells in csv.reader(lines[start + 1 :], skipinitialspace=True):
        row = dict(zip(names, (cell.strip() for cell in cells), strict=False))
        if len(cells) < len(names):
            break
        try:
            mean = float(row.get("avg_ms", row.get("avg ms", "")))
            calls = int(float(row.get("times called", "1")))
        except ValueError:
            break
        name = row.get("name", "").strip("[]").rpartition("]:")[0] or row.get("name", "")
        found.append(Op(kind=row["node type"], name=name, mean_us=mean * 1e3, calls=calls))
    if not found:
        raise Unreadable("its profile of operators is empty")
    return found
