"""Clustered, then fine-tuned with 8-bit rounding in the loop while the clusters stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters import labels, legality
from converters.recipes import int8, qat_int8
from converters.steps import Cluster, QuantizeAware, Step
from toolkit.records import Recipe, Tolerance

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel

CLUSTERS = 16

RECIPE = Recipe(
    name="cqat_int8",
    summary="16 values a kernel, then as qat_int8 with the values kept: a small download",
    weight_dtype="int8",
    activation_dtype="int8",
    io_dtype="int8",
    granularity="per-channel in convolutions, per-tensor in dense layers",
    needs=("fine-tuning",),
    tolerance=Tolerance(
        psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="as int8, against the model with rounding in the loop"
    ),
)

STEPS: tuple[Step, ...] = (Cluster(clusters=CLUSTERS), QuantizeAware(keep="clusters"))

refuse = legality.raw_features
configure = qat_int8.configure


def expect(model: FlatModel) -> list[str]:
    """As int8, with few different values."""
    return int8.expect(model) + labels.clusters(model, CLUSTERS)
