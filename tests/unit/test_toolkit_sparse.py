"""Sparse encoding undone: what TFLiteConverter encodes comes back equal; damage is an error, not a wrong tensor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import sparse


def encoded(dense: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, Any]:
    """A matrix as blocks of ``rows`` x ``columns``, those that are not all zero, as the schema has it."""
    high, wide = dense.shape[0] // rows, dense.shape[1] // columns
    segments, indices, stored = [0], [], []
    for i in range(high):
        for j in range(wide):
            block = dense[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            if block.any():
                indices.append(j)
                stored.append(block.reshape(-1))
        segments.append(len(indices))
    levels = [
        SimpleNamespace(format=0, denseSize=high),
        SimpleNamespace(
            format=1,
            arraySegments=SimpleNamespace(values=segments),
            arrayIndices=SimpleNamespace(values=indices),
        ),
        *(SimpleNamespace(format=0, denseSize=size) for size in (rows, columns)),
    ]
    values = np.concatenate(stored) if stored else np.zeros(0, dense.dtype)
    return values, SimpleNamespace(traversalOrder=[0, 1, 2, 3], blockMap=[0, 1], dimMetadata=levels)


@given(
    high=st.integers(1, 5),
    wide=st.integers(1, 5),
    rows=st.integers(1, 3),
    columns=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_blocks_come_back_where_they_were(high: int, wide: int, rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 100, (high * rows, wide * columns)).astype(np.float32)
    dense *= np.kron(rng.integers(0, 2, (high, wide)), np.ones((rows, columns))).astype(np.float32)
    values, sparsity = encoded(dense, rows, columns)
    np.testing.assert_array_equal(sparse.densify(values, dense.shape, sparsity), dense)


def test_what_does_not_fit_is_said() -> None:
    dense = np.eye(4, dtype=np.float32)
    values, sparsity = encoded(dense, 1, 1)
    with pytest.raises(ValueError, match="another number of values"):
        sparse.densify(values[:-1], dense.shape, sparsity)
    with pytest.raises(ValueError, match="does not fit its shape"):
        sparse.densify(values, (4, 4, 1), sparsity)
    sparsity.dimMetadata[1].arraySegments.values = [0, 1, 2, 3]
    with pytest.raises(ValueError, match="segments that do not add up"):
        sparse.densify(values, dense.shape, sparsity)
    values, sparsity = encoded(dense, 1, 1)
    sparsity.dimMetadata[1].arrayIndices.values = [0, 1, 2]
    with pytest.raises(ValueError, match="more indices"):
        sparse.densify(values, dense.shape, sparsity)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1, 16])
def test_what_the_converter_encodes_comes_back(blocks: int, tmp_path: Any) -> None:
    import tensorflow as tf
    import tf_keras

    from converters import saved_model
    from toolkit import flatbuffer

    rng = np.random.default_rng(blocks)
    kept = np.repeat(rng.random((64 // blocks, 24)) < 0.15, blocks, axis=0)
    kernel = (rng.standard_normal((64, 24)) * kept).astype(np.float32)
    model = tf_keras.Sequential([tf_keras.Input((64,), name="x"), tf_keras.layers.Dense(24, name="y")])
    model.set_weights([kernel, np.zeros(24)])
    saved_model.export_to(model, tmp_path / "m", keras_version=2)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m"), signature_keys=["serving_default"])
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    (found,) = flatbuffer.parse(converter.convert()).weights()
    assert found.sparse
    assert found.data_bytes < kernel.nbytes / 3
    values = found.values()
    assert values is not None
    np.testing.assert_array_equal(values, kernel.T)
    assert found.zero_share == pytest.approx((kernel == 0).mean())
