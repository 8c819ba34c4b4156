"""What a phone is given: plans as JSON, models and inputs as raw files named by their digests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange
from devices.ios.tensors import Tensor, Tensors
from devices.runners import portable
from devices.runners.job import JobFailed
from toolkit import store
from toolkit.errors import BrokenInput
from toolkit.records import SCHEMA_VERSION, Plan

COOL_SECONDS = 300.0
"""How long the app waits at most until the phone is cool (MLPerf Mobile cools down for up to 5 minutes as well)."""

START_SECONDS = 120.0
"""To launch, load, compile a model for an accelerator and write the results."""


def limit_seconds(plan: Plan) -> float:
    """The time limit of one ``time`` job."""
    return COOL_SECONDS + START_SECONDS + plan.warmup_max_seconds + 3 * plan.max_seconds / plan.processes


def feeds(tensors: Tensors, given: Mapping[str, np.ndarray] | None, seed: int, *, most: int | None) -> list[Any]:
    """The samples of each input, ``[n, *shape]`` in the tensor's dtype, in the order of ``tensors.inputs``.

    Args:
        tensors: of the model.
        given: arrays by input name, samples along the first axis; without them eight seeded ones, which are the
            same as the cpu target's.
        seed: of those.
        most: samples to take of ``given``; ``None`` for all.

    Raises:
        BrokenInput: names, shapes, dtypes or counts do not fit the model.
    """
    if given is None:
        made = portable.seeded({t.name: t.detail() for t in tensors.inputs}, seed)
        return [np.stack([feed[t.name] for feed in made]) for t in tensors.inputs]
    if list(given) == [""] and len(tensors.inputs) == 1:
        given = {tensors.inputs[0].name: given[""]}
    wanted = [t.name for t in tensors.inputs]
    if set(given) != set(wanted):
        raise BrokenInput(f"inputs are {', '.join(sorted(given)) or 'none'}; the model takes: {', '.join(wanted)}")
    arrays = [_samples(np.asarray(given[t.name]), t)[:most] for t in tensors.inputs]
    if len({len(a) for a in arrays}) != 1 or not len(arrays[0]):
        raise BrokenInput("inputs need the same number of samples, at least 1")
    return arrays


def write(
    folder: Path,
    job: Mapping[str, Any],
    model: Path,
    tensors: Tensors,
    arrays: Sequence[np.ndarray],
    plan: Plan | None,
) -> Path:
    """Writes one job: ``plans/ID/plan.json``, and its model and inputs unless they are there. Returns the plan.

    Args:
        folder: where ``plans``, ``models`` and ``inputs`` are.
        job: ``id``, ``job`` (``time`` or ``answer``), ``name``, ``delegate``, ``threads`` and ``precision_loss``.
        model: its file.
        tensors: of the model.
        arrays: as :func:`feeds` gives them.
        plan: of the whole measurement, for a ``time`` job.
    """
    digest = store.sha256_file(model)
    copy = folder / "models" / f"{digest}.tflite"
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model, copy)
    inputs = []
    for tensor, array in zip(tensors.inputs, arrays, strict=True):
        file = _raw(folder / "inputs", array)
        inputs.append({**_described(tensor), "bytes": tensor.bytes, "file": file})
    outputs = [{**_described(t), "file": output_file(t.index)} for t in tensors.outputs]
    target = folder / "plans" / str(job["id"]) / "plan.json"
    target.parent.mkdir(parents=True)
    document = {
        "schema_version": SCHEMA_VERSION,
        **job,
        **(exchange.time_job(plan) if plan is not None else {}),
        "model": copy.name,
        "samples": len(arrays[0]) if len(arrays) else 1,
        "inputs": inputs,
        "outputs": outputs,
    }
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return target


def output_file(index: int) -> str:
    """Where the app writes an output's samples, beside the plan."""
    return f"o{index}.bin"


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "index": tensor.index, "shape": list(tensor.shape), "dtype": tensor.dtype}


def _raw(folder: Path, array: np.ndarray) -> str:
    """Writes an array little-endian under its digest; returns the file's name."""
    content = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    file = folder / f"{store.sha256_bytes(content)}.bin"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file.name


def _samples(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    """``[n, *shape]`` of ``[n, *shape]`` or, where the first dimension is the batch's and 1, ``[n, *shape[1:]]``."""
    if array.ndim == len(tensor.shape) and tensor.shape[:1] == (1,):
        array = array[:, np.newaxis]
    if array.ndim != len(tensor.shape) + 1 or array.shape[1:] != tensor.shape:
        raise BrokenInput(
            f"input {tensor.name!r} has samples of shape {list(array.shape[1:])}, not {list(tensor.shape)}"
        )
    try:
        return np.asarray(portable.fit(array, tensor.detail(), tensor.name))
    except JobFailed as error:
        raise BrokenInput(str(error)) from error
