"""One result from the pieces that Google's ``benchmark_model`` leaves: result file, text and op profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.programs.google_delegation import Delegation
from devices.programs.google_log import failed
from devices.programs.google_ops import OpSection, read_ops
from devices.programs.google_proto import read_result
from devices.programs.google_text import GoogleText, read_text
from toolkit.errors import unknown_name

CLASSIC, LITERT = "classic", "litert"
KINDS = (CLASSIC, LITERT)

_NO_SAMPLES = "benchmark_model keeps no raw samples"
_NO_PERCENTILES = "no percentiles in the output (older builds print none), and no result file with them"
_MISSING = {
    "samples_ns": _NO_SAMPLES,
    "p90_us": "benchmark_model computes no p90, and keeps no raw samples to compute it from",
    "median_us": _NO_PERCENTILES,
    "p5_us": _NO_PERCENTILES,
    "p95_us": _NO_PERCENTILES,
    "std_us": "no standard deviation in the output, or the negative one of an integer variance that slipped below zero",
    "first_us": "no first inference in the output, or no warm-up run",
    "warmup_us": "no warm-up in the output, or no warm-up run",
    "memory_init_bytes": "no memory footprint in the output (not every platform has one)",
    "memory_overall_bytes": "no memory footprint in the output (not every platform has one)",
    "memory_peak_bytes": "no peak in the output (it needs --report_peak_memory_footprint)",
    "ops": "no op profile was taken",
    "delegated": "no text to read it from",
    "partitions": "no text to read it from",
    "share": "the output does not say whether a delegate took the graph",
}
_COUNTS = ("runs", "warmup_runs", "memory_init_bytes", "memory_overall_bytes", "memory_peak_bytes")


@dataclass(frozen=True, kw_only=True)
class GoogleResult:
    """What one run of a ``benchmark_model`` says. Every field that is ``None`` has its reason in ``missing``.

    Times are of one inference, in µs, but ``init_us``: loading, delegates and tensors. ``first_us`` and ``warmup_us``
    (a mean) are of the warm-up, the rest of the measured runs; ``std_us`` is the population's, percentiles are the
    element ⌊n·p/100⌋ of n sorted runs (a median is the upper of two middle ones). ``memory_init_bytes``
    and ``memory_overall_bytes`` are growth since the tool's start: of the resident set's high-water mark on Linux and
    Android, of ``phys_footprint`` on Apple's systems; ``memory_peak_bytes`` is the greatest such footprint seen by
    polling. ``delegated`` is (nodes the delegate took, nodes of the graph) and ``partitions`` counts the delegate's
    own; ``share`` is ``"all"``, ``"some"`` or ``"none"``. ``fallback`` is the line that says that the wanted delegate
    took nothing and the CPU did the work, ``None`` where none says so.
    """

    kind: str
    median_us: float | None
    mean_us: float
    min_us: float | None
    max_us: float | None
    std_us: float | None
    p5_us: float | None
    p95_us: float | None
    init_us: float | None
    first_us: float | None
    warmup_us: float | None
    runs: int | None
    warmup_runs: int | None
    memory_init_bytes: int | None
    memory_overall_bytes: int | None
    memory_peak_bytes: int | None
    delegated: tuple[int, int] | None
    partitions: int | None
    share: str | None
    fallback: str | None
    ops: tuple[OpSection, ...] | None
    samples_ns: tuple[float, ...] | None = None
    p90_us: float | None = None
    missing: dict[str, str] = field(default_factory=dict)


def read_google(
    kind: str,
    *,
    stdout: str = "",
    stderr: str = "",
    result: bytes | None = None,
    ops: str | None = None,
    delegate: str | None = None,
    subgraph: int = 0,
) -> GoogleResult:
    """Puts a run's pieces together: figures from the result file where there is one, else from the text.

    Args:
        kind: ``"classic"`` or ``"litert"``.
        stdout: the program's output (both streams in it, or a logcat, is as good); ``stderr`` where kept apart.
        result: the bytes of ``--result_file_path``.
        ops: the text of ``--op_profiling_output_file``.
        delegate: whose nodes ``delegated`` counts, and ``subgraph`` where; see ``google_delegation.read_delegation``.

    Raises:
        UsageError: no such kind.
        RunnerFailed: a piece without a finished run or that cannot be read, or a result file of another run than the
            text's. A good file does not excuse a text without a result: it may be left from an earlier run.
    """
    if kind not in KINDS:
        raise unknown_name("kind of benchmark_model", kind, KINDS)
    text: GoogleText | None = None
    if result is None or (stdout + stderr).strip():
        text = read_text(stdout, stderr, delegate=delegate, subgraph=subgraph)
    values = dict(text.values) if text else {}
    if result is not None:
        filed = read_result(result)
        for name in ("runs", "warmup_runs"):
            if name in filed and name in values and filed[name] != values[name]:
                raise failed(
                    "result",
                    f"the result file tells of {filed[name]:.0f} {name.replace('_', ' ')} and the text of "
                    f"{values[name]:.0f}: they are not of the same run",
                    stdout + stderr,
                )
        values.update(filed)
    for name in ("mean_us", "min_us", "max_us", "median_us", "init_us"):
        if values.get(name, 0.0) < 0:
            raise failed("result", f"{name} is {values[name]:g}: the device's clock was set back", stdout + stderr)
    profile = None if ops is None else read_ops(ops)
    return _result(kind, values, text.delegation if text else None, profile)


def _result(
    kind: str, values: Mapping[str, float], delegation: Delegation | None, ops: tuple[OpSection, ...] | None
) -> GoogleResult:
    figures = {name: values.get(name) for name in GoogleResult.__dataclass_fields__ if name.endswith("_us")}
    counts = {name: round(values[name]) if name in values else None for name in _COUNTS}
    fields = {
        **figures,
        **counts,
        "delegated": delegation.delegated if delegation else None,
        "partitions": delegation.partitions if delegation else None,
        "share": delegation.share if delegation else None,
        "ops": ops,
        "samples_ns": None,
    }
    reasons = {**_MISSING, **(delegation.missing if delegation else {})}
    if kind == LITERT:
        reasons["ops"] = "LiteRT's benchmark_model writes no op profile as CSV"
    missing = {name: reasons.get(name, "not in the output") for name, value in fields.items() if value is None}
    fallback = delegation.fallback if delegation else None
    return GoogleResult(kind=kind, fallback=fallback, missing=missing, **fields)  # type: ignore[arg-type]
