"""8-bit weights but in depthwise convolutions, which would fall off the accelerated path."""

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
    name="dynamic_int8_float_depthwise",
    summary="as dynamic_range with a scale per channel, depthwise and narrow convolutions in float: mobile networks",
    weight_dtype="int8",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="per-channel",
    tolerance=Tolerance(psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="8-bit weights: as for int8"),
)

PARTS = {"FULLY_CONNECTED": 8, "CONV_2D": 8}
"""Bits of the kernels, by operator."""

NARROW = 24
"""Convolutions of fewer output channels stay in float: quantizing what goes in costs them more than it saves;
``scripts/benchmarks/narrow.py`` times MobileNetV3-Small with and without."""

KINDS = {"dense": "dynamic int8, per channel", "conv": "dynamic int8, per channel"}


def refuse(bundle: ModelBundle) -> str | None:
    """Without depthwise convolutions nothing would be left in float."""
    return legality.without(bundle, "Depthwise", "Separable", use="dynamic_range")


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the converter makes the float file that ``finish`` quantizes."""


def finish(data: bytes, calibration: Mapping[str, np.ndarray] | None) -> bytes:
    """Stores the kernels of these operators in integers."""
    from converters import aeq

    return aeq.weights(data, [aeq.Weights(op=op, bits=bits, at_least=_at_least(op)) for op, bits in PARTS.items()])


def _at_least(op: str) -> int:
    return NARROW if op == "CONV_2D" else 0


def one_scale(data: bytes, calibration: Mapping[str, np.ndarray] | None) -> bytes:
    """The same with one scale per dense kernel, which tflite-runtime knows too."""
    from converters import aeq

    return aeq.weights(
        data,
        [
            aeq.Weights(op=op, bits=bits, per_channel=op != "FULLY_CONNECTED", at_least=_at_least(op))
            for op, bits in PARTS.items()
        ],
    )


ONE_SCALE = {"finish": one_scale, "KINDS": {**KINDS, "dense": "dynamic int8, per tensor"}}


def expect(model: FlatModel) -> list[str]:
    """Floats at the edges and between operators, these kernels in integers and no others."""
    wrong = (
        labels.io(model, "FLOAT32") + labels.parts(model, PARTS, narrow={"CONV_2D": NARROW}) + labels.unscaled(model)
    )
    return labels.has(model, "DEPTHWISE_CONV_2D") + wrong
