"""Every kernel's weights drawn together to sixteen values: compresses well, runs no faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters import labels
from converters.recipes import float32
from converters.steps import Cluster, Step
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

CLUSTERS = 16

RECIPE = Recipe(
    name="clustered",
    summary="16 different values a kernel, in floats: a small download after gzip, same size and speed",
    weight_dtype="float32",
    activation_dtype="float32",
    io_dtype="float32",
    granularity="none",
    needs=("fine-tuning",),
    tolerance=Tolerance(
        max_abs=1e-4, reason="as float32, against the clustered float model; validation judges the clustering"
    ),
)

STEPS: tuple[Step, ...] = (Cluster(clusters=CLUSTERS),)


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the values are as they are."""


def expect(model: FlatModel) -> list[str]:
    """As float32, with few different values."""
    return float32.expect(model) + labels.clusters(model, CLUSTERS)
