"""Weights stored as 16-bit floats, computed in 32: half the size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import labels
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="float16",
    summary="weights stored as 16-bit floats: half the size, same speed on a CPU",
    weight_dtype="float16",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="none",
    tolerance=Tolerance(psnr_db=40.0, reason="float16 keeps 11 significant bits; 40 dB is one part in a hundred"),
)


def configure(converter: Any, representative: Any) -> None:
    """Default optimization restricted to float16 storage."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def expect(model: FlatModel) -> list[str]:
    """Float32 at the edges, float16 kernels."""
    return labels.io(model, "FLOAT32") + labels.weights(model, "FLOAT16")
