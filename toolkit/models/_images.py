"""Images at the entrance of a model: the channel dimension, and augmentation that happens in training only."""

from __future__ import annotations

from typing import Any

from toolkit.models._activations import named

SHIFT = 0.07
"""Share of height and width by which an image is moved at most: two of 28 pixels."""

TURN = 0.03
"""Share of a full turn, either way: eleven degrees."""

ZOOM = 0.1


def with_channel(image: Any) -> Any:
    """``[N, H, W]`` to ``[N, H, W, 1]`` by a constant shape.

    ``layers.Reshape`` reads the batch size at run time: SHAPE, STRIDED_SLICE and PACK in every .tflite.
    """
    return shaped(image, (*image.shape[1:], 1), "channel")


def shaped(x: Any, shape: tuple[int, ...], name: str) -> Any:
    """``x`` as ``[N, *shape]``; the layer is called ``name``."""
    import tensorflow as tf

    return named(tf.reshape(x, [-1, *shape]), name)


def augmented(image: Any) -> Any:
    """Images ``[N, H, W]`` moved, turned and zoomed a little in training only, as ``[N, H, W, 1]``."""
    from tf_keras import layers

    x = with_channel(image)
    # Outside an image is background, 0; the layers' default would mirror strokes into it.
    x = layers.RandomTranslation(SHIFT, SHIFT, fill_mode="constant", name="augment_shift")(x)
    x = layers.RandomRotation(TURN, fill_mode="constant", name="augment_turn")(x)
    return layers.RandomZoom(ZOOM, fill_mode="constant", name="augment_zoom")(x)
