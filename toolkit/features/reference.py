"""What every column is, in numpy. This is the truth that the graph is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.features.columns import MISSING_INT, IdColumn, float32
from toolkit.features.encoding import encode
from toolkit.features.hashing import bucket, padded, polynomial, powers
from toolkit.features.kinds import Bucketized, Crossed, HashBucket, Identity, Vocabulary
from toolkit.features.scaling import LIMIT, scaling
from toolkit.features.spec import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Features:
    """Rows as columns: ``numeric`` float32 ``[N, D]``, always finite, and int32 ``[N]`` by name of each id column."""

    numeric: np.ndarray
    ids: dict[str, np.ndarray]


def transform(spec: FeatureSpec, raw: Mapping[str, Any]) -> Features:
    """The features of some rows.

    Args:
        spec: an adapted spec.
        raw: raw or encoded rows, as :func:`toolkit.features.encode` takes them.

    Raises:
        BrokenInput: the rows do not fit the spec.
        UsageError: the spec has not been adapted.
    """
    inputs = encode(spec, raw)
    ids: dict[str, np.ndarray] = {}
    for column in spec.id_columns:
        ids[column.name] = _ids(spec, column, inputs, ids).astype(np.int32)
    return Features(numeric=_numeric(spec, inputs), ids=ids)


def _numeric(spec: FeatureSpec, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    rows = len(next(iter(inputs.values())))
    found = np.empty((rows, len(spec.numeric)), dtype=np.float32)
    for i, column in enumerate(spec.numeric):
        step, centre, factor, rest, fill = (np.float32(v) for v in scaling(column))
        x = _numbers(inputs[column.tensor])
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            z = (x * step - centre) * factor - rest
        found[:, i] = np.where((x >= -LIMIT) & (x < LIMIT), z, fill)
    return found


def _numbers(values: np.ndarray) -> np.ndarray:
    """An input as float32; an integer that is missing is NaN."""
    if values.dtype == np.int32:
        return np.where(values == MISSING_INT, np.float32(np.nan), values.astype(np.float32))
    return values


def _ids(
    spec: FeatureSpec, column: IdColumn, inputs: Mapping[str, np.ndarray], ids: Mapping[str, np.ndarray]
) -> np.ndarray:
    if isinstance(column, Crossed):
        return _crossed(spec, column, ids)
    values = inputs[column.tensor]
    if isinstance(column, Bucketized):
        x = _numbers(values)
        edges = np.array([float32(b) for b in column.boundaries or ()], dtype=np.float32)
        return np.where(np.isnan(x), len(edges) + 1, np.searchsorted(edges, x, side="right"))
    if isinstance(column, Vocabulary):
        return _vocabulary(column, values)
    if isinstance(column, HashBucket):
        return bucket(_words(column, values), column.size)
    assert isinstance(column, Identity)
    assert column.size is not None
    return np.where((values >= 0) & (values < column.size), values, column.default)


def _vocabulary(column: Vocabulary, values: np.ndarray) -> np.ndarray:
    unknown = bucket(_words(column, values), column.oov_buckets)
    assert column.vocabulary is not None
    if column.dtype == "integer":
        position = {word: i for i, word in enumerate(column.vocabulary)}
        found = np.array([position.get(v, -1) for v in values.tolist()], dtype=np.int64)
    else:
        words = padded([str(word).encode() for word in column.vocabulary], values.shape[1])
        rows = {word.tobytes(): i for i, word in enumerate(words)}
        found = np.array([rows.get(v.tobytes(), -1) for v in values], dtype=np.int64)
    return np.where(found >= 0, found + column.oov_buckets, unknown)


def _words(column: Vocabulary | HashBucket, values: np.ndarray) -> np.ndarray:
    """The 32-bit word that is hashed: of a text its polynomial, of an integer itself."""
    if column.dtype == "integer":
        return values
    return polynomial(values, powers(column.width, width=values.shape[1]))


def _crossed(spec: FeatureSpec, column: Crossed, ids: Mapping[str, np.ndarray]) -> np.ndarray:
    count = spec.count(column.name)
    if not spec.is_exact(column):
        members = np.stack([ids[name] for name in column.of], axis=1)
        return bucket(polynomial(members, powers(len(column.of))), count)
    cell = np.zeros_like(ids[column.of[0]], dtype=np.int64)
    for name in column.of:
        cell = cell * spec.count(name) + ids[name]
    return cell % count
