"""The wide part's table without its zeros: FTRL with L1 leaves most rows exactly zero, and a file need not hold them.

A row that is kept costs its number twice, as a boundary and for comparison, and its weights; a dense row costs its
weights alone. Measured by ``scripts/benchmarks/wide_table.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, UsageError
from toolkit.features.layer import ROW_LIMIT, register, wide_slices
from toolkit.features.spec import FeatureSpec

FLOAT32_BYTES = 4
INT8_BYTES = 1
"""Of one weight: as it is trained, and as a dynamic_range file holds it."""

NUMBER_BYTES = 8
"""Of one row's number: a float32 boundary of BUCKETIZE and the int32 that EQUAL compares."""

OVERHEAD_BYTES = 1100
"""What the operators of the lookup add to a file, rounded up; measured: 924 alone, 1,044 with a model's long names."""


def pays(kept: int, whole: int, units: int, weight_bytes: int = FLOAT32_BYTES) -> bool:
    """Whether ``kept`` of ``whole`` rows of ``units`` weights of that many bytes make a smaller file than all of them.

    For large tables of float32 that is below a share of units / (units + 2): 33 % for 1 unit, 83 % for 10. Where
    weights are smaller the numbers weigh more: for 1 unit it is 20 % in a float16 file, 11 % in a dynamic_range one.
    Latency is not weighed: a row of eight ids costs about 1 µs more.
    """
    weights = weight_bytes * units
    # One more: the row of zeros, for what is not there.
    return (kept + 1) * (NUMBER_BYTES + weights) + OVERHEAD_BYTES < whole * weights


def compacted(
    spec: FeatureSpec, table: np.ndarray, weight_bytes: int = FLOAT32_BYTES
) -> tuple[np.ndarray, np.ndarray] | None:
    """The rows of a wide table that are not all zero.

    Args:
        spec: an adapted spec.
        table: float32 ``[F, units]``, the weight ``wide`` of a :func:`toolkit.features.layer.feature_layer`.
        weight_bytes: of a weight in the file that is to be smaller.

    Returns:
        Row numbers int32 ``[R]``, rising, and their weights float32 ``[R, units]``; row 0 if all are zero. ``None`` if
        that makes no smaller file (:func:`pays`), or a row's number is not below 2 ** 24.

    Raises:
        UsageError: the spec has not been adapted.
        BrokenInput: the table is not the spec's.
    """
    whole = max((s.stop for s in wide_slices(spec).values()), default=0)
    if table.ndim != 2 or len(table) != whole:
        raise BrokenInput(
            f"has shape {list(table.shape)}", where="wide table", remedy=f"this spec's has {whole} rows of units"
        )
    rows = np.flatnonzero((table != 0).any(axis=1)) if table.any() else np.arange(min(1, whole))
    if not pays(len(rows), len(table), table.shape[1], weight_bytes) or rows[-1] >= ROW_LIMIT:
        return None
    return rows.astype(np.int32), table[rows]


def compact(model: Any, weight_bytes: int = FLOAT32_BYTES) -> Any:
    """A model whose feature layers hold only the wide rows that are not zero; its outputs are the same, bit for bit.

    (But for the sign of a zero: a row of -0.0 counts as zero.)

    Args:
        model: a functional tf_keras model; its feature layers may stand anywhere in it or in functional models in it.
        weight_bytes: of a weight in the smallest file that is made of it, see :func:`pays`.

    Returns:
        A model, not compiled, of the same names, which shares all other layers, and so their weights, with ``model``;
        ``model`` itself where it pays nowhere (:func:`compacted`).

    Raises:
        UsageError: it would pay, but the model that the layer is in is not functional.
    """
    import tf_keras

    kind = register()
    layers = [part for part in model.submodules if isinstance(part, kind)]
    made = {id(old): (old, new) for old in layers if (new := _compact_layer(old, weight_bytes)) is not None}
    if not made:
        return model

    def clone(layer: Any) -> Any:
        if id(layer) in made:
            return made[id(layer)][1][0]
        if isinstance(layer, tf_keras.Model) and any(id(part) in made for part in layer.submodules):
            return _clone(layer, clone)
        return layer

    smaller = _clone(model, clone)
    for old, (new, values) in made.values():
        new.set_weights([*(v.numpy() for v in old.deep_variables), values])
    return smaller


def _compact_layer(layer: Any, weight_bytes: int) -> tuple[Any, np.ndarray] | None:
    """A layer like this one for fewer rows, without its weights, and those of the wide part; ``None``: none smaller."""
    if layer.wide is None or layer.wide_rows is not None:
        return None
    found = compacted(layer.spec, layer.wide.numpy(), weight_bytes)
    if found is None:
        return None
    rows, values = found
    return type(layer).from_config({**layer.get_config(), "wide_rows": rows.tolist()}), values


def _clone(model: Any, function: Any) -> Any:
    import tf_keras

    if not getattr(model, "_is_graph_network", False):
        raise UsageError(
            "is no functional model, so its feature layer cannot be replaced",
            where=f"model {model.name!r}",
            remedy="build it from tf_keras.Input and layers, or leave its wide table whole",
        )
    return tf_keras.models.clone_model(model, clone_function=function)
