"""The frozen records that stages exchange.

Standard library only: the command line imports this before anything heavy. A record becomes JSON with
:func:`to_json` and comes back equal with :func:`from_json`; every record written to disk carries
:data:`SCHEMA_VERSION`. Units are part of a field's name. A number that could not be had is ``None``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.serial import SCHEMA_VERSION, from_json, to_json

__all__ = [
    "SCHEMA_VERSION",
    "Artifact",
    "Check",
    "Comparison",
    "Conditions",
    "Embedding",
    "Failure",
    "Gate",
    "Measurement",
    "Memory",
    "ModelBundle",
    "Plan",
    "ProcessRun",
    "Recipe",
    "Signature",
    "Target",
    "TensorSpec",
    "Tolerance",
    "from_json",
    "to_json",
]


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
    from: source, counts and the digest of every split. ``signature`` is the main one, ``signatures`` are the others
    that artifacts get too, and ``left_out`` says of those of the SavedModel that they do not get: why. ``layers``
    counts the layers of a Keras model by class, empty where they are not known. ``quantized`` says that its graph
    rounds already, from quantization-aware training.
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
    signatures: tuple[Signature, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    quantized: bool = False


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
    quantization ranges. ``runtime_floor`` names the oldest runtime that loaded, ran and agreed. ``signature`` is the
    main one, ``signatures`` are the others in the file. ``contract`` is what callers need to know of it.
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
    signatures: tuple[Signature, ...] = ()
    contract: dict[str, Any] = field(default_factory=dict)


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
    """A memory reading and what kind it is (``VmHWM`` and ``ru_maxrss`` are high-water marks of the process)."""

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

    A program that keeps no samples leaves what it ``reported`` instead: µs by name (``median_us``, ``mean_us``,
    ``min_us``, ``max_us``, ``std_us``, ``p5_us``, ``p95_us``; ``None`` where it told none) and ``runs``.
    ``init_us`` and ``first_us`` are ``None`` where nobody told them.
    """

    round: int
    batch_k: int
    init_us: float | None
    first_us: float | None
    warmup_inferences: int
    warmup_steady: bool
    doubling_ratio: float | None
    samples_ns: tuple[float, ...]
    memory: Memory | None = None
    started_at: str = ""
    reported: dict[str, float | None] | None = None


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
    """Edge against cloud on the same inputs. Accuracies and their differences are fractions, not points.

    ``unit`` is that of ``cloud``, ``edge``, ``difference`` and ``interval``: ``"fraction"`` or ``"label unit"``.
    ``budget`` is in it where ``budget_kind`` is ``"absolute"``, and a share of ``cloud`` where it is ``"relative"``.
    ``difference`` is edge minus cloud, with its 95 % interval. ``passed`` holds only when the data can show
    it; ``verdict`` says why or why not (``kept``, ``broken``, ``not enough samples: n more needed``).
    ``metric`` is ``"accuracy"``, ``"rmse"``, or ``"parity"`` where there are no labels; ``metrics`` lists it and the
    others that were measured, each with both sides, the difference, its interval and a verdict. ``slices`` says how
    groups of the samples fare, if that was asked.
    ``worst`` lists the most disagreeing samples.
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
    artifact_sha256: str | None = None
    p_value: float | None = None
    lsb_histogram: dict[str, int] | None = None
    worst: tuple[dict[str, Any], ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    unit: str = "fraction"
    budget_kind: str = "absolute"
    metrics: tuple[dict[str, Any], ...] = ()
    slices: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What a model learned, as points in a plane: a column's embedding table, or the codes of some samples.

    ``kind`` is ``"column"`` or ``"codes"``; ``name`` that of the column, or of the layer that puts the codes out.
    ``points`` are the first two principal components of vectors of length ``size``; ``explained`` is the share of
    the variance along each, ``None`` where all vectors are equal. There are ``total`` ids, or samples, to choose from.

    ``labels`` names each point: an id, or a sample's class; empty for samples without labels. ``classes`` are those
    that occur, in their order; if ``ordered`` they are ranges of a quantity. ``counts`` says of each id how often it
    occurs in the samples, empty where there were none; the axes are made of those that do occur.
    """

    name: str
    kind: str
    method: str
    size: int
    total: int
    explained: tuple[float, float] | None
    points: tuple[tuple[float, float], ...]
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    ordered: bool = False
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sparsity:
    """Exact zeros of one weight matrix of a trained model.

    ``zeros`` is their share. Of its ``inputs`` and ``units`` (of a convolution: channels) so many are all zero:
    ``dead_inputs``, ``dead_units``. ``bytes`` is what it takes in the file, ``gzip_bytes`` by itself in a download.
    """

    name: str
    shape: tuple[int, ...]
    zeros: float
    inputs: int
    dead_inputs: int
    units: int
    dead_units: int
    bytes: int
    gzip_bytes: int
