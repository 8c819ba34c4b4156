"""Fine-tuned with 8-bit rounding in the loop (quantization-aware training), then int8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import labels, legality
from converters.recipes import int8
from converters.steps import QuantizeAware, Step
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="qat_int8",
    summary="int8 after fine-tuning with the rounding in the loop: for models that int8 hurts",
    weight_dtype="int8",
    activation_dtype="int8",
    io_dtype="int8",
    granularity="per-channel in convolutions, per-tensor in dense layers",
    needs=("fine-tuning",),
    tolerance=Tolerance(
        psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="as int8, against the model with rounding in the loop"
    ),
)

STEPS: tuple[Step, ...] = (QuantizeAware(),)

refuse = legality.raw_features


def configure(converter: Any, representative: Any) -> None:
    """The ranges are in the model, which therefore needs no calibration."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


def expect(model: FlatModel) -> list[str]:
    """As int8."""
    return int8.expect(model)
