"""Fine-tuning that changes what the weights look like: magnitude pruning with TFMOT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import CheckFailed, UsageError
from toolkit.progress import Progress
from toolkit.training.fit import epoch_reporter, must_be_finite, seed_everything

EPOCHS = 10
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
RAMP = 0.6
"""Sparsity grows over the first part of the fine-tuning; the rest recovers with the zeros fixed."""
UPDATE_STEPS = 20
"""Steps between two prunings: TFMOT's default of 100 would prune ten times only on 3,000 samples."""


def prune(
    keras_file: Path,
    inputs: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    sparsity: float,
    seed: int,
    progress: Progress,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
) -> Any:
    """Prunes a classifier or regressor to ``sparsity`` by polynomial decay, then strips the wrappers.

    The schedule is Zhu & Gupta's (2017): the share of zeros rises with the cube of the time left.

    Args:
        keras_file: a tf_keras model.
        inputs: by name, ``[N, ...]``.
        labels: ``[N]``; integers mean classes.
        sparsity: share of zeros wanted in every prunable layer, 0..1.
        seed: of the order of samples.
        progress: told about every epoch.
        epochs: passes over the data.
        batch_size: samples per step.

    Returns:
        The pruned model, uncompiled, with the layers and names of the source.

    Raises:
        UsageError: TFMOT cannot prune one of its layers, or there are too few samples.
        CheckFailed: training diverged, or the zeros are not there.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras

    sparse = tfmot.sparsity.keras
    seed_everything(seed)
    source = tf_keras.models.load_model(keras_file, compile=False)
    steps = max(1, len(labels) // batch_size) * epochs
    schedule = sparse.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=max(1, int(steps * RAMP)),
        frequency=max(1, min(UPDATE_STEPS, int(steps * RAMP))),
    )
    try:
        model = sparse.prune_low_magnitude(source, pruning_schedule=schedule)
    except ValueError as error:
        raise UsageError(
            f"TFMOT cannot prune this model ({error})", remedy="choose a recipe without pruning"
        ) from error
    classes = np.issubdtype(labels.dtype, np.integer) and source.output_shape[-1] > 1
    model.compile(
        optimizer=tf_keras.optimizers.Adam(LEARNING_RATE),
        loss=tf_keras.losses.SparseCategoricalCrossentropy() if classes else "mse",
        metrics=["accuracy"] if classes else [],
    )
    with progress.task(f"prune to {sparsity:.0%}", total=epochs) as task:
        history = model.fit(
            dict(inputs),
            labels,
            batch_size=batch_size,
            epochs=epochs,
            callbacks=[sparse.UpdatePruningStep(), tf_keras.callbacks.TerminateOnNaN(), epoch_reporter(task)],
            verbose=0,
        ).history
    must_be_finite(history["loss"], LEARNING_RATE)
    stripped = sparse.strip_pruning(model)
    _must_be_sparse(stripped, sparsity)
    return stripped


def zero_share(model: Any) -> float:
    """Share of zeros over all kernels of a Keras model (weights of two or more dimensions)."""
    kernels = [w for w in model.get_weights() if w.ndim > 1]
    return sum(int((k == 0).sum()) for k in kernels) / sum(k.size for k in kernels)


def _must_be_sparse(model: Any, sparsity: float) -> None:
    found = zero_share(model)
    # Half a percent of room: TFMOT rounds the number of weights kept, layer by layer.
    if found < sparsity - 0.005:
        raise CheckFailed(
            f"{found:.1%} of the weights are zero, not {sparsity:.0%}",
            where="pruning",
            remedy="fine-tune on more samples or for more epochs",
        )
