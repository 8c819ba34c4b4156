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
    """An uncompiled functional tf_keras model."""
    import tf_keras

    options = blueprint.layers
    image = tf_keras.Input((28, 28), name=INPUT)
    x = _images.augmented(image) if options.augment else _images.with_channel(image)
    output = (_conv if blueprint.variant == "conv" else _dense)(x, blueprint)
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

    def up(x: Any, filters: int, name: str) -> Any:
        made = layers.Conv2DTranspose(filters, 3, name=name, **_layers.kernel(options, inputs=3))
        return _layers.after(made(x), options, name, drop=False)

    for number, filters in enumerate((16, 32), start=1):
        x = _layers.conv(x, filters, options, f"conv_{number}")
    x = layers.MaxPooling2D(3, name="pool")(x)
    for number, filters in enumerate((32, 16), start=3):
        x = _layers.conv(x, filters, options, f"conv_{number}")
    x = layers.GlobalMaxPooling2D(name="code")(x)
    x = _images.shaped(x, (4, 4, 1), "as_image")
    for number, filters in enumerate((16, 32), start=1):
        x = up(x, filters, f"deconv_{number}")
    x = layers.UpSampling2D(3, name="upsample")(x)
    x = up(x, 16, "deconv_3")
    x = layers.Conv2DTranspose(1, 3, activation="sigmoid", name="pixels")(x)
    return _images.shaped(x, (28, 28), OUTPUT)
