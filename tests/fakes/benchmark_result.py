"""``BenchmarkResult`` messages by protobuf's own library, to read back what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FLOAT, _INT64, _INT32, _STRING, _MESSAGE = 2, 3, 5, 9, 11
_PACKAGE = "tflite.tools.benchmark"
_FIELDS: dict[str, list[tuple[str, int, int]]] = {
    "LatencyMetrics": [
        (f"{name}_ms", number, _FLOAT)
        for number, name in enumerate(
            ("avg", "min", "max", "stddev", "median", "p5", "p95", "init", "first_inference", "average_warm_up"),
            start=1,
        )
    ],
    "MemoryMetrics": [
        ("init_footprint_kb", 1, _INT64),
        ("overall_footprint_kb", 2, _INT64),
        ("peak_mem_mb", 3, _FLOAT),
    ],
    "MiscMetrics": [
        ("model_size_mb", 1, _FLOAT),
        ("num_runs", 2, _INT32),
        ("num_warmup_runs", 3, _INT32),
        ("model_throughput_in_mb_per_sec", 4, _FLOAT),
    ],
    "BenchmarkResult": [("name", 1, _STRING)],
}
_PARTS = {"latency": ("LatencyMetrics", 2), "memory": ("MemoryMetrics", 3), "misc": ("MiscMetrics", 4)}


def _class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="benchmark_result.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _FIELDS.items():
        made = file.message_type.add(name=name)
        for field, number, kind in fields:
            made.field.add(name=field, number=number, type=kind, label=1)
        if name == "BenchmarkResult":
            for part, (kind_name, number) in _PARTS.items():
                made.field.add(
                    name=f"{part}_metrics", number=number, type=_MESSAGE, label=1, type_name=f".{_PACKAGE}.{kind_name}"
                )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.BenchmarkResult"))


_RESULT = _class()


def message(*, name: str | None = None, **parts: Mapping[str, float]) -> Any:
    """A message of the given fields: ``latency``, ``memory`` and ``misc``, each by the proto's field names."""
    made = _RESULT()
    if name is not None:
        made.name = name
    for part, values in parts.items():
        inner = getattr(made, f"{part}_metrics")
        inner.SetInParent()
        for field, value in values.items():
            setattr(inner, field, value)
    return made
