"""Magnitude pruning with TFMOT: weights set to zero while fine-tuning, one by one or in patterns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, CheckFailed, UsageError
from toolkit.progress import Progress
from toolkit.training import finetune
from toolkit.training.finetune import BATCH_SIZE
from toolkit.training.fit import must_be_finite, seed_everything

EPOCHS = 10
LEARNING_RATE = 1e-3
"""The mnist dnn at 80 %, seeds 0 to 2, accuracy on the 2,000 evaluation digits: dense 94.25, 94.90, 94.70 (mean 94.62);
pruned with these settings 94.70, 94.90, 95.00 (mean 94.87). Six other settings (10 to 20 epochs, learning rates 2e-4
to 1e-3, ramps 0.4 and 0.6) came to means of 94.68 to 95.13, all within what three seeds can tell apart, so the short
ones were kept and not the best of seven."""

RAMP = 0.6
"""Sparsity grows over the first part of the fine-tuning; the rest recovers with the zeros fixed."""
UPDATE_STEPS = 20
"""At most so many steps between two prunings: TFMOT's 100 would prune ten times only on 3,000 samples."""

PATTERNS: dict[str, dict[str, Any]] = {
    "unstructured": {},
    "2:4": {"sparsity_m_by_n": (2, 4)},
    "16x1": {"block_size": (16, 1)},
}
"""Which weights go together, as TFMOT says it. Rows of a Keras kernel are inputs, so 2:4 and blocks of 16 lie along
what one unit sums up."""
SCHEDULES = ("polynomial", "constant")


