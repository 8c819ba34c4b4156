"""Codes: what a layer of a trained model makes of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.datasets._dataset import Split
from toolkit.errors import UsageError, unknown_name
from toolkit.features.encoding import column_of, encode
from toolkit.features.naming import range_names
from toolkit.records import Embedding
from toolkit.training.plane import POINTS, principal_plane, rounded, some
from toolkit.training.projector import Vectors

_QUANTILES = (0.2, 0.4, 0.6, 0.8)
"""Where a quantity is cut into the five ranges that its samples are coloured by."""


def feature_layers(model: Any) -> list[Any]:
    """The layers of a model that hold feature columns; see :mod:`toolkit.features.layer`."""
    from toolkit.features.layer import register

    return [layer for layer in model.layers if isinstance(layer, register())]


def show(
    model: Any, layer: str, samples: Split | None, classes: Sequence[str] | None, *, seed: int, name: str
) -> tuple[Vectors, Embedding]:
    """The codes of up to 2,000 samples; see :func:`toolkit.training.embeddings.export` for arguments and errors.

    ``name`` is that of the projector's files.
    """
    import tf_keras

    output = _output(model, layer)
    if samples is None or not len(samples):
        raise UsageError("there are no samples to show the codes of", where=f"layer {layer!r}", remedy="give some")
    rows = some(len(samples), POINTS, seed)
    inputs = {n: values[rows] for n, values in samples.inputs.items()}
    for features in feature_layers(model):
        inputs |= encode(features.spec, inputs)
    inputs = {n: column_of(inputs, n) for n in model.input_names}
    found = tf_keras.Model(model.inputs, output).predict(inputs, batch_size=256, verbose=0)
    vectors = np.asarray(found, dtype=np.float32)
    points, explained = principal_plane(vectors, np.ones(len(vectors), dtype=bool), f"layer {layer!r}")
    labels, present, ordered = _labels(samples.labels, rows, classes)
    record = Embedding(
        name=layer,
        kind="codes",
        method="PCA",
        size=vectors.shape[1],
        total=len(samples),
        explained=explained,
        points=rounded(points),
        labels=tuple(labels),
        classes=tuple(present),
        ordered=ordered,
    )
    words = {**({"class": labels} if labels else {}), "sample": [str(i) for i in rows.tolist()]}
    return Vectors(name=name, vectors=vectors, words=words, images=_images(inputs)), record


def _output(model: Any, layer: str) -> Any:
    """The symbolic output of a layer, ``[None, D]``."""
    layers = {one.name: one for one in model.layers}
    if layer not in layers:
        raise unknown_name("layer", layer, layers)
    output = layers[layer].get_output_at(0)
    if len(getattr(output, "shape", ())) != 2:
        shape = list(output.shape) if hasattr(output, "shape") else "several tensors"
        raise UsageError(f"puts out {shape}", where=f"layer {layer!r}", remedy="name one that puts out [N, D]")
    return output


def _labels(
    labels: np.ndarray | None, rows: np.ndarray, classes: Sequence[str] | None
) -> tuple[list[str], list[str], bool]:
    """Of the samples ``rows``: the name of each one's class, the classes that occur, and whether they are ranges."""
    if labels is None:
        return [], [], False
    values, ordered, names = labels.reshape(len(labels), -1)[rows, 0], False, classes
    if classes is None and values.dtype.kind == "f":
        # Cut where the rounded quantiles are: what the legend says is then true.
        edges = np.unique([float(f"{q:.3g}") for q in np.quantile(values, _QUANTILES)])
        values, names, ordered = np.searchsorted(edges, values, side="right"), range_names(edges.tolist()), True
    present = np.unique(values.astype(np.int64)).tolist()
    named = {i: str(i) if names is None else names[i] for i in present}
    return [named[i] for i in values.astype(np.int64).tolist()], [named[i] for i in present], ordered


def _images(inputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The first input that is pictures: ``[N, H, W]`` or ``[N, H, W, 1 or 3]``, numbers in 0..1."""
    for values in inputs.values():
        is_shaped = values.ndim == 3 or (values.ndim == 4 and values.shape[3] in (1, 3))
        if is_shaped and values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:
            return values
    return None
