"""8-bit integers inside, float inputs and outputs: a drop-in for the float model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import adjusting, labels, legality
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="int8_float_io",
    summary="8-bit integers inside, float inputs and outputs: no change in the app",
    weight_dtype="int8",
    activation_dtype="int8",
    io_dtype="float32",
    granularity="per-channel",
    needs=("calibration",),
    tolerance=Tolerance(
        psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="as int8: the same arithmetic between two conversions"
    ),
)

refuse = legality.raw_features


def configure(converter: Any, representative: Any) -> None:
    """Integer-only operators between QUANTIZE and DEQUANTIZE."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


ONE_SCALE = adjusting.one_scale(configure)


def expect(model: FlatModel) -> list[str]:
    """Float at the edges, int8 in the kernels and in between."""
    inside = labels.activations(model, "INT8", but=("DEQUANTIZE",))
    return labels.io(model, "FLOAT32") + labels.weights(model, "INT8") + inside
