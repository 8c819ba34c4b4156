"""16-bit activations, 8-bit weights: more exact than int8, much slower on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import adjusting, labels, legality
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="int16x8",
    summary="16-bit activations, 8-bit weights: closest to float of the integer recipes, slow on a CPU",
    weight_dtype="int8",
    activation_dtype="int16",
    io_dtype="float32",
    granularity="per-channel",
    needs=("calibration",),
    tolerance=Tolerance(
        psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="the 8-bit weights bound the error, as for int8"
    ),
)

refuse = legality.raw_features


def configure(converter: Any, representative: Any) -> None:
    """The 16x8 operator set."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]


ONE_SCALE = adjusting.one_scale(configure)


def expect(model: FlatModel) -> list[str]:
    """Float at the edges, int8 kernels, int16 in between."""
    inside = labels.activations(model, "INT16", but=("DEQUANTIZE",))
    return labels.io(model, "FLOAT32") + labels.weights(model, "INT8") + inside
