"""Training with ``fit``: reproducible, reported epoch by epoch, stopped when it diverges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import toolkit.models
from toolkit.datasets._dataset import Dataset
from toolkit.errors import CheckFailed
from toolkit.progress import Progress, Task
from toolkit.store import remove, replacing
from toolkit.training.options import TrainingOptions

VALIDATION_SHARE = 0.1
"""Share of the training split that early stopping watches; evaluation is never looked at."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training left: the Keras file, metrics on the evaluation split, and the history per epoch."""

    keras_file: Path
    metrics: dict[str, float]
    history: dict[str, list[float]]


def train(
    model_name: str, dataset: Dataset, options: TrainingOptions, *, out: Path, logs: Path, progress: Progress
) -> Trained:
    """Trains one model. The same options and data give the same weights, bit for bit, on one machine.

    Args:
        model_name: family, e.g. ``"mnist"``.
        dataset: what it learns from and is evaluated on.
        options: everything else that decides the weights.
        out: where the ``.keras`` file goes, whole or not at all.
        logs: folder for TensorBoard events.
        progress: told about every epoch.

    Raises:
        CheckFailed: the loss became NaN or infinite.
    """
    import tf_keras

    family = toolkit.models.load(model_name)
    variant = toolkit.models.variant(model_name, options.variant)
    epochs = options.epochs or variant.epochs
    seed_everything(options.seed)
    model = family.build(options.variant, dropout=options.dropout, l1=options.l1, l2=options.l2)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(options.learning_rate),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    split = dataset.train()
    assert split.labels is not None
    inputs, labels, validation = split.inputs, split.labels, None
    if options.early_stopping is not None:
        inputs, labels, validation = _held_back(split.inputs, split.labels, options.seed)
    remove(logs)
    with progress.task(f"train {model_name} {options.variant}", total=epochs) as task:
        callbacks: list[Any] = [
            tf_keras.callbacks.TensorBoard(str(logs), update_freq="epoch", write_graph=False, profile_batch=0),
            tf_keras.callbacks.TerminateOnNaN(),
            epoch_reporter(task),
        ]
        if options.early_stopping is not None:
            callbacks.append(
                tf_keras.callbacks.EarlyStopping("val_loss", patience=options.early_stopping, restore_best_weights=True)
            )
        history = model.fit(
            inputs,
            labels,
            batch_size=options.batch_size,
            epochs=epochs,
            validation_data=validation,
            callbacks=callbacks,
            verbose=0,
        ).history
    must_be_finite(history["loss"], options.learning_rate)
    evaluation = dataset.evaluation()
    loss, accuracy = model.evaluate(evaluation.inputs, evaluation.labels, batch_size=256, verbose=0)
    with replacing(out) as beside:
        # Keras decides the format by the ending, and the temporary name ends like the final one.
        model.save(beside)
    return Trained(
        keras_file=out,
        metrics={"accuracy": float(accuracy), "loss": float(loss), "epochs": float(len(history["loss"]))},
        history={k: [float(v) for v in values] for k, values in history.items()},
    )


def seed_everything(seed: int) -> None:
    """Makes what follows independent of what this process did before: seeds Python, numpy and TensorFlow."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)


def epoch_reporter(task: Task) -> Any:
    """A Keras callback that advances ``task`` by one per epoch, with the losses beside the bar."""
    import tf_keras

    class Reporter(tf_keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            task.advance(note=" ".join(f"{k} {v:.4f}" for k, v in (logs or {}).items()))

    return Reporter()


def must_be_finite(losses: list[float], learning_rate: float) -> None:
    """Raises :class:`CheckFailed` when training has diverged."""
    for epoch, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            raise CheckFailed(
                f"the loss became {loss} in epoch {epoch}",
                where="training",
                remedy=f"lower --learning-rate (it was {learning_rate:g})",
            )


def _held_back(inputs: Mapping[str, np.ndarray], labels: np.ndarray, seed: int) -> tuple[Any, Any, Any]:
    order = np.random.default_rng(seed).permutation(len(labels))
    cut = max(1, int(len(labels) * VALIDATION_SHARE))
    kept, held = order[cut:], order[:cut]

    def take(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[rows] for name, values in inputs.items()}

    return take(kept), labels[kept], (take(held), labels[held])
