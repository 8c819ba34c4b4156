"""Digit classifiers from one softmax layer to a small convolutional network.

Input ``image`` float32 ``[N, 28, 28]`` in 0..1, output ``probabilities`` float32 ``[N, 10]``. Every layer has
a name of its own: automatic ones depend on what the process built before, and end up in the .tflite.
"""

from __future__ import annotations

from typing import Any

from toolkit.errors import UsageError
from toolkit.models import Variant

SUMMARY = "digit classifiers: linear, one-hidden, dnn, deep, cnn"
DATASET = "mnist"
INPUT = "image"
OUTPUT = "probabilities"
UNITS = 128

VARIANTS = {
    "linear": Variant(summary="one softmax layer", epochs=20),
    "one-hidden": Variant(summary="one hidden layer of 128", epochs=24),
    "dnn": Variant(summary="two hidden layers of 128", epochs=20),
    "deep": Variant(summary="three hidden layers of 128", epochs=20),
    "cnn": Variant(summary="3x3 convolutions of 32 and 64, then 128", epochs=20),
}
"""The epochs are those by which each has converged on the 3,000 digits: going on to 40 (cnn: 24) changed the
accuracy on the 2,000 evaluation digits by 0.2 points at most, averaged over seeds 0 to 2."""

DEFAULT_VARIANT = "dnn"

_HIDDEN = {"linear": 0, "one-hidden": 1, "dnn": 2, "deep": 3}


def build(variant: str, *, dropout: float = 0.0, l1: float = 0.0, l2: float = 0.0) -> Any:
    """An uncompiled tf_keras model.

    Args:
        variant: one of :data:`VARIANTS`.
        dropout: share of a hidden layer's outputs dropped in training, 0 for none.
        l1: penalty on the kernels' absolute values.
        l2: penalty on their squares.

    Raises:
        UsageError: dropout where there is no hidden layer to drop from.
    """
    if dropout and variant == "linear":
        raise UsageError("--dropout has nothing to drop: mnist linear has no hidden layer", remedy="leave it out")
    import tf_keras
    from tf_keras import layers, regularizers

    def penalty() -> Any:
        return regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None

    def dropped(x: Any, name: str) -> Any:
        return layers.Dropout(dropout, name=f"dropout_{name}")(x) if dropout else x

    image = tf_keras.Input((28, 28), name=INPUT)
    if variant == "cnn":
        x = _with_channel(image)
        for filters in (32, 64):
            name = f"conv_{filters}"
            x = layers.Conv2D(filters, 3, activation="relu", kernel_regularizer=penalty(), name=name)(x)
            x = layers.MaxPooling2D(2, name=f"pool_{filters}")(x)
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(UNITS, activation="relu", kernel_regularizer=penalty(), name="hidden_1")(x)
        x = dropped(x, "1")
    else:
        x = layers.Flatten(name="flatten")(image)
        for i in range(1, _HIDDEN[variant] + 1):
            x = layers.Dense(UNITS, activation="relu", kernel_regularizer=penalty(), name=f"hidden_{i}")(x)
            x = dropped(x, str(i))
    output = layers.Dense(10, activation="softmax", kernel_regularizer=penalty(), name=OUTPUT)(x)
    return tf_keras.Model(image, output, name=f"mnist_{variant.replace('-', '_')}")


def _with_channel(image: Any) -> Any:
    """``[N, 28, 28]`` to ``[N, 28, 28, 1]`` by a constant shape.

    ``layers.Reshape`` reads the batch size at run time: SHAPE, STRIDED_SLICE and PACK in every .tflite.
    """
    import tensorflow as tf

    reshaped = tf.reshape(image, [-1, 28, 28, 1])
    # tf_keras makes a layer of the operator and numbers it by what the process built before.
    reshaped._keras_history.layer._name = "channel"
    return reshaped
