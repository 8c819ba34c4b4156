"""Weights set to zero in blocks of sixteen, which float kernels skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters import labels
from converters.recipes import float32, pruned
from converters.steps import Prune, Step
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

SPARSITY = 0.8

RECIPE = Recipe(
    name="pruned_16x1",
    summary="80 % of the weights pruned in blocks of 16 and left out of the file; dense layers only",
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

STEPS: tuple[Step, ...] = (Prune(sparsity=SPARSITY, pattern="16x1"),)

configure = pruned.configure
KINDS = {"dense": ("blocks", "float32")}


def expect(model: FlatModel) -> list[str]:
    """As float32, with the promised zeros, which the file leaves out."""
    return float32.expect(model) + labels.blocks(model, 16, SPARSITY) + labels.sparse(model)
