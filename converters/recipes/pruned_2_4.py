"""Two of every four weights set to zero: the pattern that GPUs with sparse tensor cores can skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters import labels
from converters.recipes import float32, pruned
from converters.steps import Prune, Step
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

SPARSITY = 0.5

RECIPE = Recipe(
    name="pruned_2_4",
    summary="two of four weights in a row pruned in fine-tuning (2:4): for hardware that skips them; dense layers only",
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

STEPS: tuple[Step, ...] = (Prune(sparsity=SPARSITY, pattern="2:4"),)

configure = pruned.configure
KINDS = {"dense": ("2:4", "float32")}


def expect(model: FlatModel) -> list[str]:
    """As float32, with the promised zeros, which the file leaves out."""
    return float32.expect(model) + labels.blocks(model, 4, 2) + labels.sparse(model)
