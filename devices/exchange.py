"""The two files a runner and we exchange: ``plan.json`` in, ``result.json`` out, arrays as npz beside them.

Every transport uses these; a runner in any language that keeps to them can be read here. A result is not
trusted: what is missing, of the wrong type or cut short is a :class:`RunnerFailed`, not a traceback.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from devices.device import Answer, RunnerFailed, Timed
from toolkit.errors import BrokenInput, MissingError
from toolkit.records import Failure, Memory, Plan, ProcessRun

_PROVENANCE = (
    *("runtime", "runtime_version", "python", "numpy", "ops_left", "delegation_unknown", "memory_before"),
    *("adapter", "software", "precision", "warm_init_us", "affinity"),
)


def write_job(folder: Path, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray] | None) -> Path:
    """Writes ``plan.json`` and ``inputs.npz`` into ``folder``; returns the plan's path.

    Arrays are stored under keys of ours: an input may be called ``file`` or hold slashes.
    """
    names = None if inputs is None else {name: f"i{i}" for i, name in enumerate(inputs)}
    if inputs is not None and names is not None:
        arrays: dict[str, Any] = {names[name]: np.asarray(array) for name, array in inputs.items()}
        refused = [name for name, key in names.items() if arrays[key].dtype.hasobject]
        if refused:
            raise BrokenInput(f"input {refused[0]!r} holds Python objects", remedy="give numbers or fixed-size strings")
        np.savez(folder / "inputs.npz", **arrays)
    plan = folder / "plan.json"
    plan.write_text(json.dumps({**job, "inputs": names}), encoding="utf-8")
    return plan


def time_job(plan: Plan) -> dict[str, Any]:
    """The numbers of one process's share: samples and seconds are the plan's, divided by its processes."""
    return {
        "min_samples": math.ceil(plan.min_samples / plan.processes),
        "min_seconds": plan.min_seconds / plan.processes,
        "max_seconds": plan.max_seconds / plan.processes,
        "min_sample_us": plan.min_sample_us,
        "warmup_min_seconds": plan.warmup_min_seconds,
        "warmup_min_inferences": plan.warmup_min_inferences,
        "warmup_window": plan.warmup_window,
        "warmup_tolerance": plan.warmup_tolerance,
        "warmup_max_seconds": plan.warmup_max_seconds,
        "seed": plan.seed,
    }


def read_result(folder: Path, *, where: str, stderr: str = "") -> dict[str, Any]:
    """The runner's result.

    Raises:
        BrokenInput: the runner found the model or the inputs broken.
        MissingError: the device lacks the runtime.
        RunnerFailed: it failed otherwise, or the file is missing or rubbish.
    """
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        status = result["status"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise unreadable(where, stderr, error) from error
    if status != "done":
        raise_failed(result, where=where, stderr=stderr)
    return dict(result)


def raise_failed(result: Mapping[str, Any], *, where: str, stderr: str) -> NoReturn:
    """Raises what a result that is not ``done`` says; see :func:`read_result`."""
    stage, message = str(result.get("stage") or "?"), str(result.get("message") or "the runner gave no reason")
    if result.get("kind") == "input":
        raise BrokenInput(message, where=where, remedy="check the model and its inputs with edge-export inspect")
    if result.get("kind") == "missing":
        raise MissingError(message, where=where, remedy="run edge-export doctor")
    raise RunnerFailed(Failure(stage=stage, message=message, stderr_tail=stderr), where=where)


def read_answer(
    folder: Path, result: Mapping[str, Any], provenance: Mapping[str, Any], *, where: str, n: int
) -> Answer:
    """An ``answer`` job's outputs, checked to hold ``n`` samples each.

    Raises:
        RunnerFailed: the result or its arrays are incomplete.
    """
    try:
        raw, outputs = {}, {}
        # Opened here: np.load leaves the file open when it finds it broken.
        with open(folder / "outputs.npz", "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            for output in result["outputs"]:
                array = stored[output["key"]]
                if not array.ndim or len(array) != n:
                    raise ValueError(f"output {output['name']!r} holds {array.shape} for {n} samples")
                raw[output["name"]] = array
                outputs[output["name"]] = dequantize(array, output["scale"], output["zero_point"])
        delegated, partitions = _delegation(result)
        return Answer(
            outputs=outputs,
            raw=raw,
            delegated_ops=delegated,
            partitions=partitions,
            seconds=float(result["seconds"]),
            provenance={**provenance, **_about(result), "batch": result["batch"], "not_batched": result["not_batched"]},
        )
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise unreadable(where, "", error) from error


def read_timed(result: Mapping[str, Any], provenance: Mapping[str, Any], *, where: str, round: int, at: str) -> Timed:
    """A ``time`` job's samples.

    Raises:
        RunnerFailed: the result is incomplete, or a time is no positive number.
    """
    try:
        samples = tuple(float(s) for s in result["samples_ns"])
        told = result.get("reported")
        if (not samples and not told) or not all(math.isfinite(s) and s > 0 for s in samples):
            raise ValueError("samples that are no positive numbers")
        memory, doubling = result["memory"], result["doubling_ratio"]
        run = ProcessRun(
            round=round,
            batch_k=int(result["batch_k"]),
            init_us=_number(result["init_us"]),
            first_us=_number(result["first_us"]),
            warmup_inferences=int(result["warmup_inferences"]),
            warmup_steady=bool(result["warmup_steady"]),
            doubling_ratio=None if doubling is None else float(doubling),
            samples_ns=samples,
            memory=None if memory is None else Memory(bytes=int(memory["bytes"]), kind=str(memory["kind"])),
            started_at=at,
            reported={str(k): _number(v) for k, v in told.items()} if told else None,
        )
        delegated, partitions = _delegation(result)
        return Timed(run, delegated, partitions, {**provenance, **_about(result)})
    except (ValueError, TypeError, KeyError) as error:
        raise unreadable(where, "", error) from error


def _number(value: Any) -> float | None:
    if value is not None and not math.isfinite(float(value)):
        raise ValueError(f"{value} is no time")
    return None if value is None else float(value)


def dequantize(array: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Real values of a quantized tensor, float32: (q - zero_point) · scale; anything else as it is."""
    if not scale or array.dtype.kind not in "iu":
        return array
    return ((array.astype(np.float64) - zero_point) * scale).astype(np.float32)


def unreadable(where: str, stderr: str, error: Exception) -> RunnerFailed:
    """The error for a result that cannot be read."""
    why = f"{type(error).__name__}: {error}"
    failure = Failure(stage="result", message=f"the runner's result cannot be read ({why})", stderr_tail=stderr)
    return RunnerFailed(failure, where=where)


def unknown_delegation(why: str) -> dict[str, Any]:
    """What a result says where nobody knows which operators a delegate took."""
    return {"delegated_ops": None, "partitions": None, "ops_left": None, "delegation_unknown": why}


def _delegation(result: Mapping[str, Any]) -> tuple[tuple[int, int] | None, int | None]:
    pair, partitions = result["delegated_ops"], result["partitions"]
    return (None if pair is None else (int(pair[0]), int(pair[1]))), (None if partitions is None else int(partitions))


def _about(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in _PROVENANCE if key in result}
