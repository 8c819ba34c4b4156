"""What follows a hidden layer's kernel: twelve activations, each by operators that stay exact in 8-bit integers.

Keras's own ELU, SELU and softplus are exact in float only. The converter has no integer ELU and leaves it in float; of
the other two it quantizes exp(x) of the whole range of x, where everything below zero becomes one number. Here exp sees
nothing above 0 and log nothing below 1/2. There is one graph for training and for every artifact.

These were tried and are worse on a device: RELU and MINIMUM on a value that is used twice (the converter computes the
layer before them twice, or gives that value the narrower range of the result), NEG (float between integers), ABS
(tflite-runtime 2.14 dies of it on int32), LEAKY_RELU of slope 0 (XNNPACK leaves it to a kernel eight times as slow).
"""

from __future__ import annotations

from typing import Any

from toolkit.models._blueprint import LEAKY_SLOPE

PRELU_START = 0.25
"""Slope of PReLU before training (He et al., 2015, arXiv:1502.01852, section 2.1)."""

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
"""Klambauer et al., 2017, arXiv:1706.02515, equation 14."""


def activation(x: Any, name: str, layer_name: str) -> Any:
    """``x`` after an activation of :data:`toolkit.models.ACTIVATIONS`; the layer that gives it is ``layer_name``."""
    from tf_keras import initializers, layers

    if name == "leaky-relu":
        return layers.LeakyReLU(LEAKY_SLOPE, name=layer_name)(x)
    if name == "prelu":
        # One slope a channel wherever it is in the image, as in the paper, and as XNNPACK knows it.
        start, places = initializers.Constant(PRELU_START), list(range(1, len(x.shape) - 1))
        return layers.PReLU(start, shared_axes=places or None, name=layer_name)(x)
    if name == "relu6":
        return layers.ReLU(max_value=6.0, name=layer_name)(x)
    if name == "elu":
        return _exponential(x, 1.0, 1.0, layer_name)
    if name == "selu":
        return _exponential(x, SELU_SCALE, SELU_SCALE * SELU_ALPHA, layer_name)
    if name == "softplus":
        return _softplus(x, layer_name)
    return layers.Activation(name, name=layer_name)(x)


def named(tensor: Any, name: str) -> Any:
    """The result of an operator on a Keras tensor; its layer is called ``name``.

    tf_keras makes a layer of the operator and numbers it by what the process built before.
    """
    tensor._keras_history.layer._name = name
    return tensor


def _exponential(x: Any, scale: float, depth: float, name: str) -> Any:
    """scale * x above 0, depth * (exp(x) - 1) below: the sum of both halves, each 0 where the other is not."""
    from tf_keras import layers

    high, low = _halves(x, name)
    below = layers.Activation("exponential", name=f"{name}_exp")(low)
    if depth != 1.0:
        below = named(below * depth, f"{name}_depth")
    if scale != 1.0:
        high = named(high * scale, f"{name}_scale")
    return layers.Add(name=name)([high, named(below - depth, f"{name}_below")])


def _softplus(x: Any, name: str) -> Any:
    """log(1 + exp(x)) as max(x, 0) - log(sigmoid(abs(x))); also finite where exp(x) is not."""
    import tensorflow as tf
    from tf_keras import layers

    high, low = _halves(x, name)
    size = layers.Subtract(name=f"{name}_size")([high, low])
    share = layers.Activation("sigmoid", name=f"{name}_sigmoid")(size)
    return layers.Subtract(name=name)([high, named(tf.math.log(share), f"{name}_log")])


def _halves(x: Any, name: str) -> tuple[Any, Any]:
    """max(x, 0) and min(x, 0), exact in float: a leaky ReLU of slope 2 exceeds x by min(x, 0)."""
    from tf_keras import layers

    steep = layers.LeakyReLU(2.0, name=f"{name}_steep")(x)
    low = layers.Subtract(name=f"{name}_low")([steep, x])
    return layers.Subtract(name=f"{name}_high")([x, low]), low
