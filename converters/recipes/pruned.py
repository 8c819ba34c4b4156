"""Four of five weights set to zero while fine-tuning, and left out of a float file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import labels
from converters.recipes import float32
from converters.steps import Prune, Step
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

SPARSITY = 0.8

RECIPE = Recipe(
    name="pruned",
    summary="80 % of the weights pruned in fine-tuning and left out of the float file: a third of the size, same speed",
    weight_dtype="float32",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="none",
    sparsity=SPARSITY,
    needs=("fine-tuning",),
    tolerance=Tolerance(
        max_abs=1e-4, reason="as float32, against the pruned float model; validation judges the pruning"
    ),
)

STEPS: tuple[Step, ...] = (Prune(sparsity=SPARSITY),)

KINDS = dict.fromkeys(("dense", "conv", "depthwise"), ("unstructured", "float32"))


def configure(converter: Any, representative: Any) -> None:
    """Sparse encoding of float kernels, which every runtime that loads it answers exactly (converters/legality.py)."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]


def expect(model: FlatModel) -> list[str]:
    """As float32, with the promised zeros, which the file leaves out."""
    return float32.expect(model) + labels.zeros(model, SPARSITY) + labels.sparse(model)
