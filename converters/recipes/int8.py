"""Everything in 8-bit integers, inputs and outputs too: for integer-only hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import adjusting, labels, legality
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="int8",
    summary="8-bit integers throughout, inputs and outputs too: smallest plain recipe, fastest on a CPU",
    weight_dtype="int8",
    activation_dtype="int8",
    io_dtype="int8",
    granularity="per-channel",
    needs=("calibration",),
    tolerance=Tolerance(
        psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="8 bits over the calibrated range; a usual starting point"
    ),
)

refuse = legality.raw_features


def configure(converter: Any, representative: Any) -> None:
    """Integer-only operators; without the two io types the converter would leave float inputs and outputs."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


ONE_SCALE = adjusting.one_scale(configure)


def expect(model: FlatModel) -> list[str]:
    """int8 at the edges, in the kernels and in between."""
    return labels.io(model, "INT8") + labels.weights(model, "INT8") + labels.activations(model, "INT8")
