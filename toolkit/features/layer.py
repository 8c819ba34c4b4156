"""The feature columns as one tf_keras layer: raw inputs in, the deep part's input and the wide part's sum out."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput
from toolkit.features.columns import INT_MAX, identifier
from toolkit.features.lowering import lower, sparse_rows
from toolkit.features.reading import dumps, loads
from toolkit.features.spec import FeatureSpec

PACKAGE = "edge_export"
ROW_LIMIT = 2**24
"""Rows of a compact wide table are found by float32 boundaries, which hold every integer below this."""


def keras_inputs(spec: FeatureSpec) -> dict[str, Any]:
    """A ``tf_keras.Input`` for each of :meth:`FeatureSpec.inputs`, by name."""
    import tf_keras

    return {t.name: tf_keras.Input(t.shape[1:], name=t.name, dtype=t.dtype) for t in spec.inputs()}


def feature_layer(
    spec: FeatureSpec,
    *,
    wide_units: int = 1,
    name: str = "features",
    embedding_regularizer: Any = None,
    wide_regularizer: Any = None,
    wide_rows: Sequence[int] | None = None,
) -> Any:
    """A tf_keras layer that owns the embedding tables and the wide weights of a spec.

    Called on :func:`keras_inputs` (or encoded rows) it gives a dict of ``deep`` float32 ``[N, deep_width(spec)]``, the
    numeric columns, the indicators, then the embeddings, each in the spec's order; and ``wide`` float32
    ``[N, wide_units]``, the sum of one weight per id of each wide column, without a bias. Either is left out if
    nothing is in it. ``layer.wide_variables`` and ``layer.deep_variables`` are for an optimizer each.

    Args:
        spec: an adapted spec.
        wide_units: outputs of the wide part: 1, or the number of classes.
        name: of the layer; its variables are ``name/wide`` and ``name/embedding_COLUMN``.
        embedding_regularizer: of the embedding tables, as tf_keras takes it.
        wide_regularizer: of the wide weights; FTRL has its own L1.
        wide_rows: the rows of the wide table (:func:`wide_slices`) that are kept, rising; all others are exactly 0, and
            the weight ``wide`` is ``[len(wide_rows), wide_units]``. ``None``: all rows. See
            :func:`toolkit.features.wide.compact`, which chooses them.

    Raises:
        UsageError: the spec has not been adapted.
        BrokenInput: the wide part has more ids than int32 counts; ``wide_rows`` are not rows of it, do not rise, or are
            not below 2 ** 24.
    """
    return register()(
        spec=dumps(spec),
        wide_units=wide_units,
        name=name,
        embedding_regularizer=embedding_regularizer,
        wide_regularizer=wide_regularizer,
        wide_rows=wide_rows,
    )


def deep_width(spec: FeatureSpec) -> int:
    """How many numbers the deep part takes in."""
    indicators = sum(spec.count(c.name) for c in spec.id_columns if c.indicator)
    return len(spec.numeric) + indicators + sum(spec.embedding_size(c.name) or 0 for c in spec.id_columns)


def wide_slices(spec: FeatureSpec) -> dict[str, slice]:
    """Which rows of the wide table belong to which column.

    Raises:
        BrokenInput: there are more than int32 counts.
    """
    found, start = {}, 0
    for column in spec.columns:
        if getattr(column, "wide", False):
            count = spec.count(column.name)
            found[column.name] = slice(start, start + count)
            start += count
    if start > INT_MAX:
        raise BrokenInput(f"the wide part has {start} ids", where="feature spec", remedy="give crosses a smaller size")
    return found


def _kept(spec: FeatureSpec, rows: Sequence[int] | None) -> np.ndarray | None:
    """``rows`` as int32 ``[R]``, checked."""
    if rows is None:
        return None

    def refuse(what: str, remedy: str) -> BrokenInput:
        return BrokenInput(what, where="wide rows", remedy=remedy)

    kept = np.asarray(rows)
    if kept.ndim != 1 or not kept.size or kept.dtype.kind not in "iu":
        raise refuse("are not a list of row numbers", "give one whole number at least, for instance [0]")
    total = max((s.stop for s in wide_slices(spec).values()), default=0)
    for row in (int(kept.min()), int(kept.max())):
        if not 0 <= row < total:
            raise refuse(f"row {row} is not in the wide table", f"it has {total} rows, the first is 0")
        if row >= ROW_LIMIT:
            raise refuse(f"row {row} is past what float32 counts", f"keep rows below {ROW_LIMIT}, or the whole table")
    falls = np.flatnonzero(np.diff(kept.astype(np.int64)) <= 0)
    if len(falls):
        raise refuse(f"row {kept[falls[0] + 1]} stands behind row {kept[falls[0]]}", "sort them, each one once")
    return kept.astype(np.int32)


@functools.lru_cache(maxsize=1)
def register() -> Any:
    """The layer's class, known to tf_keras under its name: call this before a ``.keras`` file with one is loaded."""
    import tensorflow as tf
    import tf_keras

    @tf_keras.saving.register_keras_serializable(PACKAGE, "FeatureLayer")
    class FeatureLayer(tf_keras.layers.Layer):
        """See :func:`feature_layer`; ``spec`` is its JSON."""

        def __init__(
            self,
            spec: str,
            wide_units: int = 1,
            embedding_regularizer: Any = None,
            wide_regularizer: Any = None,
            wide_rows: Sequence[int] | None = None,
            **options: Any,
        ) -> None:
            super().__init__(**options)
            self.spec = loads(spec, format="json", where=f"layer {self.name!r}")
            self.spec.require_adapted()
            self.wide_units = wide_units
            self.embedding_regularizer = tf_keras.regularizers.get(embedding_regularizer)
            self.wide_regularizer = tf_keras.regularizers.get(wide_regularizer)
            self.wide_rows = _kept(self.spec, wide_rows)
            self.embedded = tuple(c.name for c in self.spec.columns if self.spec.embedding_size(c.name))
            self.tables: list[Any] = []
            self.wide: Any = None

        def build(self, input_shape: Any) -> None:
            for column in self.embedded:
                size = self.spec.embedding_size(column) or 0
                table = self.add_weight(
                    name=f"embedding_{identifier(column)}",
                    shape=(self.spec.count(column), size),
                    # As tf.feature_column.embedding_column starts: vectors of about length 1.
                    initializer=tf_keras.initializers.TruncatedNormal(stddev=size**-0.5),
                    regularizer=self.embedding_regularizer,
                )
                self.tables.append(table)
            slices = wide_slices(self.spec)
            if slices and self.wide_units:
                whole = max(s.stop for s in slices.values())
                self.wide = self.add_weight(
                    name="wide",
                    shape=(whole if self.wide_rows is None else len(self.wide_rows), self.wide_units),
                    initializer="zeros",
                    regularizer=self.wide_regularizer,
                )
            super().build(input_shape)

        @property
        def wide_variables(self) -> list[Any]:
            """The wide table, if there is one."""
            return [] if self.wide is None else [self.wide]

        @property
        def deep_variables(self) -> list[Any]:
            """The embedding tables, in the spec's order."""
            return list(self.tables)

        def ids(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            """int32 ``[N]`` by id column, as the layer looks them up."""
            return lower(self.spec, inputs)[1]

        def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            numeric, ids = lower(self.spec, inputs)
            deep = [] if numeric is None else [numeric]
            deep += _indicators(self.spec, ids)
            deep += [tf.gather(table, ids[name]) for name, table in zip(self.embedded, self.tables, strict=True)]
            found = {}
            if deep:
                found["deep"] = tf.concat(deep, axis=1) if len(deep) > 1 else deep[0]
            if self.wide is not None:
                slices = wide_slices(self.spec)
                starts = np.array([s.start for s in slices.values()], dtype=np.int32)
                rows = tf.stack([ids[name] for name in slices], axis=1) + starts
                if self.wide_rows is None:
                    weights = tf.gather(self.wide, rows)
                else:
                    weights = sparse_rows(self.wide, self.wide_rows, rows)
                found["wide"] = tf.reduce_sum(weights, axis=1)
            return found

        def get_config(self) -> dict[str, Any]:
            serialize = tf_keras.regularizers.serialize
            mine = {
                "spec": dumps(self.spec),
                "wide_units": self.wide_units,
                "embedding_regularizer": serialize(self.embedding_regularizer),
                "wide_regularizer": serialize(self.wide_regularizer),
                "wide_rows": None if self.wide_rows is None else self.wide_rows.tolist(),
            }
            return {**super().get_config(), **mine}

    return FeatureLayer


def _indicators(spec: FeatureSpec, ids: Mapping[str, Any]) -> list[Any]:
    """One-hot rows of all indicator columns side by side, as at most one tensor float32 ``[N, W]``.

    Every place holds its column's id and is compared with its own number. ``tf.one_hot`` (and an ``equal`` with a
    plain range, which the converter makes into one) has an off-value that integer quantization turns into 0.5.
    """
    import tensorflow as tf

    chosen = [c for c in spec.columns if getattr(c, "indicator", False)]
    if not chosen:
        return []
    counts = [spec.count(c.name) for c in chosen]
    owner = np.repeat(np.arange(len(chosen), dtype=np.int32), counts)
    number = np.concatenate([np.arange(n, dtype=np.int32) for n in counts])
    spread = tf.gather(tf.stack([ids[c.name] for c in chosen], axis=1), owner, axis=1)
    return [tf.cast(tf.equal(spread, number), tf.float32)]
