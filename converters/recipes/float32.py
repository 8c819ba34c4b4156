"""The model as it was trained: 32-bit floats throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import labels
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

RECIPE = Recipe(
    name="float32",
    summary="as trained, 32-bit floats: the reference",
    weight_dtype="float32",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="none",
    tolerance=Tolerance(max_abs=1e-4, reason="only the order of float additions differs between kernels"),
)


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the converter's defaults quantize nothing."""


def expect(model: FlatModel) -> list[str]:
    """Floats at the edges and in the kernels, nothing quantized."""
    return labels.io(model, "FLOAT32") + labels.unquantized(model) + labels.weights(model, "FLOAT32")
