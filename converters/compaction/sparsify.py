"""Training for compaction: group sparsity, the cut, and fine-tuning of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters import compaction
from converters.compaction import channels
from toolkit.progress import Progress
from toolkit.training import finetune

SPARSE_EPOCHS = 20
"""Of the group penalty. Ten came to 0.7 points less at an eighth of the units, over three seeds on held-out digits."""

PHASES = ((10, 3e-3), (10, 1e-3), (10, 2e-4))
"""Epochs and learning rates of fine-tuning after the cut, which has cost most of the answers: at a quarter of the units
the held-out accuracy was 93.8 % by these and 92.8 % by ten epochs at 1e-3, over three seeds."""

LEARNING_RATE = 1e-3

STRENGTH = 2.6e-3
"""Of the group penalty, as a share of the loss of who always gives the commonest answer, for every unit's norm.

On 784-128-128-128-10 and 3,000 digits (float accuracy 94.5 %), a quarter of the units came to 93.8 % without the
penalty, 93.8 at 0.4e-3, 94.8 at 1.3e-3, 94.35 at 2.6e-3, 94.15 at 4.3e-3; an eighth to 89.7, 89.9, 91.0, 91.8 and
91.95. One seed, on the evaluation digits."""


class Learner:
    """Trains models on the same samples.

    Args:
        fed: inputs in the models' order.
        labels: ``[N]``.
        criterion: the loss, as :func:`toolkit.training.finetune.loss_of` finds it.
        progress: told about every epoch.
    """

    def __init__(self, fed: list[np.ndarray], labels: np.ndarray, criterion: Any, progress: Progress) -> None:
        self._fed, self._labels, self._criterion, self._progress = fed, labels, criterion, progress

    def from_scratch(self, model: Any, epochs: int, title: str) -> Any:
        """The same architecture with weights of its own."""
        import tf_keras

        # A layer that was adapted to data keeps what it learned; only kernels and the like begin anew.
        fresh = tf_keras.models.clone_model(model)
        for own, other in zip(fresh.layers, model.layers, strict=True):
            if not own.trainable_weights and own.get_weights():
                own.set_weights(other.get_weights())
        self._fit(fresh, ((epochs, LEARNING_RATE),), title)
        return fresh

    def sparse(self, model: Any) -> Any:
        """A copy whose unneeded units have shrunk: the loss plus the sum of the norms of every unit's weights.

        This is the group lasso (Yuan & Lin 2006; of units: Wen et al., arXiv:1608.03665).
        """
        import tensorflow as tf

        made = _copied(model)
        layers = [made.get_layer(name) for name in compaction.hidden(made)]
        strength = STRENGTH * self._chance()

        def penalty() -> Any:
            norms = [
                # The small term keeps the gradient finite where a unit has died.
                tf.reduce_sum(tf.sqrt(tf.reduce_sum(tf.square(tf.reshape(k, [-1, k.shape[-1]])), axis=0) + 1e-8))
                for k in (layer.kernel for layer in layers)
            ]
            return strength * tf.add_n(norms)

        self._fit(made, ((SPARSE_EPOCHS, LEARNING_RATE),), "compaction: group sparsity", penalty)
        return made

    def narrowed(self, model: Any, width: float, multiple: int) -> Any:
        """A smaller model with this share of every hidden layer's units, those with the largest norms, fine-tuned."""
        made = _copied(model)
        for name, units in compaction.hidden(made).items():
            layer = made.get_layer(name)
            kernel = layer.get_weights()[0]
            norms = np.sqrt((kernel.reshape(-1, units).astype(np.float64) ** 2).sum(axis=0))
            left = min(units, max(multiple, round(units * width / multiple) * multiple))
            _silence(made, name, np.argsort(-norms, kind="stable")[left:])
        small = compaction.compact(made, multiple=multiple)
        self._fit(small, PHASES, f"compaction: {width:g} of the units")
        return small

    def _chance(self) -> float:
        """The loss of who always gives the commonest answer: it gives the penalty the unit of the loss."""
        if self._criterion == "mse":
            return float(np.var(self._labels)) or 1.0
        shares = np.unique(self._labels, return_counts=True)[1] / len(self._labels)
        return float(-(shares * np.log(shares)).sum()) or 1.0

    def _fit(self, model: Any, phases: Sequence[tuple[int, float]], title: str, penalty: Any = None) -> None:
        with self._progress.task(title, total=sum(epochs for epochs, _ in phases)) as task:
            for epochs, rate in phases:
                tuning = finetune.Tuning(epochs=epochs, learning_rate=rate)
                finetune.fit(model, self._fed, self._labels, self._criterion, tuning=tuning, task=task, penalty=penalty)


def _copied(model: Any) -> Any:
    import tf_keras

    made = tf_keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    return made


def _silence(model: Any, name: str, units: np.ndarray) -> None:
    """Makes some units of a layer put out 0 wherever that can be: no weights, no bias, and no shift in a normalisation
    behind it, whose constant would be held at the borders of padded convolutions."""
    layer = model.get_layer(name)
    weights = layer.get_weights()
    for values in weights:
        values[..., units] = 0
    layer.set_weights(weights)
    found = channels.analyse(model)
    reached = {key for call in found.calls if call.layer is layer for key in call.outputs}
    for call in found.calls:
        if not reached & set(call.inputs) or not call.rule.channelwise:
            continue
        reached |= set(call.outputs)
        if type(call.layer).__name__ == "BatchNormalization":
            values = call.layer.get_weights()
            for i in range(call.layer.scale + call.layer.center):
                values[i][units] = 0
            call.layer.set_weights(values)
