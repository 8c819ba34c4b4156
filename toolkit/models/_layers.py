"""The parts that families build from: hidden layers with all options, heads for every task.

Every layer has a name of its own: automatic ones depend on what the process built before, and end up in the .tflite.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from toolkit.errors import BrokenInput
from toolkit.models._blueprint import LEAKY_SLOPE, Layers, Task

PROBABILITIES = "probabilities"
PREDICTION = "prediction"
"""Names of the output of a classifier and of a regression."""

_LARGEST = 2.0**15
"""Powers of two up to here are exact in float16."""

_HALF_LARGEST = 65504.0

_RANDOM = {"force_generator": True}
"""Of random layers: the same numbers in ``fit`` and in a loop of our own. By default they depend on an operator's
number in the graph, and on how often that was traced."""


def dense(x: Any, units: int, options: Layers, name: str) -> Any:
    """A hidden dense layer: kernel, batch normalisation, activation, noise, dropout, each if asked for."""
    from tf_keras import layers

    made = layers.Dense(units, name=name, **kernel(options), **_inline(options))
    return after(made(x), options, name)


def conv(x: Any, filters: int, options: Layers, name: str) -> Any:
    """A hidden 3x3 convolution with the same options as :func:`dense`; dropout is left to the dense layers."""
    from tf_keras import layers

    made = layers.Conv2D(filters, 3, name=name, **kernel(options, inputs=3), **_inline(options))
    return after(made(x), options, name, drop=False)


def after(x: Any, options: Layers, name: str, *, drop: bool = True) -> Any:
    """What follows a hidden layer's kernel; ``name`` is the layer's, the others are named after it."""
    from tf_keras import layers

    suffix = name.removeprefix("hidden_")
    if options.batch_norm:
        x = layers.BatchNormalization(name=f"norm_{suffix}")(x)
    if not _inline(options):
        x = activation(options.activation, f"activation_{suffix}")(x)
    if options.noise:
        x = layers.GaussianNoise(options.noise, name=f"noise_{suffix}", **_RANDOM)(x)
    if options.dropout and drop:
        x = layers.Dropout(options.dropout, name=f"dropout_{suffix}", **_RANDOM)(x)
    return x


def activation(name: str, layer_name: str) -> Any:
    """The layer of an activation of :data:`toolkit.models._blueprint.ACTIVATIONS`."""
    from tf_keras import layers

    if name == "leaky-relu":
        return layers.LeakyReLU(LEAKY_SLOPE, name=layer_name)
    if name == "prelu":
        return layers.PReLU(name=layer_name)
    if name == "relu6":
        return layers.ReLU(max_value=6.0, name=layer_name)
    return layers.Activation(name, name=layer_name)


def kernel(options: Layers, *, inputs: int = 1) -> dict[str, Any]:
    """Penalty and bound of a kernel, as arguments of its layer; ``inputs`` of its dimensions lead into a unit."""
    from tf_keras import constraints, regularizers

    found: dict[str, Any] = {}
    if options.l1 or options.l2:
        found["kernel_regularizer"] = regularizers.L1L2(l1=options.l1, l2=options.l2)
    if options.max_norm is not None:
        found["kernel_constraint"] = constraints.MaxNorm(options.max_norm, axis=list(range(inputs)))
    return found


def head(x: Any, task: Task, options: Layers, *, wide: Any = None) -> Any:
    """The last layer: class probabilities ``[N, classes]``, or a value ``[N, 1]`` in label units.

    Args:
        x: deep part ``[N, D]``, or ``None``.
        task: what is predicted.
        options: for the kernel's penalty.
        wide: the wide part's sum ``[N, outputs]``, added before the softmax or the scaling; or ``None``.
    """
    from tf_keras import layers

    outputs = task.classes if task.kind == "classification" else 1
    last = PROBABILITIES if task.kind == "classification" else PREDICTION
    if wide is None and task.kind == "classification":
        return layers.Dense(outputs, activation="softmax", name=last, **kernel(options))(x)
    # A wide part alone has no bias, and needs none: every row has one id of each of its columns.
    scores = layers.Dense(outputs, name="scores", **kernel(options))(x) if x is not None else wide
    if x is not None and wide is not None:
        scores = layers.Add(name="wide_and_deep")([wide, scores])
    if task.kind == "classification":
        return layers.Activation("softmax", name=last)(scores)
    return _in_label_units(scores, task, last)


def model(inputs: Any, output: Any, name: str) -> Any:
    """The functional model.

    Raises:
        BrokenInput: an input is called like a layer: its name is a column's of the user's, and may be any.
    """
    import tf_keras

    try:
        return tf_keras.Model(inputs, output, name=name)
    except ValueError as error:
        twice = re.search(r'The name "(.+)" is used \d+ times', str(error))
        if twice is None:
            raise
        raise BrokenInput(
            "is the name of a layer, too", where=f"column {twice[1]!r}", remedy="rename it in the data and the spec"
        ) from error


def _inline(options: Layers) -> dict[str, Any]:
    """ReLU is an argument of the layer before it, where nothing stands between them."""
    return {"activation": "relu"} if options.activation == "relu" and not options.batch_norm else {}


def _in_label_units(scores: Any, task: Task, name: str) -> Any:
    """scores * spread + centre, by constants that float16 holds: min(scores * a + b, 65504) * 2**k.

    The bound is out of reach. Without it the converter would make one multiplication and one addition of the three, by
    spread and centre themselves, and float16's largest number is 65,504.
    """
    import tensorflow as tf
    from tf_keras import layers

    size = max(abs(task.centre), task.spread)
    power = 2.0 ** max(0, math.ceil(math.log2(size)) - 8)
    if power > _LARGEST:
        raise BrokenInput(
            f"has values around {size:.3g}", where=f"label {task.label!r}", remedy="give it in a larger unit"
        )
    a, b = _half(task.spread / power), _half(task.centre / power)
    if power == 1.0:
        return layers.Rescaling(a, b, name=name)(scores)
    bounded = tf.minimum(layers.Rescaling(a, b, name="scaled")(scores), _HALF_LARGEST)
    # tf_keras makes a layer of the operator and numbers it by what the process built before.
    bounded._keras_history.layer._name = "bounded"
    return layers.Rescaling(power, name=name)(bounded)


def _half(value: float) -> float:
    """``value`` rounded to float16."""
    return float(struct.unpack("<e", struct.pack("<e", value))[0])
