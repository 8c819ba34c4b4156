"""Keras 3 models rebuilt in Keras 2: the same answers, names and structure; what cannot be rebuilt is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import bundle, convert, rebuild, saved_model
from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput
from toolkit.progress import Progress
from toolkit.store import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(0)


def _dense(keras: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((6,), name="x"),
            keras.layers.Dense(8, activation="gelu", kernel_regularizer="l1", name="first"),
            keras.layers.Dropout(0.5),
            keras.layers.LeakyReLU(negative_slope=0.2),
            keras.layers.Dense(3, activation="softmax", name="chance"),
        ],
        name="dense",
    )


def _convolutions(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(6.0)(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="silu")(x)
    x = layers.Add()([x, y])
    x = layers.Concatenate()([layers.SeparableConv2D(4, 1)(x), layers.MaxPooling2D(1)(x)])
    x = layers.PReLU(shared_axes=[1, 2])(layers.ZeroPadding2D(1)(x))
    x = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, {"scores": layers.Dense(4, name="scores_layer")(x)}, name="net")


def _operations(keras: Any) -> Any:
    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    shared = keras.layers.Dense(4, activation="tanh", name="shared")
    a, b = shared(left), shared(right)
    return keras.Model(
        [left, right], [keras.layers.Dense(2, name="one")(a + b), keras.layers.Dense(1, name="two")(a * b)]
    )


def _sequences(keras: Any) -> Any:
    layers = keras.layers
    words = keras.Input((7,), dtype="int32", name="words")
    x = layers.Embedding(20, 6)(words)
    x = layers.GRU(5, return_sequences=True)(x)
    return keras.Model(words, layers.Dense(2, name="y")(layers.LSTM(4)(x)), name="sequence")


def _nested(keras: Any) -> Any:
    inside = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="deep")], name="inside")
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="y")(inside(x)), name="outside")


MODELS: dict[str, Callable[[Any], Any]] = {
    "dense": _dense,
    "convolutions": _convolutions,
    "operations": _operations,
    "sequences": _sequences,
    "nested": _nested,
}


def saved(model: Any, folder: Path) -> tuple[Path, Any]:
    """The model's file, its weights other than what they begin with, and the signature of its SavedModel."""
    for layer in model.layers:
        layer.set_weights([RNG.random(w.shape).astype(w.dtype) / 2 + 0.05 for w in layer.get_weights()])
    model.save(folder / "model.keras")
    folder_of = saved_model.export(model, folder / "saved", keras_version=3)
    return folder / "model.keras", saved_model.Loaded(folder_of).signature


@pytest.mark.parametrize("name", MODELS)
def test_it_answers_alike_by_the_same_names(name: str, tmp_path: Path) -> None:
    import keras

    model = MODELS[name](keras)
    path, signature = saved(model, tmp_path)
    made = rebuild.rebuild(path, signature)
    assert type(made).__module__.startswith("tf_keras.")
    assert [layer.name for layer in made.layers if layer.weights] == [
        layer.name for layer in model.layers if layer.weights
    ]
    # It proved itself on inputs of its own; here are others.
    inputs = {
        s.name: RNG.integers(0, 20, (9, *s.shape[1:])).astype(s.dtype)
        if s.dtype.startswith("int")
        else RNG.standard_normal((9, *s.shape[1:])).astype(s.dtype)
        for s in signature.inputs
    }
    expected, found = (saved_model.call(m, inputs, keras_version=v) for m, v in ((model, 3), (made, 2)))
    assert list(found) == list(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, atol=2e-6 * max(1.0, np.abs(values).max()))


def test_fine_tuning_is_open_to_a_keras_3_model(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential(
        [
            keras.Input((32,), name="x"),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(4, activation="softmax", name="chance"),
        ],
        name="three",
    )
    x = RNG.standard_normal((300, 32)).astype(np.float32)
    y = (x[:, 0] > 0) * 2 + (x[:, 1] > 0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=10, verbose=0)
    run = Run(tmp_path / "run")
    path = run.path("bundle", "model.keras")
    path.parent.mkdir()
    model.save(path)
    quiet = Progress(quiet=True)
    made = bundle.create(run, name="three", keras_file=path, keras_version=3, progress=quiet)
    split = Split(inputs={"x": x}, labels=y.astype(np.int64), digest="x")
    job = convert.Conversion(run=run, bundle=made, calibration=split, training=split, progress=quiet)
    found = convert.convert(job, ["float32", "pruned", "qat_int8", "pruned_int8"])
    for artifact in found:
        assert artifact.gate.passed, (artifact.recipe, artifact.gate.checks)
        assert [s.name for s in artifact.signature.inputs] == ["x"]
    assert run.path("parents", "keras2", "model.keras").is_file()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda k, x: k.layers.RMSNormalization(name="odd")(x), "'odd' (RMSNormalization)"),
        (lambda k, x: k.ops.sort(x), "(Sort) cannot be rebuilt in Keras 2: an operation that is no layer"),
        (lambda k, x: k.layers.LayerNormalization(rms_scaling=True, name="odd")(x), "rms_scaling=True"),
    ],
)
def test_what_cannot_be_rebuilt_is_named(build: Any, said: str, tmp_path: Path) -> None:
    import keras

    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="y")(build(keras, x)))
    path, signature = saved(model, tmp_path)
    with pytest.raises(BrokenInput) as caught:
        rebuild.rebuild(path, signature)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
