"""What a recipe does to the Keras model before it is converted; recipes list these in ``STEPS``.

A step is built with its settings when the recipe's file is imported (cheap, no TensorFlow) and applied
later to a model file, giving a model in memory. Steps chain: each takes the file that the one before it left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import toolkit.records


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What fine-tuning needs: training inputs by name ``[N, ...]``, labels ``[N]``, the seed, progress.

    A step puts into ``notes``, as JSON values, what it found out on the way and its artifacts are to tell.
    """

    inputs: Mapping[str, Any]
    labels: Any
    seed: int
    progress: Any
    notes: dict[str, Any] = field(default_factory=dict)


class Step(Protocol):
    """One change of a Keras model."""

    @property
    def name(self) -> str:
        """One word for a folder's name; steps with other settings have other names."""

    @property
    def suffix(self) -> str:
        """Of the file that can hold the model: ``.keras``, or ``.h5`` for quantization wrappers."""

    def __call__(self, keras_file: Path, data: FineTuning) -> Any:
        """The changed tf_keras model, uncompiled, same input and output names."""

    def describe(self) -> dict[str, Any]:
        """The settings, for the stage's key and the artifact's label."""


class _Keras:
    """A step that leaves layers which Keras knows."""

    suffix = ".keras"


@dataclass(frozen=True, kw_only=True)
class Prune(_Keras):
    """Magnitude pruning while fine-tuning (TFMOT), then ``strip_pruning``.

    ``sparsity`` is the final share of zero weights in every prunable layer. ``pattern`` says which weights go together:
    ``"unstructured"``, ``"2:4"`` (two of four in a row along the inputs; then ``sparsity`` is 0.5), or ``"16x1"``
    (blocks of 16 inputs of one unit). ``schedule`` is ``"polynomial"`` (rising to the end of the ramp) or
    ``"constant"`` (all of it from the first step).
    """

    sparsity: float
    pattern: str = "unstructured"
    schedule: str = "polynomial"

    @property
    def name(self) -> str:
        pattern = "" if self.pattern == "unstructured" else f"-{self.pattern.replace(':', '_')}"
        schedule = "" if self.schedule == "polynomial" else f"-{self.schedule}"
        return f"prune-{self.sparsity * 100:g}{pattern}{schedule}"

    def __call__(self, keras_file: Path, data: FineTuning) -> Any:
        from toolkit.training import pruning

        return pruning.prune(
            keras_file,
            data.inputs,
            data.labels,
            sparsity=self.sparsity,
            pattern=self.pattern,
            schedule=self.schedule,
            seed=data.seed,
            progress=data.progress,
        )

    def describe(self) -> dict[str, Any]:
        return {"step": "prune", **toolkit.records.to_json(self)}


@dataclass(frozen=True, kw_only=True)
class Cluster(_Keras):
    """Weight clustering while fine-tuning (TFMOT), then ``strip_clustering``.

    Every kernel keeps at most ``clusters`` different values. Zeros stay zero where ``keep_zeros`` is set, for a model
    that was pruned before.
    """

    clusters: int
    keep_zeros: bool = False

    @property
    def name(self) -> str:
        return f"cluster-{self.clusters}{'-zeros' if self.keep_zeros else ''}"

    def __call__(self, keras_file: Path, data: FineTuning) -> Any:
        from toolkit.training import clustering

        return clustering.cluster(
            keras_file,
            data.inputs,
            data.labels,
            clusters=self.clusters,
            keep_zeros=self.keep_zeros,
            seed=data.seed,
            progress=data.progress,
        )

    def describe(self) -> dict[str, Any]:
        return {"step": "cluster", **toolkit.records.to_json(self)}


@dataclass(frozen=True, kw_only=True)
class QuantizeAware:
    """Fine-tuning with the rounding of 8-bit integers in the loop (TFMOT); ranges are learned, not calibrated.

    ``keep`` is what of the model it starts from must outlive the training: ``""``, ``"zeros"``, ``"clusters"`` or
    ``"zeros+clusters"``.
    """

    keep: str = ""
    suffix: ClassVar[str] = ".h5"

    @property
    def name(self) -> str:
        return "qat" + (f"-{self.keep.replace('+', '-')}" if self.keep else "")

    def __call__(self, keras_file: Path, data: FineTuning) -> Any:
        from toolkit.training import quantizing

        return quantizing.quantize_aware(
            keras_file, data.inputs, data.labels, keep=self.keep, seed=data.seed, progress=data.progress
        )

    def describe(self) -> dict[str, Any]:
        return {"step": "quantize-aware", **toolkit.records.to_json(self)}


@dataclass(frozen=True, kw_only=True)
class Compact(_Keras):
    """Units and channels that are not needed taken out: the narrowest network within the budget.

    They are kept in multiples of ``multiple``, as vector units like them.
    """

    multiple: int = 8

    @property
    def name(self) -> str:
        return f"compact-{self.multiple}"

    def __call__(self, keras_file: Path, data: FineTuning) -> Any:
        from converters.compaction import search

        model, notes = search.compact_within(
            keras_file,
            data.inputs,
            data.labels,
            multiple=self.multiple,
            seed=data.seed,
            progress=data.progress,
        )
        data.notes["compaction"] = notes
        return model

    def describe(self) -> dict[str, Any]:
        return {"step": "compact", **toolkit.records.to_json(self)}
