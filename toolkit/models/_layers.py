"""The parts that families build from: hidden layers with all options, heads for every task.

Every layer has a name of its own: automatic ones depend on what the process built before, and end up in the .tflite.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from toolkit.errors import BrokenInput, UsageError
from toolkit.models._activations import activation, named
from toolkit.models._blueprint import Layers, Task

PROBABILITIES = "probabilities"
PREDICTION = "prediction"
"""Names of the output of a classifier and of a regression."""

_LARGEST = 2.0**15
"""Powers of two up to here are exact in float16."""

_HALF_LARGEST = 65504.0

_RANDOM = {"force_generator": True}
"""Of random layers: the same numbers in ``fit`` and in a loop of our own. By default they depend on an operator's
number in the graph, and on how often that was traced."""

FILTER = (0, 1, 2)
TRANSPOSED = (0, 1, 3)
"""Dimensions of a convolution's kernel ``[height, width, inputs, filters]`` that lead into a filter, and of a
transposed one's ``[height, width, filters, inputs]``."""

HIDDEN = ("activation", "dropout", "batch_norm", "noise")
"""Options that mean nothing without a hidden layer."""

KERNEL = ("l1", "l2", "max_norm")
"""Options that mean nothing without a kernel."""


def refuse(options: Layers, names: Iterable[str], why: str) -> None:
    """Says no to options that would be taken and do nothing.

    Args:
        options: as given.
        names: of those that cannot be honoured.
        why: said after the option, e.g. ``"mnist linear has no hidden layer"``.

    Raises:
        UsageError: one of them is not at its default.
    """
    for name in names:
        if getattr(options, name) != getattr(Layers(), name):
            flag = "gaussian-noise" if name == "noise" else name.replace("_", "-")
            raise UsageError(f"--{flag} does nothing: {why}", remedy="leave it out")


def dense(x: Any, units: int, options: Layers, name: str) -> Any:
    """A hidden dense layer: kernel, batch normalisation, activation, noise, dropout, each if asked for."""
    from tf_keras import layers

    made = layers.Dense(units, name=name, **kernel(options), **start(options), **_inline(options))
    return after(made(x), options, name)


def conv(x: Any, filters: int, options: Layers, name: str) -> Any:
    """A hidden 3x3 convolution with the same options as :func:`dense`; dropout is left to the dense layers."""
    from tf_keras import layers

    made = layers.Conv2D(filters, 3, name=name, **kernel(options, FILTER), **start(options), **_inline(options))
    return after(made(x), options, name, drop=False)


def deconv(x: Any, filters: int, options: Layers, name: str) -> Any:
    """A hidden 3x3 transposed convolution with the same options as :func:`conv`."""
    from tf_keras import layers

    given = {**kernel(options, TRANSPOSED), **start(options), **_inline(options)}
    made = layers.Conv2DTranspose(filters, 3, name=name, **given)
    return after(made(x), options, name, drop=False)


def after(x: Any, options: Layers, name: str, *, drop: bool = True) -> Any:
    """What follows a hidden layer's kernel; ``name`` is the layer's, the others are named after it."""
    from tf_keras import layers

    suffix = name.removeprefix("hidden_")
    if options.batch_norm:
        x = layers.BatchNormalization(name=f"norm_{suffix}")(x)
    if not _inline(options):
        x = activation(x, options.activation, f"activation_{suffix}")
    if options.noise:
        x = layers.GaussianNoise(options.noise, name=f"noise_{suffix}", **_RANDOM)(x)
    if options.dropout and drop:
        # Zeros would undo what SELU is for; its dropout keeps mean and variance (Klambauer et al., 2017).
        kind = layers.AlphaDropout if options.activation == "selu" else layers.Dropout
        x = kind(options.dropout, name=f"dropout_{suffix}", **_RANDOM)(x)
    return x


def kernel(options: Layers, inward: Sequence[int] = (0,)) -> dict[str, Any]:
    """Penalty and bound of a kernel, as arguments of its layer.

    ``inward`` are the dimensions that lead into a unit: of ``[inputs, units]``, or :data:`FILTER`, :data:`TRANSPOSED`.
    """
    from tf_keras import constraints, regularizers

    found: dict[str, Any] = {}
    if options.l1 or options.l2:
        found["kernel_regularizer"] = regularizers.L1L2(l1=options.l1, l2=options.l2)
    if options.max_norm is not None:
        found["kernel_constraint"] = constraints.MaxNorm(options.max_norm, axis=list(inward))
    return found


def start(options: Layers) -> dict[str, Any]:
    """The first weights of a hidden kernel: LeCun's for SELU, without which it does not normalise; else Glorot's."""
    return {"kernel_initializer": "lecun_normal"} if options.activation == "selu" else {}


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
    bounded = named(tf.minimum(layers.Rescaling(a, b, name="scaled")(scores), _HALF_LARGEST), "bounded")
    return layers.Rescaling(power, name=name)(bounded)


def _half(value: float) -> float:
    """``value`` rounded to float16."""
    return float(struct.unpack("<e", struct.pack("<e", value))[0])
