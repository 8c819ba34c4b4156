"""The smallest network within an accuracy budget: group sparsity, then a cut, then fine-tuning, at several widths.

The choice is made on a part of the training samples that no candidate learned from; evaluation samples are never
seen. The model at hand did learn from that part, so it cannot be the reference there: the same architecture is trained
anew on the rest, and what its compacted forms lose against it is what compaction costs. Beside them stands the control,
the same small network trained from scratch. The chosen width is then applied to the model at hand, with all training
samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters import compaction
from converters.compaction import sparsify
from toolkit.errors import BrokenInput, CheckFailed
from toolkit.progress import Progress
from toolkit.training import finetune
from toolkit.training.fit import seed_everything

WIDTHS = (0.5, 0.375, 0.25, 0.1875, 0.125)
"""Shares of every layer's units or channels that are tried, from the widest on."""

HELD_OUT = 0.2
"""Share of the training samples that the choice is made on."""

SCRATCH_EPOCHS = 20
"""Of the reference and of the control, which begin with random weights."""

BUDGETS = {"accuracy": 0.005, "rmse": 0.02}
"""As validation has them: accuracy points as a fraction, rmse as a share of the reference's."""

SHARE = 0.5
"""Of the budget: what compaction may use up on the held-out samples; the rest is for quantization and for luck."""

PATIENCE = 2
"""After so many widths in a row that break the budget, narrower ones are not tried."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One width: the units of every layer, parameters, and the metric on the held-out samples; ``loss``: how much worse
    it is than the reference's, in the budget's unit."""

    width: float
    units: dict[str, int]
    parameters: int
    metric: float
    loss: float
    kept: bool


def compact_within(
    keras_file: Path,
    inputs: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    multiple: int,
    seed: int,
    progress: Progress,
) -> tuple[Any, dict[str, Any]]:
    """The smallest network of :data:`WIDTHS` within the budget, and what was tried.

    Args:
        keras_file: a functional or sequential tf_keras model with one output.
        inputs: by name, ``[N, ...]``.
        labels: ``[N]``; integers mean classes.
        multiple: units are kept in multiples of this.
        seed: of the held-out samples, weights and the order of samples.
        progress: told what is going on.

    Returns:
        The model, uncompiled, all names as before; and as JSON values ``metric``, ``budget``, ``reference``,
        ``trials``, ``chosen`` (a width) and ``control``.

    Raises:
        BrokenInput: the model cannot be loaded, has several outputs or no hidden layer; the data do not fit it.
        CheckFailed: no width keeps the budget, or training diverged.
    """
    source = finetune.load(keras_file, "compaction")
    fed = finetune.fed(source, inputs, labels, keras_file)
    if not compaction.hidden(source):
        raise BrokenInput(
            "has no hidden layer of units or channels to compact",
            where=str(keras_file),
            remedy="choose a recipe without compaction",
        )
    seed_everything(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    held = max(1, round(len(labels) * HELD_OUT))
    teaching, judging = order[held:], order[:held]
    if not len(teaching):
        raise BrokenInput("is too few samples to hold some out", where="training data", remedy="give more samples")
    judge = _Judge([x[judging] for x in fed], labels[judging], finetune.loss_of(source, fed, labels))
    learn = sparsify.Learner([x[teaching] for x in fed], labels[teaching], judge.criterion, progress)
    reference = learn.from_scratch(source, SCRATCH_EPOCHS, "compaction: the reference")
    baseline = judge(reference)
    sparse = learn.sparse(reference)
    trials: list[Trial] = []
    for width in WIDTHS:
        small = learn.narrowed(sparse, width, multiple)
        metric = judge(small)
        lost = judge.lost(metric, baseline)
        trials.append(
            Trial(
                width=width,
                units=compaction.hidden(small),
                parameters=int(small.count_params()),
                metric=metric,
                loss=lost,
                kept=lost <= SHARE * judge.budget,
            )
        )
        if not any(trial.kept for trial in trials[-PATIENCE:]) and len(trials) >= PATIENCE:
            break
    kept = [trial for trial in trials if trial.kept]
    if not kept or min(t.parameters for t in kept) >= source.count_params():
        least = min(trials, key=lambda trial: trial.loss)
        raise CheckFailed(
            f"no width keeps within {SHARE:g} of the budget of {judge.budget:g}: {least.width:g} of the units lose "
            f"{least.loss:.4f} in {judge.metric}",
            where=str(keras_file),
            remedy="leave the compacted recipes out, or train a wider model",
        )
    chosen = min(kept, key=lambda trial: trial.parameters)
    everything = sparsify.Learner(fed, labels, judge.criterion, progress)
    final = everything.narrowed(everything.sparse(source), chosen.width, multiple)
    control = judge(learn.from_scratch(final, SCRATCH_EPOCHS, "compaction: the control"))
    notes = {
        "metric": judge.metric,
        "budget": judge.budget,
        "share": SHARE,
        "held_out": held,
        "reference": {"metric": baseline, "parameters": int(source.count_params()), "units": compaction.hidden(source)},
        "trials": [asdict(trial) for trial in trials],
        "chosen": chosen.width,
        "control": {"metric": control, "epochs": SCRATCH_EPOCHS},
    }
    said = (
        f"compacted to {chosen.width:g} of the units: {source.count_params():,} to {final.count_params():,} parameters"
    )
    progress.say(f"{said}; held-out {judge.metric} {chosen.metric:.4g}, was {baseline:.4g}, from scratch {control:.4g}")
    return final, notes


class _Judge:
    """The task's metric on held-out samples: accuracy of classes, else the root of the mean squared error."""

    def __init__(self, fed: list[np.ndarray], labels: np.ndarray, criterion: Any) -> None:
        self._fed, self._labels, self.criterion = fed, labels, criterion
        self.metric = "rmse" if criterion == "mse" else "accuracy"
        self.budget = BUDGETS[self.metric]

    def __call__(self, model: Any) -> float:
        answers = finetune.answers(model, self._fed)
        if self.metric == "accuracy":
            return float((answers.argmax(axis=-1) == self._labels).mean())
        return float(np.sqrt(np.mean((answers.reshape(self._labels.shape) - self._labels) ** 2)))

    def lost(self, metric: float, baseline: float) -> float:
        """How much worse than the reference, in the budget's unit."""
        if self.metric == "accuracy":
            return baseline - metric
        return (metric - baseline) / baseline if baseline else float("inf")
