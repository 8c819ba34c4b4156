"""A functional tf_keras model made again, call by call, with some layers replaced; all other layers are shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def replay(model: Any, replace: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Any:
    """The same graph of layers on new inputs.

    Args:
        model: functional or sequential.
        replace: given a layer and the arguments of one call of it, the layer to call instead with the first of them
            alone; ``None``: the layer itself, with all of them.

    Returns:
        A model with the structure of inputs and outputs, and the names, of the source.
    """
    import tensorflow as tf
    import tf_keras

    made = {tensor.node.layer.name: _input(tensor) for tensor in model.inputs}
    values: dict[str, Any] = {str(id(tensor)): made[tensor.node.layer.name] for tensor in model.inputs}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            # What is looked up is taken out of its list, once for every use.
            args, kwargs = node.map_arguments(_Endless(values))
            other = replace(node.layer, args, kwargs)
            found = node.layer(*args, **kwargs) if other is None else other(args[0])
            flat = tf.nest.flatten(found)  # a layer may answer with a dict
            values.update({str(i): tensor for i, tensor in zip(node.flat_output_ids, flat, strict=True)})
    inputs, outputs = (
        tf.nest.map_structure(lambda tensor: values[str(id(tensor))], side)
        for side in (model._nested_inputs, model._nested_outputs)
    )
    return tf_keras.Model(inputs, outputs, name=model.name)


class _Endless(dict[str, Any]):
    """Tensors by the id of the tensor they stand for, each as a list that never runs out."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__({key: _Always(value) for key, value in values.items()})


class _Always:
    def __init__(self, value: Any) -> None:
        self._value = value

    def pop(self) -> Any:
        return self._value


def _input(tensor: Any) -> Any:
    import tf_keras

    shape = tensor.shape
    return tf_keras.Input(shape[1:], batch_size=shape[0], dtype=tensor.dtype, name=tensor.node.layer.name)
