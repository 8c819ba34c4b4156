"""The sparse encoding of a .tflite's tensors, undone: stored values back to where they belong.

The format is that of ``SparsityParameters`` in the schema: levels in ``traversal_order``, each dense or compressed like
the rows of a CSR matrix; levels beyond the tensor's dimensions are places inside a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_DENSE = 0


def densify(stored: np.ndarray, shape: tuple[int, ...], sparsity: Any) -> np.ndarray:
    """The whole tensor of a sparse-encoded one.

    Args:
        stored: the values in the file, ``[K]``, any dtype.
        shape: of the tensor.
        sparsity: a ``SparsityParametersT`` of the schema.

    Returns:
        ``shape``, zero where nothing is stored.

    Raises:
        ValueError: the levels do not fit the shape or the number of values.
    """
    order = [int(level) for level in sparsity.traversalOrder]
    blocks = [int(b) for b in (sparsity.blockMap if sparsity.blockMap is not None else [])]
    levels = sparsity.dimMetadata or []
    if len(order) != len(levels) or sorted(order) != list(range(len(shape) + len(blocks))):
        raise ValueError("a sparse encoding does not fit its shape")
    places = np.zeros(1, dtype=np.int64)
    # One column for every level, which grows a row for every place as levels are walked down.
    coordinates = np.zeros((1, 0), dtype=np.int64)
    sizes = {}
    for level, found in zip(order, levels, strict=True):
        if found.format == _DENSE:
            size = sizes[level] = int(found.denseSize)
            counts = np.full(len(places), size, dtype=np.int64)
            own = np.tile(np.arange(size, dtype=np.int64), len(places))
        else:
            segments = np.asarray(found.arraySegments.values, dtype=np.int64)
            counts = np.diff(segments)
            if len(counts) != len(places) or (counts < 0).any():
                raise ValueError("a sparse encoding has segments that do not add up")
            own = np.asarray(found.arrayIndices.values, dtype=np.int64)
        coordinates = np.repeat(coordinates, counts, axis=0)
        if len(own) != len(coordinates):
            raise ValueError("a sparse encoding has more indices than segments")
        coordinates = np.concatenate([coordinates, own[:, None]], axis=1)
        places = np.arange(len(own))
    if len(coordinates) != len(stored):
        raise ValueError("a sparse encoding has another number of values than the file")
    at = np.zeros((len(stored), len(shape)), dtype=np.int64)
    for column, level in enumerate(order):
        if level < len(shape):
            block = next((len(shape) + i for i, dim in enumerate(blocks) if dim == level), None)
            at[:, level] += coordinates[:, column] * (sizes[block] if block is not None else 1)
        else:
            at[:, blocks[level - len(shape)]] += coordinates[:, column]
    dense = np.zeros(shape, dtype=stored.dtype)
    dense[tuple(at.T)] = stored
    return dense
