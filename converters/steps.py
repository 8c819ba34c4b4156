"""What a recipe does to the Keras model before it is converted; recipes list these in ``STEPS``.

A step is built with its settings when the recipe's file is imported (cheap, no TensorFlow) and applied
later to a model file, giving a model in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import toolkit.records


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What fine-tuning needs: training inputs by name ``[N, ...]``, labels ``[N]``, the seed, progress."""

    inputs: Mapping[str, Any]
    labels: Any
    seed: int
    progress: Any


class Step(Protocol):
    """One change of a Keras model."""

    def __call__(self, keras_file: Path, data: FineTuning) -> Any:
        """The changed tf_keras model, uncompiled, same input and output names."""

    def describe(self) -> dict[str, Any]:
        """The settings, for the stage's key and the artifact's label."""


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Polynomial-decay magnitude pruning while fine-tuning (TFMOT), then ``strip_pruning``.

    ``sparsity`` is the final share of zero weights in every prunable layer.
    """

    sparsity: float

    def __call__(self, keras_file: Path, data: FineTuning) -> Any:
        from toolkit.training import finetune

        return finetune.prune(
            keras_file,
            data.inputs,
            data.labels,
            sparsity=self.sparsity,
            seed=data.seed,
            progress=data.progress,
        )

    def describe(self) -> dict[str, Any]:
        return {"step": "prune", **toolkit.records.to_json(self)}
