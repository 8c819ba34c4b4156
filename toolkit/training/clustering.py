"""Weight clustering with TFMOT: every kernel keeps a few different values, which compresses well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, CheckFailed, UsageError
from toolkit.progress import Progress
from toolkit.training import finetune
from toolkit.training.finetune import BATCH_SIZE
from toolkit.training.fit import must_be_finite, seed_everything

EPOCHS = 5
LEARNING_RATE = 5e-4


def cluster(
    keras_file: Path,
    inputs: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    clusters: int = 16,
    keep_zeros: bool = False,
    seed: int,
    progress: Progress,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
) -> Any:
    """Clusters every kernel's weights around ``clusters`` centroids, then strips the wrappers.

    Convolutions are clustered per output channel, as they are quantized, unless zeros are kept. Layers that TFMOT
    cannot cluster are left as they are and fine-tuned along.

    Args:
        keras_file: a functional or sequential tf_keras model with one output.
        inputs: by name, ``[N, ...]``.
        labels: ``[N]``; integers mean classes.
        clusters: different values of a kernel, at least 2.
        keep_zeros: weights that are zero stay zero, and zero is one of the values.
        seed: of centroids and the order of samples.
        progress: told about every epoch.
        epochs: passes over the data.
        batch_size: samples per step.
        learning_rate: of Adam.

    Returns:
        The clustered model, uncompiled, with the layers and names of the source.

    Raises:
        UsageError: an option out of range.
        BrokenInput: the model cannot be loaded, has several outputs or nothing to cluster; the data do not fit it.
        CheckFailed: training diverged, or there are more values, or fewer zeros, than promised.
    """
    if clusters < 2:
        raise UsageError(f"clustering around {clusters} values", remedy="give at least 2")
    tuning = finetune.Tuning(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    with progress.task(f"cluster to {clusters} values", total=epochs) as task:
        with finetune.environment():
            import tensorflow_model_optimization as tfmot

        seed_everything(seed)
        # Loaded here and dropped: clustering that keeps zeros changes the model it is given.
        source = finetune.load(keras_file, "clustering")
        fed = finetune.fed(source, inputs, labels, keras_file)
        zeros = {k: float((v == 0).mean()) for k, v in kernels(source).items()} if keep_zeros else {}
        loss = finetune.loss_of(source, fed, labels)
        wrapped = _wrapped(source, clusters, keep_zeros, keras_file)
        finetune.fit(wrapped, fed, labels, loss, tuning=tuning, task=task)
        stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    must_be_finite(stripped, learning_rate)
    _must_be_clustered(stripped, clusters, zeros, keras_file)
    return stripped


def kernels(model: Any) -> dict[str, np.ndarray]:
    """Every kernel that TFMOT clusters, by its name."""
    found = ((layer, name) for layer in finetune.leaves(model) for name in _clusterable(layer))
    return {f"{layer.name}/{name}": np.asarray(value) for layer, name in found for value in [getattr(layer, name)]}


def _must_be_clustered(model: Any, clusters: int, zeros: Mapping[str, float], keras_file: Path) -> None:
    for name, values in kernels(model).items():
        # Of a convolution every output channel (the last axis) has centroids of its own.
        groups = np.moveaxis(values, -1, 0) if values.ndim == 4 else [values]
        most = max(len(np.unique(group)) for group in groups)
        if most > clusters:
            raise CheckFailed(
                f"{name} has {most} different values, not {clusters}",
                where=str(keras_file),
                remedy="leave the clustered recipe out",
            )
        found = float((values == 0).mean())
        if found < zeros.get(name, 0.0) - 1e-9:
            raise CheckFailed(
                f"{found:.2%} of {name} are zero, and {zeros[name]:.2%} were",
                where=str(keras_file),
                remedy="leave the clustered recipe out",
            )


def _wrapped(model: Any, clusters: int, keep_zeros: bool, keras_file: Path) -> Any:
    """The model with every layer that TFMOT can cluster in its wrapper; the layers themselves are shared."""
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as experimental

    def wrap(layer: Any) -> Any:
        if isinstance(layer, tf_keras.Model):
            return tf_keras.models.clone_model(layer, clone_function=wrap)
        if not _clusterable(layer):
            return layer
        return experimental.cluster_weights(
            layer,
            number_of_clusters=clusters,
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=keep_zeros,
            # Keeping zeros as well fails in TFMOT where one channel has fewer values left than another.
            cluster_per_channel=isinstance(layer, tf_keras.layers.Conv2D) and not keep_zeros,
        )

    if not any(_clusterable(layer) for layer in finetune.leaves(model)):
        raise BrokenInput(
            "has no layer that TFMOT can cluster", where=str(keras_file), remedy="choose a recipe without clustering"
        )
    return tf_keras.models.clone_model(model, clone_function=wrap)


def _clusterable(layer: Any) -> list[str]:
    """Attributes of ``layer`` that TFMOT clusters; none if it does not know the layer."""
    from tensorflow_model_optimization.python.core.clustering.keras import clusterable_layer, clustering_registry

    if isinstance(layer, clusterable_layer.ClusterableLayer):
        return [name for name, _ in layer.get_clusterable_weights()]
    registry = clustering_registry.ClusteringRegistry
    if not registry.supports(layer):
        return []
    registry.make_clusterable(layer)
    return [name for name, _ in layer.get_clusterable_weights()]
