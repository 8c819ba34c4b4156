"""A Keras 3 model made again in tf_keras, layer by layer, so that what works on Keras 2 models alone is open to it.

Every call of the graph is replayed: the layer of the same name and class, its configuration without what only the other
generation knows, and its weights. That both answer alike is proved on made-up inputs each time.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters import further, keras_models, saved_model
from toolkit import parity
from toolkit.errors import BrokenInput
from toolkit.records import Signature

TOLERANCE = 1e-6
"""Largest difference of the outputs, relative to their peak: the kernels are the same, and only fused differently."""

_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
"""Options that the generations call differently, by class."""

_DROPPED = ("dtype", "_initializer")
"""Ends of names of options that do not matter any more: weights are there, and their type is float32."""

_OPERATIONS = {"Add": "Add", "Multiply": "Multiply", "Subtract": "Subtract", "Maximum": "Maximum", "Minimum": "Minimum"}
"""Operations on two tensors that are no layers in Keras 3, and the layer that does the same."""


def rebuild(path: Path, signature: Signature, *, unsafe: bool = False) -> Any:
    """The tf_keras model of a Keras 3 file.

    Args:
        path: a ``.keras`` file.
        signature: of its SavedModel, whose names the model keeps.
        unsafe: let Lambda layers run their code while the file is loaded; they cannot be rebuilt themselves.

    Returns:
        A functional model with the same names of inputs, outputs and layers.

    Raises:
        BrokenInput: a layer that cannot be rebuilt, which is named; or the model answers differently.
    """
    source = keras_models.load(path, 3, unsafe=unsafe)
    made = _named(_model(source, str(path)), signature)
    _must_agree(source, made, signature, str(path))
    return made


def _model(source: Any, where: str) -> Any:
    import keras
    import tf_keras

    # A Keras 3 Sequential keeps its graph in a functional model of its own.
    graph = getattr(source, "_functional", None) or source
    if not hasattr(graph, "_nodes_by_depth"):
        raise BrokenInput(
            f"{type(source).__name__} {source.name!r} is no graph of layers, which alone can be rebuilt in Keras 2",
            where=where,
            remedy="build it by keras.Model(inputs, outputs), or choose a recipe without fine-tuning",
        )
    values: dict[int, Any] = {
        id(tensor): tf_keras.Input(tensor.shape[1:], batch_size=tensor.shape[0], dtype=tensor.dtype, name=tensor.name)
        for tensor in graph.inputs
    }
    twins: dict[int, Any] = {}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = node.arguments.fill_in(values)
            kwargs = {k: v for k, v in kwargs.items() if v is not None and k != "training"}
            own = node.operation
            found = _called(own, args, kwargs, twins, where)
            flat = found if isinstance(found, (list, tuple)) else [found]
            for tensor, value in zip(node.outputs, flat, strict=True):
                values[id(tensor)] = value
    inputs, outputs = (
        keras.tree.map_structure(lambda tensor: values[id(tensor)], side)
        for side in (graph._inputs_struct, graph._outputs_struct)
    )
    return tf_keras.Model(inputs, outputs, name=source.name)


def _called(own: Any, args: Any, kwargs: Mapping[str, Any], twins: dict[int, Any], where: str) -> Any:
    """What the twin of a layer gives for the same arguments; its weights are set on the first call."""
    import keras

    first = id(own) not in twins
    if first:
        twins[id(own)] = _twin(own, where)
    twin = twins[id(own)]
    together = type(own).__name__ in _OPERATIONS and not isinstance(own, keras.layers.Layer)
    try:
        found = twin(list(args)) if together else twin(*args, **kwargs)
        if first and isinstance(own, keras.layers.Layer) and not hasattr(own, "layers"):
            twin.set_weights(own.get_weights())
    except (ValueError, TypeError, NotImplementedError) as error:
        raise _cannot(own, str(error).splitlines()[0], where) from error
    return found


def _twin(own: Any, where: str) -> Any:
    import keras
    import tf_keras

    name = type(own).__name__
    if isinstance(own, keras.Model):
        return _model(own, where)
    if not isinstance(own, keras.layers.Layer):
        if name not in _OPERATIONS:
            raise _cannot(own, "an operation that is no layer", where)
        return getattr(tf_keras.layers, _OPERATIONS[name])(name=own.name)
    kind = getattr(tf_keras.layers, name, None)
    if kind is None or not type(own).__module__.startswith("keras."):
        raise _cannot(own, f"tf_keras has no layer {name}" if kind is None else "a layer of your own", where)
    if name in ("Bidirectional", "TimeDistributed"):
        raise _cannot(own, "a wrapper of another layer", where)
    try:
        return kind.from_config(_config(own, kind))
    except (ValueError, TypeError) as error:
        raise _cannot(own, str(error).splitlines()[0], where) from error


def _config(own: Any, kind: Any) -> dict[str, Any]:
    """The options of a layer that the other generation knows; others are left out where they have their default."""
    known = set(inspect.signature(kind.__init__).parameters) | {"name", "trainable"}
    defaults = {name: p.default for name, p in inspect.signature(type(own).__init__).parameters.items()}
    renamed = _RENAMED.get(kind.__name__, {})
    found = {}
    for key, value in own.get_config().items():
        option = renamed.get(key, key)
        if option.endswith(_DROPPED):
            continue
        if option in known:
            found[option] = value
        elif value not in (None, False, defaults.get(key)):
            raise ValueError(f"its option {key}={value!r} has no like in tf_keras")
    return found


def _cannot(own: Any, reason: str, where: str) -> BrokenInput:
    return BrokenInput(
        f"layer {own.name!r} ({type(own).__name__}) cannot be rebuilt in Keras 2: {reason[:160]}",
        where=where,
        remedy="choose a recipe without fine-tuning, or replace the layer",
    )


def _named(made: Any, signature: Signature) -> Any:
    """The model with the SavedModel's names for its outputs, where Keras 3 had none and counted them."""
    import tf_keras

    names = [spec.name for spec in signature.outputs]
    counted = [f"output_{i}" for i in range(len(made.outputs))]
    if sorted(names) != sorted(counted) or sorted(made.output_names) == sorted(names):
        return made
    return tf_keras.Model(made._nested_inputs, dict(zip(counted, made.outputs, strict=True)), name=made.name)


def _must_agree(source: Any, made: Any, signature: Signature, where: str) -> None:
    inputs = further.seeded_inputs(signature, 16)
    fixed = {spec.shape[0] for spec in signature.inputs if spec.shape and spec.shape[0]}
    if fixed:
        inputs = {name: np.asarray(values[: min(fixed)]) for name, values in inputs.items()}
    expected = saved_model.call(source, inputs, keras_version=3)
    found = saved_model.call(made, inputs, keras_version=2)
    if expected.keys() != found.keys():
        raise BrokenInput(f"outputs are {', '.join(found)} when rebuilt, not {', '.join(expected)}", where=where)
    for name, measured in parity.compare(expected, found).items():
        if not measured.max_abs <= TOLERANCE * max(1.0, measured.peak):
            raise BrokenInput(
                f"answers differently when rebuilt in Keras 2 (output {name!r}: {parity.describe(measured)})",
                where=where,
                remedy="choose a recipe without fine-tuning",
            )
