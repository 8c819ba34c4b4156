"""Images to a short code and back, by one graph of layers: the encoder is shared by both signatures.

Input ``image`` float32 ``[N, 28, 28]`` in 0..1. The model's own output is ``reconstruction``, shaped like the input;
signature ``encode`` gives ``code`` ``[N, D]``.
"""

from __future__ import annotations

from typing import Any

from toolkit.models import Blueprint, Variant, _images, _layers

SUMMARY = "images to a short code and back, encoder shared by two signatures: dense, conv"
DATASET = "mnist"
TASK = "reconstruction"
SIGNATURES = {"encode": "code"}
INPUT = "image"
OUTPUT = "reconstruction"

VARIANTS = {
    "dense": Variant(summary="784-128-16-128-784", epochs=30, codes="code"),
    "conv": Variant(summary="convolutions to a code of 16, transposed convolutions back", epochs=30, codes="code"),
}
DEFAULT_VARIANT = "dense"

CODE = 16


def build(blueprint: Blueprint) -> Any:
    """An uncompiled functional tf_keras model.

    Raises:
        UsageError: an option that means nothing here.
    """
    import tf_keras

    # What is to be reproduced stays where it is: the model would learn to move images back, which nothing tells it how.
    _layers.refuse(blueprint.layers, ["augment"], "the image that an autoencoder has to give back would not move along")
    if blueprint.variant == "conv":
        _layers.refuse(blueprint.layers, ["dropout"], "autoencoder conv has no hidden dense layer")
    image = tf_keras.Input((28, 28), name=INPUT)
    output = (_conv if blueprint.variant == "conv" else _dense)(_images.with_channel(image), blueprint)
    return tf_keras.Model(image, output, name=f"autoencoder_{blueprint.variant}")


def _dense(x: Any, blueprint: Blueprint) -> Any:
    from tf_keras import layers

    x = layers.Flatten(name="flatten")(x)
    x = _layers.dense(x, 128, blueprint.layers, "hidden_1")
    x = layers.Dense(CODE, name="code", **_layers.kernel(blueprint.layers))(x)
    x = _layers.dense(x, 128, blueprint.layers, "hidden_2")
    x = layers.Dense(784, activation="sigmoid", name="pixels", **_layers.kernel(blueprint.layers))(x)
    return _images.shaped(x, (28, 28), OUTPUT)


def _conv(x: Any, blueprint: Blueprint) -> Any:
    """The layers of Keras's guide to its functional API ("Use the same graph of layers to define multiple models")."""
    from tf_keras import layers

    options = blueprint.layers
    for number, filters in enumerate((16, 32), start=1):
        x = _layers.conv(x, filters, options, f"conv_{number}")
    x = layers.MaxPooling2D(3, name="pool")(x)
    for number, filters in enumerate((32, 16), start=3):
        x = _layers.conv(x, filters, options, f"conv_{number}")
    x = layers.GlobalMaxPooling2D(name="code")(x)
    x = _images.shaped(x, (4, 4, 1), "as_image")
    for number, filters in enumerate((16, 32), start=1):
        x = _layers.deconv(x, filters, options, f"deconv_{number}")
    x = layers.UpSampling2D(3, name="upsample")(x)
    x = _layers.deconv(x, 16, options, "deconv_3")
    last = _layers.kernel(options, _layers.TRANSPOSED)
    x = layers.Conv2DTranspose(1, 3, activation="sigmoid", name="pixels", **last)(x)
    return _images.shaped(x, (28, 28), OUTPUT)
