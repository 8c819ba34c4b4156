"""Fine-tuning of a model that TFMOT has wrapped: what pruning, clustering and quantization-aware training share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, UsageError
from toolkit.training.fit import epoch_reporter, must_be_finite

BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How long and how fast: passes over the data, samples per step, Adam's learning rate.

    Raises:
        UsageError: one is not above 0.
    """

    epochs: int
    learning_rate: float
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise UsageError(
                f"fine-tuning in {self.epochs} epochs of batches of {self.batch_size} "
                f"at learning rate {self.learning_rate}",
                remedy="all are above 0",
            )


def fit(
    model: Any,
    fed: list[np.ndarray],
    labels: np.ndarray,
    loss: Any,
    *,
    tuning: Tuning,
    task: Any,
    callbacks: Sequence[Any] = (),
    penalty: Any = None,
) -> None:
    """Trains a wrapped functional model in place.

    Args:
        model: with the wrappers, whatever structure its inputs and outputs have.
        fed: the inputs in the model's order.
        labels: ``[N]``.
        loss: as :func:`loss_of` found it.
        tuning: how long.
        task: told about every epoch.
        callbacks: the wrappers' own.
        penalty: gives a tensor that is added to the loss.

    Raises:
        CheckFailed: training diverged.
    """
    import tf_keras

    # The same layers with plain lists at both ends: the model may want and give dicts, which labels do not fit.
    trainer = tf_keras.Model(model.inputs, model.outputs, name="trainer")
    if penalty is not None:
        trainer.add_loss(penalty)
    trainer.compile(
        optimizer=tf_keras.optimizers.Adam(tuning.learning_rate),
        loss=loss,
        metrics=[] if loss == "mse" else ["accuracy"],
    )
    trainer.fit(
        fed,
        labels,
        batch_size=tuning.batch_size,
        epochs=tuning.epochs,
        callbacks=[*callbacks, epoch_reporter(task, tuning.learning_rate)],
        verbose=0,
    )
    must_be_finite(trainer, tuning.learning_rate)


def load(keras_file: Path, what: str) -> Any:
    """A functional or sequential tf_keras model with one output; ``what`` is done to it, e.g. ``"pruning"``.

    Raises:
        BrokenInput: it cannot be loaded, or is something else.
    """
    import tf_keras

    from toolkit.features.layer import register

    register()
    try:
        model = tf_keras.models.load_model(keras_file, compile=False)
    # Keras raises anything at all on a damaged or foreign file; whatever it is, the file is the cause.
    except Exception as error:
        raise BrokenInput(
            f"cannot be loaded for {what} ({str(error).strip()[:200]})",
            where=str(keras_file),
            remedy="use a tf_keras model without custom objects",
        ) from error
    if not model.inputs or len(model.outputs) != 1 or not getattr(model, "_is_graph_network", False):
        raise BrokenInput(
            "is not a functional or sequential model with one output",
            where=str(keras_file),
            remedy=f"choose a recipe without {what}",
        )
    return model


def fed(model: Any, inputs: Mapping[str, np.ndarray], labels: np.ndarray, keras_file: Path) -> list[np.ndarray]:
    """The inputs as a list, in the model's order."""
    missing = [name for name in model.input_names if name not in inputs]
    if missing:
        raise BrokenInput(
            f"the samples have no {', '.join(missing)} (they have: {', '.join(inputs)})",
            where=str(keras_file),
            remedy="name the arrays like the model's inputs",
        )
    if not len(labels) or any(len(inputs[name]) != len(labels) for name in model.input_names):
        raise BrokenInput(
            f"{len(labels)} labels for {len(inputs[model.input_names[0]])} samples",
            where=str(keras_file),
            remedy="give one label for every sample, at least one",
        )
    return [inputs[name] for name in model.input_names]


def answers(model: Any, fed: list[np.ndarray]) -> np.ndarray:
    """What a model with one output gives for inputs in its order, ``[N, ...]``."""
    import tf_keras

    flat = tf_keras.Model(model.inputs, model.outputs, name="flat")
    return np.asarray(flat.predict(fed, batch_size=256, verbose=0))


def loss_of(model: Any, fed: list[np.ndarray], labels: np.ndarray) -> Any:
    """Cross-entropy for classes (integer labels, several outputs), of logits or of probabilities; else ``"mse"``."""
    import tf_keras

    classes = model.outputs[0].shape[-1] or 0
    if not np.issubdtype(labels.dtype, np.integer) or classes < 2:
        return "mse"
    if labels.min() < 0 or labels.max() >= classes:
        raise BrokenInput(
            f"labels {labels.min()} to {labels.max()} for {classes} classes",
            remedy="number the classes from 0",
        )
    flat = tf_keras.Model(model.inputs, model.outputs, name="flat")
    found = flat.predict([x[:64] for x in fed], batch_size=64, verbose=0)
    # The last layer's activation does not tell: softmax may be a layer of its own, or left to the user.
    probabilities = found.min() >= 0 and np.allclose(found.sum(axis=-1), 1, atol=1e-3)
    return tf_keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)


def leaves(model: Any) -> Iterator[Any]:
    import tf_keras

    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            yield from leaves(layer)
        else:
            yield layer


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """Undoes what an import does to the environment: TFMOT sets TF_USE_LEGACY_KERAS, which children would inherit."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
