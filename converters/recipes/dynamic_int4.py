"""Dense layers in 4-bit weights, activations quantized while running: no calibration data needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from converters import labels, legality
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    import numpy as np

    from toolkit.flatbuffer import FlatModel
    from toolkit.records import ModelBundle

RECIPE = Recipe(
    name="dynamic_int4",
    summary="4-bit weights in the dense layers, activations quantized while running: an eighth of their size",
    weight_dtype="int4",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="per-channel",
    tolerance=Tolerance(
        psnr_db=25.0, top1=0.97, tie=labels.TIE_8_BIT, reason="4-bit weights: 36 to 40 dB and 99.4 % measured on digits"
    ),
)

PARTS = {"FULLY_CONNECTED": 4}
"""Bits of the kernels, by operator."""

KINDS = {"dense": "dynamic int4, per channel"}


def refuse(bundle: ModelBundle) -> str | None:
    """Without dense layers it would be float32."""
    return legality.without(bundle, "Dense", use="weight_only_int8")


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the converter makes the float file that ``finish`` quantizes."""


def finish(data: bytes, calibration: Mapping[str, np.ndarray] | None) -> bytes:
    """Stores the kernels of these operators in integers, four bits each."""
    from converters import aeq

    return aeq.weights(data, [aeq.Weights(op=op, bits=bits) for op, bits in PARTS.items()])


def expect(model: FlatModel) -> list[str]:
    """Floats at the edges and between operators, these kernels in integers and no others."""
    return labels.io(model, "FLOAT32") + labels.parts(model, PARTS) + labels.unscaled(model)