def prune(
    keras_file: Path,
    inputs: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    sparsity: float = 0.8,
    pattern: str = "unstructured",
    schedule: str = "polynomial",
    seed: int,
    progress: Progress,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
) -> Any:
    """Prunes a model to ``sparsity``, then strips the wrappers.

    The polynomial schedule is Zhu & Gupta's (arXiv:1710.01878): the share of zeros rises with the cube of the time
    left. Layers that TFMOT cannot prune are left as they are and fine-tuned along; so are, with a pattern, kernels that
    it does not fit (convolutions for blocks, inputs that are no multiple of 4 or 16).

    Args:
        keras_file: a functional or sequential tf_keras model with one output.
        inputs: by name, ``[N, ...]``.
        labels: ``[N]``; integers mean classes.
        sparsity: share of zeros in every pruned kernel, above 0, below 1; 0.5 for ``2:4``.
        pattern: one of :data:`PATTERNS`.
        schedule: one of :data:`SCHEDULES`.
        seed: of the order of samples.
        progress: told about every epoch.
        epochs: passes over the data.
        batch_size: samples per step.
        learning_rate: of Adam.

    Returns:
        The pruned model, uncompiled, with the layers and names of the source.

    Raises:
        UsageError: an option out of range.
        BrokenInput: the model cannot be loaded, has several outputs or nothing to prune; the data do not fit it.
        CheckFailed: training diverged, or the zeros are not there.
    """
    if not 0 < sparsity < 1 or (pattern == "2:4" and sparsity != 0.5):
        raise UsageError(f"pruning to {sparsity}", remedy="sparsity lies between 0 and 1, and is 0.5 for 2:4")
    if pattern not in PATTERNS or schedule not in SCHEDULES:
        raise UsageError(f"no pruning by {pattern!r}, {schedule!r}", remedy=f"{', '.join(PATTERNS)}; {SCHEDULES}")
    tuning = finetune.Tuning(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    with progress.task(f"prune to {sparsity:.0%}", total=epochs) as task:
        with finetune.environment():
            import tensorflow_model_optimization as tfmot

        seed_everything(seed)
        source = finetune.load(keras_file, "pruning")
        fed = finetune.fed(source, inputs, labels, keras_file)
        steps = math.ceil(len(labels) / batch_size) * epochs
        wrapped = _wrapped(source, sparsity, pattern, schedule, steps, keras_file)
        loss = finetune.loss_of(source, fed, labels)
        update = tfmot.sparsity.keras.UpdatePruningStep()
        finetune.fit(wrapped, fed, labels, loss, tuning=tuning, task=task, callbacks=[update])
        stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    must_be_finite(stripped, learning_rate)
    _must_be_sparse(stripped, sparsity, keras_file, pattern)
    return stripped


def kernels(model: Any, pattern: str = "unstructured") -> dict[str, np.ndarray]:
    """Every kernel that is pruned by ``pattern``, by its name."""
    layers = [layer for layer in finetune.leaves(model) if fits(layer, pattern)]
    return {kernel.name: kernel.numpy() for layer in layers for kernel in prunable(layer)}


def prunable(layer: Any) -> list[Any]:
    """The kernels of ``layer`` that TFMOT prunes; none if it does not know the layer."""
    from tensorflow_model_optimization.python.core.sparsity.keras import prunable_layer, prune_registry

    if isinstance(layer, prunable_layer.PrunableLayer):
        return list(layer.get_prunable_weights())
    registry = prune_registry.PruneRegistry
    if not registry.supports(layer):
        return []
    registry.make_prunable(layer)
    return list(layer.get_prunable_weights())


def fits(layer: Any, pattern: str) -> bool:
    """Whether all kernels of a layer can be pruned by a pattern, and there is one."""
    found = prunable(layer)
    rows = {"unstructured": 1, "2:4": 4, "16x1": 16}[pattern]
    if rows == 1:
        return bool(found)
    # Runtimes know patterns in matrices alone, with whole groups of inputs; TFMOT takes one unit for no matrix.
    return bool(found) and all(
        len(kernel.shape) == 2 and kernel.shape[0] % rows == 0 and kernel.shape[1] > 1 for kernel in found
    )


def _must_be_sparse(model: Any, sparsity: float, keras_file: Path, pattern: str = "unstructured") -> None:
    for name, values in kernels(model, pattern).items():
        share = float((values == 0).mean())
        if share < _exact(_units(values.shape, pattern), sparsity) - 1e-9:
            raise CheckFailed(
                f"{share:.2%} of {name} are zero, not {sparsity:.0%}",
                where=str(keras_file),
                remedy="fine-tune on more samples, for more epochs, or leave the pruned recipe out",
            )


def _units(shape: Any, pattern: str) -> int:
    """What is pruned as one: weights, or blocks of them."""
    return int(np.prod(shape)) // (16 if pattern == "16x1" else 1)


def _wrapped(model: Any, sparsity: float, pattern: str, schedule: str, steps: int, keras_file: Path) -> Any:
    """The model with every layer that the pattern fits in TFMOT's wrapper; the layers themselves are shared."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    sparse = tfmot.sparsity.keras
    # The last pruning falls on the end of the ramp only if the steps between two divide it; else the
    # schedule stops short of its final sparsity.
    between = max(1, min(UPDATE_STEPS, int(steps * RAMP)))
    end = max(1, int(steps * RAMP) // between) * between

    def wrap(layer: Any) -> Any:
        if isinstance(layer, tf_keras.Model):
            return tf_keras.models.clone_model(layer, clone_function=wrap)
        if not fits(layer, pattern):
            return layer
        goal = max(_exact(_units(kernel.shape, pattern), sparsity) for kernel in prunable(layer))
        if schedule == "constant":
            chosen = sparse.ConstantSparsity(goal, begin_step=0, end_step=end, frequency=between)
        else:
            chosen = sparse.PolynomialDecay(
                initial_sparsity=0.0, final_sparsity=goal, begin_step=0, end_step=end, frequency=between
            )
        return sparse.prune_low_magnitude(layer, pruning_schedule=chosen, **PATTERNS[pattern])

    if not any(fits(layer, pattern) for layer in finetune.leaves(model)):
        which = "" if pattern == "unstructured" else f" by {pattern}"
        raise BrokenInput(
            f"has no layer that TFMOT can prune{which}", where=str(keras_file), remedy="choose a recipe without pruning"
        )
    return tf_keras.models.clone_model(model, clone_function=wrap)


def _exact(size: int, sparsity: float) -> float:
    """The sparsity to ask for so that at least ``sparsity`` comes out: TFMOT rounds the number of weights it
    keeps to the nearest, which may be one too many. One weight is always kept."""
    keep = max(1, math.floor(size * (1 - sparsity) + 1e-9))
    return 1 - keep / size
