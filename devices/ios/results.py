"""One job's result, which is not trusted: what is missing, of the wrong type or cut short is a failure, not a crash."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange
from devices.device import Answer, RunnerFailed, Timed
from devices.ios.tensors import Tensor, Tensors
from toolkit.errors import BrokenInput, EdgeExportError
from toolkit.records import Failure

THERMAL_STATES = ("nominal", "fair", "serious", "critical")
"""``ProcessInfo.ThermalState``, in its order."""

_MOMENT = {"time": str, "thermal_state": str, "low_power_mode": bool, "uptime_s": float}
_DEVICE = {
    "machine": str,
    "os": str,
    "cores": int,
    "memory_bytes": int,
    "debugger": bool,
    "metal_validation": bool,
}
_ERRORS = (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job came to: a failure, or outputs and (of a ``time`` job) a timing or (of an ``answer`` job) an answer.

    ``raw`` holds ``[n, *shape]`` by output name.
    """

    failure: Failure | None = None
    timed: Timed | None = None
    answer: Answer | None = None
    raw: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    process: str | None = None
    before: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    after: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(folder: Path, job: Mapping[str, Any], model: Mapping[str, Any], tensors: Tensors, *, where: str) -> JobResult:
    """A job's result from its own folder.

    Args:
        folder: with ``result.json`` and outputs; it may be missing.
        job: of the bundle's manifest.
        model: of the bundle's manifest.
        tensors: of that model.
        where: what to name in an error.

    Raises:
        BrokenInput: the result is of another model or plan than the bundle's.
    """
    if not (folder / "result.json").is_file():
        return JobResult(failure=_absent(folder))
    try:
        document = json.loads((folder / "result.json").read_text(encoding="utf-8"), parse_constant=_no_number)
        about: dict[str, Any] = {
            "process": _text(document.get("process")),
            "before": _known(document.get("before"), _MOMENT),
            "after": _known(document.get("after"), _MOMENT),
            "device": _known(document.get("device"), _DEVICE),
        }
    except _ERRORS as error:
        return JobResult(failure=exchange.unreadable(where, "", error).failure)
    for name, expected in (("model_sha256", model["sha256"]), ("plan_sha256", job["plan_sha256"])):
        found = document.get(name)
        if found != expected and (document.get("status") == "done" or found is not None):
            raise BrokenInput(
                f"its {name.partition('_')[0]} is not the bundle's (sha256 differs)",
                where=where,
                remedy="import it with the bundle it was made from, or run the bundle again",
            )
    try:
        result = exchange.read_result(folder, where=where)
        if result.get("delegate") != job["delegate"]:
            raise RunnerFailed(Failure(stage="result", message="the result is of another delegate"), where=where)
        timing = job.get("job", "time") == "time"
        timed = _timed(result, job, where) if timing else None
        raw = _outputs(folder, result, tensors, int(model["samples"]))
        answer = None if timing else _answer(result, raw, tensors)
    except RunnerFailed as error:
        return JobResult(failure=error.failure, **about)
    except EdgeExportError as error:
        stage = str(document.get("stage") or "prepare")
        return JobResult(failure=Failure(stage=stage, message=error.what), **about)
    except _ERRORS as error:
        return JobResult(failure=exchange.unreadable(where, "", error).failure, **about)
    return JobResult(timed=timed, answer=answer, raw=raw, **about)


def _absent(folder: Path) -> Failure:
    try:
        stage = (folder / "stage").read_text(encoding="utf-8", errors="replace")[:100].strip() or "start"
    except OSError:
        return Failure(stage="start", message="the job was not run: it left no result")
    return Failure(stage=stage, message=f"the app died in stage {stage!r}")


