"""How much worse than the float model some answers are: the loss by which layers, widths and mixtures are chosen.

A choice is never made on the evaluation split. What a budget is of:

``accuracy``   classes are known: the fall of accuracy, in fractions
``rmse``       values are known: the rise of the root mean square error, as a share of the float model's
``agreement``  no labels, and an output of class scores: the share of samples with another top class
``error``      no labels and no scores: the root mean square of the change, as a share of the outputs' own spread
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from toolkit.datasets._dataset import Split

BUDGETS = {"accuracy": 0.005, "rmse": 0.02, "agreement": 0.005, "error": 0.02}
"""Losses that are allowed where nobody says otherwise: those of ``validate`` where it has one."""


def scores_of(outputs: Mapping[str, np.ndarray]) -> str | None:
    """The only output that can be class scores ``[N, C]``: none negative, summing to 1."""
    found = [
        name
        for name, v in outputs.items()
        if v.ndim == 2 and v.shape[1] > 1 and (v >= -1e-6).all() and np.allclose(v.sum(axis=1), 1, atol=1e-3)
    ]
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """Samples, what the float model answers to them, and what would be right.

    Args:
        inputs: by name ``[N, ...]``.
        reference: the float model's outputs by name ``[N, ...]``.
        labels: ``[N]`` or ``None``.
    """

    inputs: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None

    @property
    def metric(self) -> str:
        """Which of the four losses is meant."""
        return self._chosen[0]

    @property
    def _chosen(self) -> tuple[str, str | None]:
        labels = self.labels
        if labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu" and len(labels):
            fitting = [k for k, v in self.reference.items() if v.ndim == 2 and v.shape[1] > max(1, int(labels.max()))]
            if len(fitting) == 1:
                return "accuracy", fitting[0]
        if labels is not None and labels.dtype.kind == "f":
            sized = [k for k, v in self.reference.items() if v.size == labels.size]
            if len(sized) == 1:
                return "rmse", sized[0]
        scores = scores_of(self.reference)
        return ("agreement", scores) if scores is not None else ("error", None)

    def loss(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The loss of some outputs for :attr:`inputs`; infinite where one is no number."""
        metric, name = self._chosen
        if not all(np.isfinite(v).all() for v in outputs.values()):
            return math.inf
        if name is None:
            return 10 ** (-self.sqnr_db(outputs) / 20)
        edge, own = outputs[name], self.reference[name]
        if metric == "agreement":
            return float((edge.argmax(axis=1) != own.argmax(axis=1)).mean())
        assert self.labels is not None
        if metric == "accuracy":
            right = [(v.argmax(axis=1) == self.labels).mean() for v in (own, edge)]
            return float(right[0] - right[1])
        before, after = (
            math.sqrt(float(((v.reshape(self.labels.shape) - self.labels) ** 2).mean())) for v in (own, edge)
        )
        return after / before - 1 if before else (math.inf if after else 0.0)

    def sqnr_db(self, outputs: Mapping[str, np.ndarray]) -> float:
        """Signal to quantization noise over all outputs, in dB: their variance by the mean square of the change.

        The variance and not the mean square, or a large offset would hide the noise. Outputs are weighed alike.
        """
        noise = [
            float(((outputs[k].astype(np.float64) - v) ** 2).mean()) / max(float(v.astype(np.float64).var()), 1e-30)
            for k, v in self.reference.items()
            if v.dtype.kind == "f" and v.size
        ]
        if not noise or not all(map(math.isfinite, noise)):
            return -math.inf
        mean = sum(noise) / len(noise)
        return -10 * math.log10(mean) if mean > 1e-15 else 150.0


def held_out(training: Split, calibration: Split | None, count: int, seed: int) -> Split:
    """About ``count`` random training samples that set no range; all of the training data where it has no others."""
    rows = np.arange(len(training))
    if calibration is not None:
        own = set(_keys(calibration))
        rows = np.array([i for i, key in enumerate(_keys(training)) if key not in own], dtype=np.int64)
        rows = rows if len(rows) else np.arange(len(training))
    if len(rows) > count:
        rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    labels = None if training.labels is None else training.labels[rows]
    return Split(inputs={k: v[rows] for k, v in training.inputs.items()}, labels=labels, digest=training.digest)


def _keys(split: Split) -> list[int]:
    names = sorted(split.inputs)
    return [hash(b"".join(split.inputs[n][i].tobytes() for n in names)) for i in range(len(split))]
