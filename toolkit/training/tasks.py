"""What a task is trained by and judged by: targets, loss, metrics, and whether anything was learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.datasets._dataset import Dataset, Split
from toolkit.errors import BrokenInput, UsageError
from toolkit.models import Task

ANSWER_ROWS = 1024
"""Samples that are answered at a time."""


def of(dataset: Dataset, family: Any) -> Task:
    """The task that a data set sets a family.

    Raises:
        BrokenInput: fewer than two classes, or labels that are all the same.
    """
    label = str(dataset.facts.get("label", "label"))
    if getattr(family, "TASK", None) == "reconstruction":
        return Task(kind="reconstruction")
    labels = dataset.labels[dataset.train_rows]
    if np.issubdtype(labels.dtype, np.integer):
        classes = len(dataset.facts.get("classes", ())) or int(dataset.labels.max()) + 1
        if classes < 2:
            raise BrokenInput("has one class only", where=f"label {label!r}", remedy="give rows of at least two")
        return Task(kind="classification", label=label, classes=classes)
    centre, spread = float(labels.mean(dtype=np.float64)), float(labels.std(dtype=np.float64))
    if not spread > 0:
        raise BrokenInput(f"is always {centre:g}", where=f"label {label!r}", remedy="give rows with different labels")
    return Task(kind="regression", label=label, centre=centre, spread=spread)


def targets(split: Split, task: Task) -> np.ndarray:
    """What the model's output is compared with: classes ``[N]``, values ``[N, 1]``, or the input itself."""
    if task.kind == "reconstruction":
        if len(split.inputs) != 1:
            raise UsageError("an autoencoder takes one input", remedy="give data with one array")
        return next(iter(split.inputs.values()))
    assert split.labels is not None
    return split.labels if task.kind == "classification" else split.labels.astype(np.float32).reshape(-1, 1)


def wanted(split: Split, task: Task) -> np.ndarray | None:
    """Labels that fine-tuning teaches: those there are, or the input itself."""
    return targets(split, task) if task.kind == "reconstruction" else split.labels


def loss(task: Task, *, logits: bool = False) -> Any:
    """A tf_keras loss: cross-entropy in nats, or the mean square in units of the label's standard deviation."""
    import tf_keras

    if task.kind == "classification":
        return tf_keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    if task.kind == "reconstruction":
        return tf_keras.losses.MeanSquaredError()

    class ScaledMeanSquaredError(tf_keras.losses.Loss):
        """Rates and penalties mean the same whatever unit the label is in."""

        def call(self, y_true: Any, y_pred: Any) -> Any:
            import tensorflow as tf

            return tf.reduce_mean(tf.square((tf.cast(y_true, y_pred.dtype) - y_pred) / task.spread), axis=-1)

    return ScaledMeanSquaredError()


def metrics(task: Task) -> list[Any]:
    """What is shown beside the loss while training."""
    import tf_keras

    if task.kind == "classification":
        return [tf_keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    root = tf_keras.metrics.RootMeanSquaredError(name="rmse")
    return [root, tf_keras.metrics.MeanSquaredError(name="mse")] if task.kind == "regression" else []


def gives_logits(model: Any, inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether a classifier answers with logits: a softmax of its own may be missing in a user's model."""
    found = answers(model, {name: values[:64] for name, values in inputs.items()})
    return not (found.min() >= 0 and np.allclose(found.sum(axis=-1), 1, atol=1e-3))


def answers(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Outputs ``[N, ...]`` of a model without training behaviour, a batch at a time.

    Called and not ``predict``: under a distribution strategy that would wait for the other workers.
    """
    import tensorflow as tf

    call = tf.function(lambda feed: model(feed, training=False), reduce_retracing=True)
    count = len(next(iter(inputs.values())))
    parts = []
    for first in range(0, count, ANSWER_ROWS):
        part = {name: tf.constant(inputs[name][first : first + ANSWER_ROWS]) for name in model.input_names}
        parts.append(np.asarray(call(part)))
    return np.concatenate(parts)


def evaluate(model: Any, split: Split, task: Task, *, logits: bool = False) -> dict[str, float]:
    """How good a model is on some samples; ``loss`` is without penalties.

    ``accuracy`` (0..1) and ``loss`` (nats) of a classifier; ``rmse``, ``mse`` and ``mae`` in label units and ``r2`` of
    a regression; ``mse`` and ``psnr_db`` (of a peak of 1) of a reconstruction.
    """
    found, wanted = answers(model, split.inputs).astype(np.float64), targets(split, task)
    if task.kind == "classification":
        if logits:
            found = np.exp(found - found.max(axis=1, keepdims=True))
            found /= found.sum(axis=1, keepdims=True)
        given = found[np.arange(len(wanted)), wanted]
        return {
            "accuracy": float((found.argmax(axis=1) == wanted).mean()),
            # The floor is Keras's own epsilon: a class that was given no chance costs 16 nats, not infinity.
            "loss": float(-np.log(np.clip(given, 1e-7, 1.0)).mean()),
        }
    error = found - wanted
    mse = float(np.mean(error**2))
    if task.kind == "reconstruction":
        return {"mse": mse, "psnr_db": float(-10 * np.log10(max(mse, 1e-12)))}
    variance = float(np.var(wanted, dtype=np.float64))
    r2 = {"r2": 1 - mse / variance} if variance else {}
    return {"rmse": mse**0.5, "mse": mse, "mae": float(np.abs(error).mean()), "loss": mse / task.spread**2, **r2}


def clueless(found: dict[str, float], split: Split, task: Task) -> str | None:
    """What tells that a model knows nothing, ``None`` if it does: it would agree with its own artifacts perfectly."""
    if task.kind == "classification":
        assert split.labels is not None
        guess = float(np.unique(split.labels, return_counts=True)[1].max() / len(split.labels))
        if found["accuracy"] <= guess:
            return f"accuracy {found['accuracy']:.3g}, and always the commonest label has {guess:.3g}"
    elif task.kind == "regression":
        assert split.labels is not None
        guess = float(np.sqrt(np.mean((split.labels - task.centre) ** 2)))
        if found["rmse"] >= guess:
            return f"rmse {found['rmse']:.4g}, and always the mean of the training split has {guess:.4g}"
    else:
        values = next(iter(split.inputs.values()))
        if found["mse"] >= float(np.mean((values - values.mean(axis=0)) ** 2)):
            return f"mse {found['mse']:.3g}, no better than the mean image"
    return None
