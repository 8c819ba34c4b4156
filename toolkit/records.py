"""The frozen records that stages exchange, and their JSON form.

Standard library only: the command line imports this before anything heavy. A record becomes JSON with
:func:`to_json` and comes back equal with :func:`from_json`; every record written to disk carries
:data:`SCHEMA_VERSION`. Units are part of a field's name. A number that could not be had is ``None``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

SCHEMA_VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output. ``shape`` has ``None`` where a dimension is dynamic."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A callable of a model: its key and its named tensors, in order."""

    key: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """A trained model as it leaves training. Paths are relative to the run directory.

    ``sha256`` is the digest of the Keras file, or of the SavedModel's files where there is no Keras file.
    ``keras_version`` is 2 or 3, ``None`` for a bare SavedModel. ``data`` records where the samples came
    from: source, counts and the digest of every split.
    """

    name: str
    keras_file: str | None
    keras_version: int | None
    saved_model: str
    signature: Signature
    sha256: str
    seed: int | None
    options: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far an artifact may be from its float parent, and why that far.

    Over the gate's inputs: ``max_abs`` bounds the largest absolute output difference, ``psnr_db`` is a
    floor with peak = max |reference|, ``top1`` is the share of samples with the same arg-max, where a
    change between scores that the reference has within ``tie`` (a share of the peak) does not count.
    ``None`` leaves a measure unbounded.
    """

    reason: str
    max_abs: float | None = None
    psnr_db: float | None = None
    top1: float | None = None
    tie: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a conversion promises. ``needs`` holds ``"calibration"`` and/or ``"fine-tuning"``."""

    name: str
    summary: str
    weight_dtype: str
    activation_dtype: str
    io_dtype: str
    tolerance: Tolerance
    granularity: str = "per-tensor"
    sparsity: float = 0.0
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question a gate asked, and the answer."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Gate:
    """All checks of one artifact; ``passed`` only if every one passed."""

    passed: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A converted file and its label. ``path`` is relative to the run directory.

    ``parent_sha256`` is the bundle's digest. ``calibration_digest`` identifies the samples that set the
    quantization ranges. ``runtime_floor`` names the oldest runtime that loaded, ran and agreed.
    """

    recipe: str
    path: str
    sha256: str
    size_bytes: int
    gzip_bytes: int
    ops: dict[str, int]
    parent_sha256: str
    calibration_digest: str | None
    signature: Signature
    runtime_floor: dict[str, str]
    gate: Gate
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where an artifact runs. ``delegate`` is software, ``accelerator`` is hardware."""

    name: str
    platform: str
    runtime: str
    runtime_version: str
    delegate: str | None = None
    accelerator: str | None = None
    threads: int = 1
    emulated: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a measurement is taken; the numbers' sources are in ``devices/harness.py``."""

    mode: str
    processes: int
    min_samples: int
    min_seconds: float
    max_seconds: float
    min_sample_us: float = 1000.0
    warmup_min_seconds: float = 0.5
    warmup_min_inferences: int = 5
    warmup_window: int = 10
    warmup_tolerance: float = 0.02
    warmup_max_seconds: float = 10.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a device was like: ``before`` and ``after`` map a reading to its value.

    A reading that could not be taken is absent from the maps and its reason is in ``unknown``.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    unknown: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A memory reading and what kind it is (``ru_maxrss`` is a high-water mark of the process)."""

    bytes: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Where a run ended and the end of what it said."""

    stage: str
    message: str
    stderr_tail: str = ""


@dataclass(frozen=True, kw_only=True)
class ProcessRun:
    """One fresh process of a measurement. ``samples_ns`` holds nanoseconds per inference.

    ``batch_k`` inferences were timed together for each sample. ``round`` is the position in the
    interleaved order: runs with the same round were taken next to each other.
    """

    round: int
    batch_k: int
    init_us: float
    first_us: float
    warmup_inferences: int
    warmup_steady: bool
    doubling_ratio: float | None
    samples_ns: tuple[float, ...]
    memory: Memory | None = None
    started_at: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How long one artifact took on one target, as raw samples.

    ``delegated_ops`` is (taken by the delegate, all ops of the graph), ``None`` when unknown.
    ``verdict`` is ``valid``, ``unstable``, ``throttled``, ``implausible`` or ``failed``.
    """

    recipe: str
    artifact_sha256: str
    target: Target
    plan: Plan
    runs: tuple[ProcessRun, ...]
    delegated_ops: tuple[int, int] | None
    partitions: int | None
    conditions: Conditions
    verdict: str
    reasons: tuple[str, ...] = ()
    failure: Failure | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Edge against cloud on the same inputs. Accuracies and differences are fractions, not points.

    ``difference`` is edge minus cloud, with its 95 % interval. ``passed`` holds only when the data can show
    it; ``verdict`` says why or why not (``kept``, ``broken``, ``not enough samples: n more needed``).
    ``metric`` is ``"parity"`` where there are no labels. ``worst`` lists the most disagreeing samples.
    """

    recipe: str
    target: str
    against: str
    metric: str
    cloud: float | None
    edge: float | None
    difference: float | None
    interval: tuple[float, float] | None
    budget: float | None
    passed: bool
    verdict: str
    agreement: float | None
    max_abs_error: float | None
    mean_abs_error: float | None
    cosine: float | None
    psnr_db: float | None
    n: int
    flips: dict[str, int] = field(default_factory=dict)
    p_value: float | None = None
    lsb_histogram: dict[str, int] | None = None
    worst: tuple[dict[str, Any], ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


def to_json(record: Any) -> Any:
    """A record (or a container of records) as plain JSON values; tuples become lists.

    Infinities have no JSON form and become the strings ``"inf"`` and ``"-inf"``; NaN becomes ``"nan"``.
    """
    if is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_json(getattr(record, f.name)) for f in fields(record)}
    if isinstance(record, Mapping):
        return {str(k): to_json(v) for k, v in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(v) for v in record]
    if isinstance(record, float) and (record != record or record in (float("inf"), float("-inf"))):
        return str(record)
    return record


def from_json(cls: type[T], data: Any) -> T:
    """The record that :func:`to_json` wrote.

    Unknown fields are ignored (a newer writer may add some).

    Raises:
        ValueError: a field is missing or has the wrong JSON type.
    """
    return typing.cast(T, _read(cls, data, cls.__name__))


def _read(kind: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _read(next(a for a in args if a is not type(None)), data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{where}: expected a list, found {type(data).__name__}")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_read(args[0], v, f"{where}[{i}]") for i, v in enumerate(data))
        if len(args) != len(data):
            raise ValueError(f"{where}: expected {len(args)} values, found {len(data)}")
        return tuple(_read(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, data, strict=True)))
    if origin is dict:
        if not isinstance(data, dict):
            raise ValueError(f"{where}: expected an object, found {type(data).__name__}")
        return {k: _read(args[1], v, f"{where}.{k}") for k, v in data.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_record(kind, data, where)
    if kind is float and isinstance(data, (int, float, str)) and not isinstance(data, bool):
        return float(data)
    if kind in (int, str, bool) and type(data) is kind:
        return data
    raise ValueError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {type(data).__name__}")


def _read_record(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object, found {type(data).__name__}")
    hints = typing.get_type_hints(kind)
    values = {}
    for f in fields(kind):
        if f.name in data:
            values[f.name] = _read(hints[f.name], data[f.name], f"{where}.{f.name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{where}: field {f.name!r} is missing")
    return kind(**values)
