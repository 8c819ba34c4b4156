"""The same columns as a TensorFlow graph, in training and in the exported file: builtin TFLite operators, int32 ids.

Boundaries are BUCKETIZE's attribute, out of reach of quantization; everything else that decides an id is int32.
There is no int64, ABS, AND, OR or shrink-axis slice in it: runtimes in the field lack them or crash on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.features.columns import MISSING_INT, IdColumn, float32
from toolkit.features.hashing import MIX, distinct_keys, padded, powers
from toolkit.features.kinds import Bucketized, Crossed, HashBucket, Identity, Vocabulary
from toolkit.features.scaling import LIMIT, scaling
from toolkit.features.spec import FeatureSpec


def lower(spec: FeatureSpec, inputs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The features of encoded rows, as :func:`toolkit.features.transform` defines them.

    Args:
        spec: an adapted spec.
        inputs: tensors (or arrays) by name, as :meth:`FeatureSpec.inputs` lists them.

    Returns:
        ``numeric`` float32 ``[N, D]`` (``None`` without numeric columns) and int32 ``[N]`` by id column.
    """
    import tensorflow as tf

    given = {name: tf.convert_to_tensor(values) for name, values in inputs.items()}
    ids: dict[str, Any] = {}
    for column in spec.id_columns:
        ids[column.name] = _ids(spec, column, given, ids)
    return _numeric(spec, given), ids


def sparse_rows(table: Any, rows: np.ndarray, asked: Any) -> Any:
    """What ``tf.gather`` gives of a table of which only some rows are kept; every other row is exactly 0.

    Args:
        table: float32 ``[R, U]``, the rows that are kept.
        rows: int32 ``[R]``, their numbers, rising, from 0 up to, but not, 2 ** 24: boundaries are float32.
        asked: int32 of any shape, row numbers from 0 on; they may be larger than float32 counts.

    Returns:
        float32, the shape of ``asked`` and U.
    """
    import tensorflow as tf

    # Place 0 is for what lies below all rows, and for what is not there: a row of zeros that the converter folds in.
    place = tf.raw_ops.Bucketize(input=tf.cast(asked, tf.float32), boundaries=rows.astype(np.float64).tolist())
    numbers = np.concatenate([np.array([-1], dtype=np.int32), rows])
    # A product, not a SELECT: of the weights, broadcast, that took up to twice as long on ai-edge-litert.
    there = tf.cast(tf.equal(tf.gather(numbers, place), asked), tf.int32)
    return tf.gather(tf.pad(table, [[1, 0], [0, 0]]), place * there)


def _numeric(spec: FeatureSpec, inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    if not spec.numeric:
        return None
    constants = np.array([scaling(column) for column in spec.numeric], dtype=np.float32)
    step, centre, factor, rest, fill = constants.T
    x = tf.stack([_numbers(inputs[column.tensor]) for column in spec.numeric], axis=1)
    # Bucket 1 is what counts, neither NaN nor out of range. Asked of x: TFLite's own arithmetic kernels turn an
    # infinite result into the largest number, XNNPACK and TensorFlow do not.
    there = tf.equal(tf.raw_ops.Bucketize(input=x, boundaries=[-LIMIT, LIMIT]), 1)
    z = ((x * step if (step != 1).any() else x) - centre) * factor
    if rest.any():
        z = z - rest
    return tf.where(there, z, fill)


def _numbers(values: Any) -> Any:
    import tensorflow as tf

    if values.dtype == tf.int32:
        return tf.where(tf.equal(values, MISSING_INT), np.float32(np.nan), tf.cast(values, tf.float32))
    return values


def _ids(spec: FeatureSpec, column: IdColumn, inputs: Mapping[str, Any], ids: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    if isinstance(column, Crossed):
        return _crossed(spec, column, ids)
    values = inputs[column.tensor]
    if isinstance(column, Bucketized):
        edges = [float32(b) for b in column.boundaries or ()]
        x = _numbers(values)
        # NaN lands in the last bucket, beside the largest numbers; it belongs in the one after.
        return tf.where(tf.equal(x, x), tf.raw_ops.Bucketize(input=x, boundaries=edges), len(edges) + 1)
    if isinstance(column, Vocabulary):
        return _vocabulary(column, values)
    if isinstance(column, HashBucket):
        return _bucket(_word(column, values), column.size)
    assert isinstance(column, Identity)
    assert column.size is not None
    nearest = tf.minimum(tf.maximum(values, 0), column.size - 1)
    return tf.where(tf.equal(nearest, values), values, column.default)


def _vocabulary(column: Vocabulary, values: Any) -> Any:
    """Id of each word: a key finds the one word it can be, and for texts all bytes must agree."""
    import tensorflow as tf

    assert column.vocabulary is not None
    if column.dtype == "integer":
        keys, key = np.array(column.vocabulary, dtype=np.int32), values
    else:
        table = padded([str(word).encode() for word in column.vocabulary], int(values.shape[1]))
        keys, weights = distinct_keys(table)
        key = _polynomial(tf.cast(values, tf.int32), weights)
    is_word = tf.cast(tf.equal(tf.reshape(key, [-1, 1]), keys), tf.int32)
    # One-based, so that 0 is nobody: at most one of the keys is equal.
    position = tf.reduce_sum(is_word * np.arange(1, len(keys) + 1, dtype=np.int32), axis=1)
    if column.dtype != "integer":
        # Bytes in the file, int32 to compare: TFLite takes uint8 operands for quantized ones.
        rows = tf.cast(tf.gather(np.concatenate([np.zeros_like(table[:1]), table]), position), tf.int32)
        wrong = tf.reduce_sum(tf.cast(tf.not_equal(rows, tf.cast(values, tf.int32)), tf.int32), axis=1)
        position = tf.where(tf.equal(wrong, 0), position, 0)
    if column.oov_buckets == 1:
        return position
    unknown = _bucket(_word(column, values), column.oov_buckets)
    return tf.where(tf.equal(position, 0), unknown, position + (column.oov_buckets - 1))


def _word(column: Vocabulary | HashBucket, values: Any) -> Any:
    import tensorflow as tf

    if column.dtype == "integer":
        return values
    return _polynomial(tf.cast(values, tf.int32), powers(column.width, width=int(values.shape[1])))


def _crossed(spec: FeatureSpec, column: Crossed, ids: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    count = spec.count(column.name)
    if not spec.is_exact(column):
        members = tf.stack([ids[name] for name in column.of], axis=1)
        return _bucket(_polynomial(members, powers(len(column.of))), count)
    cell = ids[column.of[0]]
    for name in column.of[1:]:
        cell = cell * spec.count(name) + ids[name]
    return tf.math.floormod(cell, count) if count < spec.cells(column) else cell


def _polynomial(words: Any, weights: np.ndarray) -> Any:
    """:func:`toolkit.features.hashing.polynomial`: int32 products and sums wrap."""
    import tensorflow as tf

    return tf.reduce_sum(words * weights, axis=1)


def _bucket(values: Any, size: int) -> Any:
    """:func:`toolkit.features.hashing.bucket`."""
    import tensorflow as tf

    h = values
    for shift, factor in MIX:
        # An int32 shift would copy the sign; TFLite has no cast-free logical one.
        shifted = tf.bitwise.right_shift(tf.cast(h, tf.uint32), tf.constant(shift, tf.uint32))
        h = tf.bitwise.bitwise_xor(h, tf.cast(shifted, tf.int32))
        if factor is not None:
            h = h * np.array(factor, dtype=np.uint32).view(np.int32)
    return tf.math.floormod(h, size)