def _timed(result: Mapping[str, Any], job: Mapping[str, Any], where: str) -> Timed:
    named = {**result, "ops_left": _operators(result)}
    at = str(_known(result.get("before"), _MOMENT).get("time", ""))
    timed = exchange.read_timed(named, {"transport": "devicectl"}, where=where, round=int(job["round"]), at=at)
    run = timed.run
    numbers = (run.init_us, run.first_us, run.doubling_ratio or 0.0)
    if (
        not all(n is not None and math.isfinite(n) and n >= 0 for n in numbers)
        or run.batch_k < 1
        or run.warmup_inferences < 1
    ):
        raise ValueError("a time or a count that is no positive number")
    _check(timed.delegated_ops, timed.partitions)
    return timed


def _answer(result: Mapping[str, Any], raw: Mapping[str, np.ndarray], tensors: Tensors) -> Answer:
    pair, partitions = result["delegated_ops"], result["partitions"]
    delegated = None if pair is None else (int(pair[0]), int(pair[1]))
    partitions = None if partitions is None else int(partitions)
    _check(delegated, partitions)
    return Answer(
        outputs={t.name: exchange.dequantize(raw[t.name], t.scale, t.zero_point) for t in tensors.outputs},
        raw=dict(raw),
        delegated_ops=delegated,
        partitions=partitions,
        seconds=float(result["seconds"]),
        provenance={
            "transport": "devicectl",
            "runtime": _text(result.get("runtime")),
            "runtime_version": _text(result.get("runtime_version")),
            "ops_left": _operators(result),
            "delegation_unknown": _text(result.get("delegation_unknown")),
            "batch": 1,
            "not_batched": "the iOS runner takes samples one by one",
        },
    )


def _check(delegated: tuple[int, int] | None, partitions: int | None) -> None:
    if delegated is not None and not 0 <= delegated[0] <= delegated[1]:
        raise ValueError(f"{delegated[0]} of {delegated[1]} operators delegated")
    if partitions is not None and partitions < 0:
        raise ValueError(f"{partitions} partitions")


def _outputs(folder: Path, result: Mapping[str, Any], tensors: Tensors, n: int) -> dict[str, np.ndarray]:
    described = result["outputs"]
    if len(described) != len(tensors.outputs):
        raise ValueError(f"{len(described)} outputs, the model has {len(tensors.outputs)}")
    return {
        tensor.name: _output(folder / f"o{tensor.index}.bin", tensor, entry["shape"], n)
        for tensor, entry in zip(tensors.outputs, described, strict=True)
    }


def _output(file: Path, tensor: Tensor, shape: Sequence[Any], n: int) -> np.ndarray:
    found = tuple(int(d) for d in shape)
    fits = len(found) == len(tensor.fixed) and all(
        d >= 0 and want in (None, d) for d, want in zip(found, tensor.fixed, strict=True)
    )
    # A graph whose shapes follow from a dynamic input says only then how large its outputs are.
    if not fits and tensor.fixed:
        raise ValueError(f"output {tensor.name!r} has shape {list(found)}, the model says {list(tensor.shape)}")
    content = file.read_bytes()
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    if len(content) != n * math.prod(found) * dtype.itemsize:
        raise ValueError(f"output {tensor.name!r} holds {len(content)} bytes for {n} samples of shape {list(found)}")
    return np.frombuffer(content, dtype=dtype).reshape(n, *found)


def _operators(result: Mapping[str, Any]) -> list[str] | None:
    """The names of the operators that the delegate left, of which the runner knows the codes."""
    from ai_edge_litert import schema_py_generated as schema

    codes = result.get("ops_left_codes")
    if codes is None:
        return None
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    return sorted({names.get(int(code), f"code {int(code)}") for code in codes})


def _known(found: Any, wanted: Mapping[str, type]) -> dict[str, Any]:
    """The readings that we know, of the type that they have; anything else is left out."""
    if not isinstance(found, dict):
        return {}
    kept: dict[str, Any] = {}
    for name, kind in wanted.items():
        value = found.get(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            kept[name] = value[:200] if isinstance(value, str) else value
    if "thermal_state" in kept and kept["thermal_state"] not in THERMAL_STATES:
        del kept["thermal_state"]
    return kept


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) else None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")
