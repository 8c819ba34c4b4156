"""Four of five weights set to zero while fine-tuning, then int8: compresses well, runs no faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import labels, legality
from converters.recipes import int8
from converters.steps import Prune, Step
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

SPARSITY = 0.8

RECIPE = Recipe(
    name="pruned_int8",
    summary="80 % of the weights pruned in fine-tuning, then int8: a smaller download after gzip, same size and speed",
    weight_dtype="int8",
    activation_dtype="int8",
    io_dtype="int8",
    granularity="per-channel",
    sparsity=SPARSITY,
    needs=("calibration", "fine-tuning"),
    tolerance=Tolerance(
        psnr_db=30.0,
        top1=0.99,
        tie=labels.TIE_8_BIT,
        reason="as int8, against the pruned float model; validation judges the pruning",
    ),
)

STEPS: tuple[Step, ...] = (Prune(sparsity=SPARSITY),)

refuse = legality.raw_features
ONE_SCALE = int8.ONE_SCALE


def configure(converter: Any, representative: Any) -> None:
    """As int8."""
    int8.configure(converter, representative)


def expect(model: FlatModel) -> list[str]:
    """As int8, with the promised zeros really in the file."""
    return int8.expect(model) + labels.zeros(model, SPARSITY)
