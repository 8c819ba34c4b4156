"""How many weights are exactly zero, layer by layer, and what that is worth on a device."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np

from toolkit.records import Sparsity, to_json


def of(model: Any) -> list[dict[str, Any]]:
    """One :class:`toolkit.records.Sparsity`, as JSON, for every trained weight matrix of a model, in its order.

    Rows and columns that are all zero can be taken out of the network by compaction; of a table they are ids that add
    nothing, and places in vectors. Of a convolution they are channels. Unstructured zeros make no runtime faster:
    XNNPACK multiplies by them. Slopes of PReLU are no matrix, whatever their shape.
    """
    from tf_keras import layers

    # Deepest last: of a layer in a layer, the inner one knows what its weights mean.
    owners = {id(v): layer for layer in model._flatten_layers() for v in layer.trainable_weights}
    return [
        to_json(_kernel(v.name, v.numpy(), owners.get(id(v))))
        for v in model.trainable_weights
        if len(v.shape) > 1 and not isinstance(owners.get(id(v)), layers.PReLU)
    ]


def _kernel(name: str, values: np.ndarray, layer: Any) -> Sparsity:
    used = values != 0
    inputs, units = (_over(used, axes) for axes in _ends(name, used.ndim, layer))
    return Sparsity(
        name=name.partition(":")[0],
        shape=values.shape,
        zeros=round(1 - float(used.mean()), 6),
        inputs=inputs.size,
        dead_inputs=int((~inputs).sum()),
        units=units.size,
        dead_units=int((~units).sum()),
        bytes=int(values.nbytes),
        gzip_bytes=len(gzip.compress(np.ascontiguousarray(values).tobytes(), compresslevel=9, mtime=0)),
    )


def _ends(name: str, rank: int, layer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The dimensions of a kernel that count its inputs, and those that count its units."""
    from tf_keras import layers

    inputs, units = rank - 2, rank - 1
    if isinstance(layer, (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)):
        return (units,), (inputs,)
    if "depthwise_kernel" in name:
        # [..., inputs, multiplier]: every input has units of its own.
        return (inputs,), (inputs, units)
    return (inputs,), (units,)


def _over(used: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """Whether anything is used, along the dimensions ``kept``."""
    return np.asarray(used.any(axis=tuple(i for i in range(used.ndim) if i not in kept)))
