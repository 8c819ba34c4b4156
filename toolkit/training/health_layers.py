"""The layers of a model as training health sees them: their names, their kinds, what they put out in a pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def leaves(model: Any) -> dict[str, Any]:
    """Every layer that is no model, once, from the inputs to the outputs; ``MODEL/LAYER`` where models are nested."""
    import tf_keras

    found: dict[int, tuple[str, Any]] = {}

    def walk(parent: Any, prefix: str) -> None:
        for layer in parent.layers:
            if isinstance(layer, tf_keras.Model):
                walk(layer, f"{prefix}{layer.name}/")
            else:
                found.setdefault(id(layer), (f"{prefix}{layer.name}", layer))

    walk(model, "")
    return dict(found.values())


@contextlib.contextmanager
def listening(model: Any, layers: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """Collects every tensor that a layer puts out meanwhile, and keeps random layers from drawing.

    The ``call`` of the layers is replaced: a second functional model for the outputs would not reach into models
    inside the model, and would leave nodes in the layers.
    """
    import tensorflow as tf
    import tf_keras

    heard: dict[str, list[Any]] = {name: [] for name in layers}
    names = {id(layer): name for name, layer in layers.items()}
    # Also those inside wrappers and recurrent cells: a draw would change the numbers that training draws after it.
    random = [m for m in model.submodules if isinstance(m, tf_keras.__internal__.layers.BaseRandomLayer)]
    replaced = {id(layer): layer for layer in [*layers.values(), *random]}
    before = {key: vars(layer).get("call") for key, layer in replaced.items()}
    still = {id(layer) for layer in random}

    def around(key: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def listened(*args: Any, **options: Any) -> Any:
            found = call(*args, **{**options, "training": False} if key in still else options)
            if key in names and tf.is_tensor(found):
                heard[names[key]].append(found)
            return found

        return listened

    try:
        for key, layer in replaced.items():
            vars(layer)["call"] = around(key, layer.call)
        yield heard
    finally:
        for key, layer in replaced.items():
            vars(layer).pop("call", None)
            if before[key] is not None:
                vars(layer)["call"] = before[key]


def is_hidden(layer: Any) -> bool:
    """Whether the layer multiplies what passes through it by a kernel; an embedding only looks up, PReLU scales."""
    from tf_keras import layers

    return not isinstance(layer, (layers.Embedding, layers.PReLU)) and any(len(w.shape) > 1 for w in layer.weights)


def is_relu(layer: Any) -> bool:
    """Whether what the layer puts out has been through a ReLU or ReLU6; a leaky one cannot die."""
    import tensorflow as tf
    import tf_keras

    if isinstance(layer, tf_keras.layers.ReLU):
        return not layer.negative_slope
    kinds = (tf_keras.activations.relu, tf.nn.relu, tf.nn.relu6)
    # The last is how a functional model holds an operator that was called on its tensors.
    return getattr(layer, "activation", None) in kinds or getattr(layer, "function", None) in kinds
