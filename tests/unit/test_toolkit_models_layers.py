"""Options of hidden layers: each does what it says in training, and is not there where it has no business."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import blobs, exported

import toolkit.models
from toolkit import flatbuffer
from toolkit.errors import UsageError
from toolkit.features import FeatureSpec, Identity
from toolkit.models import Blueprint, Layers, Task, _images

DIGITS = Task(kind="classification", classes=10)
IMAGES = Task(kind="reconstruction")

TABLE = FeatureSpec(label="y", task="regression", columns=(Identity(name="hour", size=24, wide=True, indicator=True),))

_RNG = np.random.default_rng(12)


def _build(family: str, variant: str, task: Task = DIGITS, spec: Any = None, **options: Any) -> Any:
    blueprint = Blueprint(variant=variant, task=task, spec=spec, layers=Layers(**options))
    return toolkit.models.load(family).build(blueprint)


def _same_weights(source: Any, target: Any) -> None:
    target.set_weights(source.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize("option", [{"dropout": 0.5}, {"noise": 0.5}, {"augment": True}])
@pytest.mark.parametrize("variant", ["dnn", "cnn"])
def test_what_disturbs_training_is_still_at_inference(variant: str, option: dict[str, Any]) -> None:
    plain, disturbed = _build("mnist", variant), _build("mnist", variant, **option)
    _same_weights(plain, disturbed)
    images = _RNG.random((8, 28, 28), dtype=np.float32)
    still = np.asarray(disturbed(images, training=False))
    assert (still == np.asarray(plain(images, training=False))).all()
    first, second = (np.asarray(disturbed(images, training=True)) for _ in range(2))
    assert not np.allclose(first, still, atol=1e-3)
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.slow
def test_dropout_drops_the_share_and_keeps_the_mean() -> None:
    from toolkit.models import _layers

    x = np.ones((200, 100), np.float32)
    found = np.asarray(_disturbance(_layers.after, Layers(activation="linear", dropout=0.25))(x, training=True))
    assert (found == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert found.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.slow
def test_dropout_after_selu_keeps_mean_and_spread() -> None:
    from toolkit.models import _layers

    x = np.random.default_rng(0).normal(size=(400, 100)).astype(np.float32)
    model = _disturbance(_layers.after, Layers(activation="selu", dropout=0.3))
    still, found = (np.asarray(model(x, training=t)) for t in (False, True))
    assert (found == 0).mean() < 0.01
    assert (np.abs(found - still) > 1e-3).mean() > 0.9
    assert found.mean() == pytest.approx(still.mean(), abs=0.03)
    assert found.std() == pytest.approx(still.std(), abs=0.03)


@pytest.mark.slow
def test_noise_has_the_deviation_asked_for() -> None:
    from toolkit.models import _layers

    x = np.full((200, 100), 3, np.float32)
    found = np.asarray(_disturbance(_layers.after, Layers(activation="linear", noise=0.25))(x, training=True))
    assert found.mean() == pytest.approx(3, abs=0.01)
    assert found.std() == pytest.approx(0.25, abs=0.01)


def _disturbance(after: Any, options: Layers) -> Any:
    import tf_keras

    x = tf_keras.Input((100,), name="x")
    return tf_keras.Model(x, after(x, options, "hidden_1"))


@pytest.mark.slow
def test_augmentation_moves_images_and_brings_in_background() -> None:
    import tf_keras

    image = tf_keras.Input((28, 28), name="image")
    model = tf_keras.Model(image, _images.augmented(image))
    white = np.ones((64, 28, 28), np.float32)
    moved = np.asarray(model(white, training=True))[..., 0]
    assert np.asarray(model(white, training=False)).shape == (64, 28, 28, 1)
    assert (np.asarray(model(white, training=False)) == 1).all()
    # What comes in from outside is 0: mirrored, as is the layers' default, all would still be white.
    assert (moved.reshape(64, -1).min(axis=1) < 0.99).mean() > 0.9
    assert (moved.reshape(64, -1).min(axis=1) == 0).mean() > 0.4
    assert (moved[:, 6:22, 6:22] > 0.999).all()
    assert moved.min() >= 0
    assert moved.max() <= 1 + 1e-5
    # A dot in the middle stays near it: two pixels of shift, and what turning and zooming add.
    dot = np.zeros((64, 28, 28), np.float32)
    dot[:, 13:15, 13:15] = 1
    mass = np.asarray(model(dot, training=True))[..., 0]
    centre = (mass * np.arange(28)).sum(axis=(1, 2)) / mass.sum(axis=(1, 2))
    assert np.abs(centre - 13.5).max() < 28 * _images.SHIFT + 1
    assert centre.std() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "variant", "task"),
    [("mnist", "cnn", DIGITS), ("autoencoder", "conv", IMAGES), ("autoencoder", "dense", IMAGES)],
)
def test_no_unit_gets_more_than_the_largest_norm(family: str, variant: str, task: Task) -> None:
    import tf_keras

    split = blobs.dataset().train()
    images = split.inputs["image"]
    wanted, loss = (split.labels, "sparse_categorical_crossentropy") if task is DIGITS else (images, "mse")
    largest = {}
    for bound in (None, 0.4):
        tf_keras.utils.set_random_seed(3)
        model = _build(family, variant, task, max_norm=bound)
        model.compile(tf_keras.optimizers.Adam(1e-2), loss)
        model.fit(images, wanted, epochs=2, verbose=0)
        largest[bound] = {layer.name: _norms(layer).max() for layer in model.layers if hasattr(layer, "kernel")}
    assert len(largest[0.4]) >= 3
    assert max(largest[0.4].values()) <= 0.4 + 1e-6
    assert min(largest[None].values()) > 0.4


def _norms(layer: Any) -> np.ndarray:
    """Norms of the weights into each unit or filter."""
    import tf_keras

    kernel = layer.kernel.numpy()
    if isinstance(layer, tf_keras.layers.Conv2DTranspose):
        kernel = kernel.swapaxes(2, 3)
    return np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "softplus", "prelu"])
def test_layers_of_an_image_decoder_have_their_activation(activation: str) -> None:
    model = _build("autoencoder", "conv", IMAGES, activation=activation)
    convolutions = [n for n in (layer.name for layer in model.layers) if n.startswith(("conv_", "deconv_"))]
    assert len(convolutions) == 7
    for name in convolutions:
        if activation == "relu":
            assert model.get_layer(name).activation.__name__ == "relu"
        else:
            assert model.get_layer(f"activation_{name}")


@pytest.mark.slow
def test_selu_starts_from_weights_that_keep_the_spread() -> None:
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    selu, relu = (
        _build("mnist", "dnn", activation=name).get_layer("hidden_1").kernel.numpy() for name in ("selu", "relu")
    )
    assert selu.std() == pytest.approx(784**-0.5, rel=0.02)
    assert relu.std() == pytest.approx((2 / (784 + 128)) ** 0.5, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["dnn", "cnn"])
def test_the_edge_has_no_trace_of_what_is_for_training(variant: str, tmp_path: Path) -> None:
    plain = _ops(_build("mnist", variant), tmp_path / "plain.tflite")
    options = {"dropout": 0.2, "noise": 0.1, "augment": True, "max_norm": 1.0, "l1": 1e-4, "l2": 1e-4}
    assert _ops(_build("mnist", variant, **options), tmp_path / "all.tflite") == plain


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "relu6", "elu"])
@pytest.mark.parametrize("variant", ["dnn", "cnn"])
def test_batch_normalisation_is_folded_into_the_layer_before(variant: str, activation: str, tmp_path: Path) -> None:
    plain = _build("mnist", variant, activation=activation)
    normal = _build("mnist", variant, activation=activation, batch_norm=True)
    names = [layer.name for layer in normal.layers if layer.name.startswith("norm_")]
    assert len(names) == (2 if variant == "dnn" else 3)
    for layer in map(normal.get_layer, names):
        # As after some training: with the first statistics there is next to nothing to fold.
        layer.set_weights([_RNG.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    assert _ops(normal, tmp_path / "normal.tflite") == _ops(plain, tmp_path / "plain.tflite")
    images = _RNG.random((4, 28, 28), dtype=np.float32)
    np.testing.assert_allclose(
        _answers(tmp_path / "normal.tflite", images), np.asarray(normal(images, training=False)), atol=1e-5
    )


def _ops(model: Any, path: Path) -> dict[str, int]:
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return flatbuffer.read(path).op_counts()


def _answers(path: Path, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    edge = Interpreter(str(path))
    (x,), (y,) = edge.get_input_details(), edge.get_output_details()
    edge.resize_tensor_input(x["index"], images.shape)
    edge.allocate_tensors()
    edge.set_tensor(x["index"], images)
    edge.invoke()
    return edge.get_tensor(y["index"]).copy()


HIDDEN = [{"activation": "elu"}, {"dropout": 0.2}, {"batch_norm": True}, {"noise": 0.1}]


@pytest.mark.parametrize("option", HIDDEN)
@pytest.mark.parametrize(("family", "variant"), [("mnist", "linear"), ("dnn", "linear"), ("wide-deep", "wide")])
def test_options_of_hidden_layers_where_there_is_none(family: str, variant: str, option: dict[str, Any]) -> None:
    flag = {"noise": "gaussian-noise", "batch_norm": "batch-norm"}.get(*option, *option)
    with pytest.raises(UsageError, match=rf"--{flag} does nothing: {family} {variant} has no hidden layer"):
        _build(family, variant, spec=TABLE if family != "mnist" else None, **option)


@pytest.mark.parametrize("option", [{"l1": 0.1}, {"l2": 0.1}, {"max_norm": 1.0}])
def test_a_wide_part_alone_has_no_kernel_to_penalise(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="does nothing: wide-deep wide"):
        _build("wide-deep", "wide", spec=TABLE, **option)


@pytest.mark.parametrize(
    ("family", "variant", "why"),
    [("dnn", "dnn", "no images"), ("wide-deep", "deep", "no images"), ("autoencoder", "dense", "would not move along")],
)
def test_only_images_that_are_classified_can_be_moved(family: str, variant: str, why: str) -> None:
    task = IMAGES if family == "autoencoder" else DIGITS
    with pytest.raises(UsageError, match=rf"--augment does nothing: .*{why}"):
        _build(family, variant, task, None if family == "autoencoder" else TABLE, augment=True)


def test_dropout_needs_a_dense_layer() -> None:
    with pytest.raises(UsageError, match="--dropout does nothing: autoencoder conv"):
        _build("autoencoder", "conv", IMAGES, dropout=0.2)


@pytest.mark.slow
def test_augmented_training_still_learns(tmp_path: Path) -> None:
    found = exported.train(tmp_path, augment=True, noise=0.05, batch_norm=True, dropout=0.1, epochs=8)
    assert found.metrics["accuracy"] > 0.9
