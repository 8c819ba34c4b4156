"""Training with ``fit``: reproducible, reported epoch by epoch, stopped when it diverges."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import toolkit.models
from toolkit.datasets._dataset import Dataset, Split
from toolkit.errors import CheckFailed, UsageError
from toolkit.progress import Progress, Task
from toolkit.store import remove
from toolkit.training import keras_file
from toolkit.training.options import TrainingOptions

VALIDATION_SHARE = 0.1
"""Share of the training split that early stopping watches; evaluation is never looked at."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training left.

    ``metrics`` holds ``accuracy`` (0..1) and ``loss`` (mean cross-entropy in nats, without the penalties
    that ``history`` includes) on the evaluation split, and ``epochs``, those that were run.
    ``weights_sha256`` is :func:`toolkit.training.keras_file.weights_digest` of the model.
    """

    keras_file: Path
    metrics: dict[str, float]
    history: dict[str, list[float]]
    versions: dict[str, str]
    weights_sha256: str


def train(
    model_name: str, dataset: Dataset, options: TrainingOptions, *, out: Path, logs: Path, progress: Progress
) -> Trained:
    """Trains one model. The same options and data give the same weights, bit for bit, on one machine.

    Args:
        model_name: family, e.g. ``"mnist"``.
        dataset: what it learns from and is evaluated on.
        options: everything else that decides the weights.
        out: where the ``.keras`` file goes, whole or not at all; equal weights give equal bytes.
        logs: folder for TensorBoard events.
        progress: told about every epoch.

    Raises:
        UsageError: unknown family or architecture, or too few samples to stop early by.
        CheckFailed: the loss became NaN or infinite.
        MissingError: a file cannot be written.
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
            epoch_reporter(task, options.learning_rate),
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
    must_be_finite(model, options.learning_rate)
    keras_file.save(model, out)
    metrics = _evaluate(model, dataset.evaluation())
    _warn_if_clueless(metrics["accuracy"], dataset.evaluation(), options, progress)
    return Trained(
        keras_file=out,
        metrics={**metrics, "epochs": float(len(history["loss"]))},
        history={k: [float(v) for v in values] for k, values in history.items()},
        versions=_versions(),
        weights_sha256=keras_file.weights_digest(model),
    )


def seed_everything(seed: int) -> None:
    """Makes what follows independent of what this process did before: seeds Python, numpy and TensorFlow."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)


def epoch_reporter(task: Task, learning_rate: float) -> Any:
    """A Keras callback that advances ``task`` by one per epoch, with the losses beside the bar.

    It raises :class:`CheckFailed` out of ``fit`` when a loss is no number any more. (``TerminateOnNaN``
    says so on stdout, which belongs to results, and the weights it leaves are damaged all the same.)
    """
    import tf_keras

    class Reporter(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            found = logs or {}
            task.advance(note=" ".join(f"{k} {v:.4f}" for k, v in found.items()))
            if not math.isfinite(found.get("loss", 0.0)):
                raise CheckFailed(
                    f"the loss became {found['loss']} in epoch {epoch + 1}",
                    where="training",
                    remedy=f"lower the learning rate (it was {learning_rate:g})",
                )

    return Reporter()


def must_be_finite(model: Any, learning_rate: float) -> None:
    """Raises :class:`CheckFailed` if a weight is no number: the last step can diverge behind a finite loss."""
    for variable in model.weights:
        if not np.isfinite(variable.numpy()).all():
            raise CheckFailed(
                f"weights of {variable.name} became NaN or infinite",
                where="training",
                remedy=f"lower the learning rate (it was {learning_rate:g})",
            )


def _held_back(inputs: Mapping[str, np.ndarray], labels: np.ndarray, seed: int) -> tuple[Any, Any, Any]:
    if len(labels) < 2:
        raise UsageError("one sample is too few to stop early by", remedy="leave --early-stopping out")
    order = np.random.default_rng(seed).permutation(len(labels))
    cut = max(1, int(len(labels) * VALIDATION_SHARE))
    kept, held = order[cut:], order[:cut]

    def take(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[rows] for name, values in inputs.items()}

    return take(kept), labels[kept], (take(held), labels[held])


def _evaluate(model: Any, split: Split) -> dict[str, float]:
    assert split.labels is not None
    probabilities = model.predict(split.inputs, batch_size=256, verbose=0)
    given = probabilities[np.arange(len(split.labels)), split.labels].astype(np.float64)
    return {
        "accuracy": float((probabilities.argmax(axis=1) == split.labels).mean()),
        # The floor is Keras's own epsilon: a class that was given no chance costs 16 nats, not infinity.
        "loss": float(-np.log(np.clip(given, 1e-7, 1.0)).mean()),
    }


def _warn_if_clueless(accuracy: float, split: Split, options: TrainingOptions, progress: Progress) -> None:
    """Warns of a model that knows nothing: it would agree with its own artifacts perfectly."""
    assert split.labels is not None
    guess = float(np.unique(split.labels, return_counts=True)[1].max() / len(split.labels))
    if accuracy <= guess:
        progress.warn(
            f"the model learned nothing: accuracy {accuracy:.3g}, and always the commonest label has {guess:.3g}; "
            f"try another learning rate (it was {options.learning_rate:g}) or weaker penalties"
        )


def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("tensorflow", "tf_keras", "numpy")}
    return {"python": platform.python_version(), **found}
