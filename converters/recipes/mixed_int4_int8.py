"""Dense layers in 4-bit weights, convolutions in 8-bit ones, activations quantized while running."""

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
    name="mixed_int4_int8",
    summary="4-bit weights in dense layers and 8-bit ones in convolutions, activations quantized while running",
    weight_dtype="int4 and int8",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="per-channel",
    tolerance=Tolerance(
        psnr_db=25.0, top1=0.97, tie=labels.TIE_8_BIT, reason="4-bit weights: 36 to 40 dB and 99.4 % measured on digits"
    ),
)

PARTS = {"FULLY_CONNECTED": 4, "CONV_2D": 8, "DEPTHWISE_CONV_2D": 8}
"""Bits of the kernels, by operator."""

KINDS = {
    "dense": "dynamic int4, per channel",
    "conv": "dynamic int8, per channel",
    "depthwise": "dynamic int8, per channel",
}


def refuse(bundle: ModelBundle) -> str | None:
    """Without convolutions it would be dynamic_int4, without dense layers dynamic_range."""
    return legality.without(bundle, "Conv", use="dynamic_int4") or legality.without(
        bundle, "Dense", use="dynamic_range"
    )


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the converter makes the float file that ``finish`` quantizes."""


def finish(data: bytes, calibration: Mapping[str, np.ndarray] | None) -> bytes:
    """Stores the kernels of these operators in integers."""
    from converters import aeq

    return aeq.weights(data, [aeq.Weights(op=op, bits=bits) for op, bits in PARTS.items()])


def expect(model: FlatModel) -> list[str]:
    """Floats at the edges and between operators, these kernels in integers and no others."""
    wrong = labels.io(model, "FLOAT32") + labels.parts(model, PARTS) + labels.unscaled(model)
    # Without convolutions it would be dynamic_int4, without dense layers dynamic_range.
    return labels.has(model, "CONV_2D", "DEPTHWISE_CONV_2D") + labels.has(model, "FULLY_CONNECTED") + wrong
