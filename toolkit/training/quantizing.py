"""Quantization-aware fine-tuning with TFMOT: the rounding of 8-bit integers happens while training."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, UsageError
from toolkit.progress import Progress
from toolkit.training import finetune, replay
from toolkit.training.finetune import BATCH_SIZE
from toolkit.training.fit import must_be_finite, seed_everything

EPOCHS = 5
LEARNING_RATE = 2e-4
"""A tenth to a fifth of what a model is trained with: it has converged, and only has to get used to rounding."""

KEEP = ("", "zeros", "clusters", "zeros+clusters")


def quantize_aware(
    keras_file: Path,
    inputs: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    keep: str = "",
    seed: int,
    progress: Progress,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
) -> Any:
    """Fine-tunes a model with fake quantization in every layer; its file is loaded again in :func:`scope`.

    Args:
        keras_file: a functional or sequential tf_keras model with one output, no model inside it.
        inputs: by name, ``[N, ...]``.
        labels: ``[N]``; integers mean classes.
        keep: one of :data:`KEEP`: what an earlier step made and training is not to undo; the artifact's gate counts it.
        seed: of the order of samples.
        progress: told about every epoch.
        epochs: passes over the data.
        batch_size: samples per step.
        learning_rate: of Adam.

    Returns:
        The model with its quantization wrappers, uncompiled, inputs and outputs named as before.

    Raises:
        UsageError: an option out of range.
        BrokenInput: the model cannot be loaded, or has a layer that TFMOT cannot quantize; the data do not fit it.
        CheckFailed: training diverged.
    """
    if keep not in KEEP:
        raise UsageError(f"nothing is known about keeping {keep!r}", remedy=f"known: {', '.join(KEEP[1:])}")
    tuning = finetune.Tuning(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    with progress.task("quantization-aware fine-tuning", total=epochs) as task:
        seed_everything(seed)
        source = finetune.load(keras_file, "quantization-aware training")
        fed = finetune.fed(source, inputs, labels, keras_file)
        loss = finetune.loss_of(source, fed, labels)
        with scope():
            wrapped = _wrapped(source, keep, keras_file)
        finetune.fit(wrapped, fed, labels, loss, tuning=tuning, task=task)
        if "clusters" in keep:
            from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
                cluster_utils,
            )

            wrapped = cluster_utils.strip_clustering_cqat(wrapped)
    must_be_finite(wrapped, learning_rate)
    return wrapped


@contextlib.contextmanager
def scope() -> Iterator[None]:
    """In it Keras can load the file of a model with quantization wrappers."""
    with finetune.environment():
        import tensorflow_model_optimization as tfmot
    own = _reshape()
    # By the name in new files, and in TFMOT's copies of a configuration.
    with tfmot.quantization.keras.quantize_scope({own.__name__: own, f"edge_export>{own.__name__}": own}):
        yield


def _wrapped(model: Any, keep: str, keras_file: Path) -> Any:
    import tensorflow_model_optimization as tfmot
    import tf_keras

    try:
        annotated = tf_keras.models.clone_model(_plain(model), clone_function=_annotated)
        # Without a prefix, outputs keep the names of their layers.
        return tfmot.quantization.keras.quantize_apply(annotated, _scheme(keep), quantized_layer_name_prefix="")
    # ValueError for models it will not take, RuntimeError for layers it does not know.
    except (ValueError, RuntimeError, TypeError) as error:
        raise BrokenInput(
            f"cannot be quantized in training ({str(error).splitlines()[0][:200]})",
            where=str(keras_file),
            remedy="use int8, which quantizes after training",
        ) from error


def _plain(model: Any) -> Any:
    """The model with its reshaping operations as layers, which TFMOT can wrap; other operations are refused.

    Raises:
        ValueError: an operation that is no layer and does more than reshape by a constant.
    """
    made: dict[int, Any] = {}

    def layer_of(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if type(layer).__name__ not in ("TFOpLambda", "SlicingOpLambda"):
            return None
        shape = kwargs.get("shape", args[1] if len(args) > 1 else None)
        sizes = list(shape) if isinstance(shape, (list, tuple)) else []
        constant = all(isinstance(size, int) for size in sizes) and sizes[:1] == [-1]
        if layer.get_config().get("function") not in ("reshape", "tf.reshape") or not constant:
            raise ValueError(f"operation {layer.name!r} is no layer")
        return made.setdefault(id(layer), _reshape()(sizes[1:], name=layer.name))

    if not any(type(layer).__name__.endswith("OpLambda") for layer in model.layers):
        return model
    return replay.replay(model, layer_of)


def _annotated(layer: Any) -> Any:
    """The layer in the wrapper that says it is to be quantized."""
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_configs

    if isinstance(layer, tf_keras.Model):
        raise ValueError(f"model {layer.name!r} inside another")
    config = default_8bit_quantize_configs.NoOpQuantizeConfig() if isinstance(layer, _reshape()) else None
    return tfmot.quantization.keras.quantize_annotate_layer(layer, quantize_config=config)


@functools.lru_cache(maxsize=1)
def _reshape() -> Any:
    """The class of layers that reshape by a constant.

    ``layers.Reshape`` reads the batch size at run time: SHAPE, STRIDED_SLICE and PACK in every .tflite.
    """
    import tensorflow as tf
    import tf_keras

    @tf_keras.saving.register_keras_serializable(package="edge_export")
    class ConstantReshape(tf_keras.layers.Layer):
        def __init__(self, target_shape: list[int], **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.target_shape = target_shape

        def call(self, inputs: Any) -> Any:
            return tf.reshape(inputs, [-1, *self.target_shape])

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "target_shape": self.target_shape}

    return ConstantReshape


def _scheme(keep: str) -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        default_8bit_cluster_preserve_quantize_scheme as clusters,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
        default_8bit_prune_preserve_quantize_scheme as zeros,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_scheme

    if keep == "zeros":
        return zeros.Default8BitPrunePreserveQuantizeScheme()
    if "clusters" in keep:
        return clusters.Default8BitClusterPreserveQuantizeScheme("zeros" in keep)
    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()
