"""8-bit weights, activations quantized while running: no calibration data needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import labels
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="dynamic_range",
    summary="8-bit weights, activations quantized while running: a quarter of the size, no data needed",
    weight_dtype="int8",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="per-tensor in dense layers, per-channel in convolutions",
    tolerance=Tolerance(psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="8-bit weights: as for int8"),
)


def configure(converter: Any, representative: Any) -> None:
    """Default optimization without data; dense kernels per tensor.

    Per-channel dense kernels would need FULLY_CONNECTED version 12, which tflite-runtime 2.14 refuses.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True


def expect(model: FlatModel) -> list[str]:
    """Float32 at the edges, int8 kernels (the smallest may stay float), activations in float."""
    kernels = labels.weights(model, "INT8", small_may_stay=True)
    return labels.io(model, "FLOAT32") + kernels + labels.unscaled(model) + labels.integers(model)
