"""8-bit weights that become floats again before they are used: small, and as exact as 8 bits can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from converters import labels
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    import numpy as np

    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="weight_only_int8",
    summary="8-bit weights, floats when running: a quarter of the size, the speed and the activations of float32",
    weight_dtype="int8",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="per-channel",
    tolerance=Tolerance(psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="8-bit weights: as for int8"),
)

PARTS = {"FULLY_CONNECTED": 8, "CONV_2D": 8, "DEPTHWISE_CONV_2D": 8}
"""Bits of the kernels, by operator."""

KINDS = dict.fromkeys(("dense", "conv", "depthwise"), "weight-only int8, per channel")


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the converter makes the float file that ``finish`` quantizes."""


def finish(data: bytes, calibration: Mapping[str, np.ndarray] | None) -> bytes:
    """Stores the kernels of these operators in integers."""
    from converters import aeq

    return aeq.weights(data, [aeq.Weights(op=op, bits=bits, dynamic=False) for op, bits in PARTS.items()])


def expect(model: FlatModel) -> list[str]:
    """Floats at the edges and between operators, these kernels in integers and no others."""
    return labels.io(model, "FLOAT32") + labels.parts(model, PARTS, dynamic=False) + labels.unscaled(model)
