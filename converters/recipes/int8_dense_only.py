"""Dense layers in 8-bit integers, everything else in float: for models whose features must stay exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from converters import labels
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    import numpy as np

    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="int8_dense_only",
    summary="8-bit integers in the dense layers alone: for raw features, which whole-graph integers would damage",
    weight_dtype="int8",
    activation_dtype="int8",
    io_dtype="float32",
    granularity="per-tensor",
    needs=("calibration",),
    tolerance=Tolerance(
        psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="as int8, in the dense layers; the rest is float"
    ),
)

KINDS = {"dense": "int8, per tensor"}


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the converter makes the float file that ``finish`` quantizes."""


def finish(data: bytes, calibration: Mapping[str, np.ndarray]) -> bytes:
    """Static int8 of every FULLY_CONNECTED operator, its ranges from ``calibration``."""
    from converters import aeq

    return aeq.static_int8_dense(data, calibration)


def expect(model: FlatModel) -> list[str]:
    """Float at the edges, int8 in every dense layer, nothing else quantized."""
    return labels.io(model, "FLOAT32") + labels.only(model, "FULLY_CONNECTED", "INT8")
