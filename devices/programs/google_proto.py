"""The file of ``--result_file_path``: a proto2 ``tflite.tools.benchmark.BenchmarkResult``.

Fields, after ``tflite/tools/benchmark/proto/benchmark_result.proto`` (LiteRT, since August 2025): 2 latency_metrics
{1 avg, 2 min, 3 max, 4 stddev, 5 median, 6 p5, 7 p95, 8 init, 9 first_inference, 10 average_warm_up; float ms},
3 memory_metrics {1 init_footprint_kb, 2 overall_footprint_kb; int64: KiB, 3 peak_mem_mb; float: MiB} and 4 misc_metrics
{2 num_runs, 3 num_warmup_runs; int32}. The wire format is protobuf's (protobuf.dev, "Encoding"); fields that are not
in these lists, or not of these types, are skipped, as any protobuf reader does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from devices.programs.google_log import failed

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
_MEMORY = {1: "memory_init_bytes", 2: "memory_overall_bytes"}
_MISC = {2: "runs", 3: "warmup_runs"}
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)


def read_result(data: bytes) -> dict[str, float]:
    """The figures by the names of ``GoogleResult``'s fields, in µs and bytes; what is not in the file is left out.

    Raises:
        RunnerFailed: not such a file, one that was cut off, or one of a run that timed not one inference.
    """
    values: dict[str, float] = {}
    try:
        for number, wire, value in _fields(data):
            if wire == _BYTES and isinstance(value, bytes):
                if number == 2:
                    values.update(_latency(value))
                elif number == 3:
                    values.update(_memory(value))
                elif number == 4:
                    values.update(
                        {_MISC[n]: float(_signed(v)) for n, w, v in _fields(value) if w == _VARINT and n in _MISC}
                    )
    except ValueError as error:
        raise failed("result", f"the result file cannot be read: {error}", "") from None
    values = {name: value for name, value in values.items() if math.isfinite(value)}
    if values.get("runs") == 0:
        raise failed("run", "the result file says that not one inference was timed", "")
    if "mean_us" not in values:
        raise failed("result", "the result file holds no latency", "")
    if values.get("std_us", 0.0) < 0:  # the tool's integer arithmetic can leave the root of a negative number here
        del values["std_us"]
    if values.get("warmup_runs") == 0:
        for name in ("first_us", "warmup_us"):  # the tools write 0 for what never ran
            values.pop(name, None)
    return values


def _latency(data: bytes) -> dict[str, float]:
    return {
        _LATENCY[number]: _float(value) * 1000
        for number, wire, value in _fields(data)
        if wire == _FIXED32 and number in _LATENCY
    }


def _memory(data: bytes) -> dict[str, float]:
    values: dict[str, float] = {}
    for number, wire, value in _fields(data):
        if wire == _VARINT and number in _MEMORY:
            values[_MEMORY[number]] = _signed(value) * 1024.0
        elif wire == _FIXED32 and number == 3:
            values["memory_peak_bytes"] = _float(value) * 1024 * 1024
    return values


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, wire type, value) of each field: an unsigned number for a varint, else the bytes. Groups are skipped.

    Raises:
        ValueError: what is wrong with the bytes.
    """
    at, open_groups = 0, []
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | bytes = b""
        if not 0 < number < 1 << 29:
            raise ValueError(f"field number {number} at byte {at}")
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32, _BYTES):
            size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
            if size is None:
                size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError(f"it ends inside field {number}")
        elif wire == _GROUP:
            open_groups.append(number)
        elif wire != _END_GROUP or not open_groups or open_groups.pop() != number:
            raise ValueError(f"wire type {wire} at byte {at}")
        if not open_groups and wire != _END_GROUP:
            yield number, wire, value
    if open_groups:
        raise ValueError(f"it ends inside group {open_groups[-1]}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends inside a number")
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value & ((1 << 64) - 1), at
    raise ValueError(f"a number of more than 10 bytes at byte {at}")


def _signed(value: int | bytes) -> int:
    number = value if isinstance(value, int) else 0
    return number - (1 << 64) if number >= 1 << 63 else number


def _float(value: int | bytes) -> float:
    """A little-endian float32 as the shortest decimal that means it: 12.397 ms, not 12.39700031…"""
    assert isinstance(value, bytes)
    number: float = struct.unpack("<f", value)[0]
    if not math.isfinite(number):
        return number
    # Nine significant digits tell all float32 values apart.
    return next(short for digits in range(6, 10) if struct.pack("<f", short := float(f"{number:.{digits}g}")) == value)
