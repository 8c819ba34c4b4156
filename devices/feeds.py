"""Inputs for a model, made or fitted here, for runners that have no numpy: raw tensors in the model's own dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devices.runners import portable
from devices.runners.job import JobFailed
from toolkit import flatbuffer
from toolkit.errors import BrokenInput
from toolkit.records import Signature, TensorSpec


class _Described:
    """What :func:`devices.runners.portable.collect` asks of a model."""

    def __init__(self, signature: Signature) -> None:
        self.inputs = {spec.name: detail(spec) for spec in signature.inputs}


def detail(spec: TensorSpec) -> dict[str, Any]:
    """A tensor as an interpreter describes it; a dynamic dimension is -1 in ``shape_signature`` and 1 in ``shape``."""
    return {
        "name": spec.name,
        "shape": [1 if d is None else d for d in spec.shape],
        "shape_signature": [-1 if d is None else d for d in spec.shape],
        "dtype": _dtype(spec),
        "quantization": (spec.scale or 0.0, spec.zero_point or 0),
    }


def signature(model: Path, key: str | None = None) -> Signature:
    """The signature that a runner takes.

    Raises:
        BrokenInput: there is none of that name, or the file is damaged.
    """
    return flatbuffer.read(model).signature(key)


def every_signature(model: Path) -> tuple[Signature, ...]:
    """All of them; of a model without, the one that its tensors make."""
    found = flatbuffer.read(model)
    return found.signatures or (found.signature(),)


def seeded(model: Path, seed: int, key: str | None = None) -> dict[str, np.ndarray]:
    """Eight inputs, by name ``[8, ...]`` in the tensors' dtypes: the same as a Python runner makes of this seed."""
    details = {spec.name: detail(spec) for spec in signature(model, key).inputs}
    feeds = portable.seeded(details, seed)
    return {name: _together([feed[name] for feed in feeds]) for name in details}


def fitted(model: Path, inputs: Mapping[str, np.ndarray], key: str | None = None) -> dict[str, np.ndarray]:
    """These inputs by the model's names, in its tensors' dtypes, samples along the first axis.

    Raises:
        BrokenInput: they do not fit it.
    """
    arrays = {f"i{i}": np.asarray(array) for i, array in enumerate(inputs.values())}
    names = dict(zip(inputs, arrays, strict=True))
    try:
        found, _ = portable.fitted(_Described(signature(model, key)), names, arrays)
    except JobFailed as error:
        raise BrokenInput(str(error), where=str(model)) from error
    return found


def _together(arrays: list[np.ndarray]) -> np.ndarray:
    first = arrays[0]
    return np.concatenate(arrays) if first.ndim and first.shape[0] == 1 else np.stack(arrays)


def _dtype(spec: TensorSpec) -> Any:
    try:
        return np.dtype({"int4": "int8", "resource": "object"}.get(spec.dtype, spec.dtype))
    except TypeError as error:
        raise BrokenInput(f"tensor {spec.name!r} is of type {spec.dtype}, which no runner takes") from error
