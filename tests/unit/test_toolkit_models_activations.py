"""The activations: their formulas and slopes, and that they survive training, saving and every kind of artifact."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import blobs, exported

from devices import runtimes
from toolkit.models import ACTIVATIONS, Layers, _activations, _layers

pytestmark = pytest.mark.slow

WHERE = np.array([-200, -87.5, -20, -3, -1, -0.25, -1e-3, 0, 1e-3, 0.25, 1, 3, 5.5, 20, 87.5, 200], np.float32)
"""Also where exp(x) is infinite in float32, from 88.8 on."""

_ALPHA, _SCALE = 1.6732632423543772, 1.0507009873554805


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "prelu": lambda x: np.where(x > 0, x, 0.25 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: _SCALE * np.where(x > 0, x, _ALPHA * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x]),
    "softplus": lambda x: np.logaddexp(0, x),
    "swish": lambda x: x * _sigmoid(x),
    "relu6": lambda x: np.clip(x, 0, 6),
}


def _alone(name: str) -> Any:
    import tf_keras

    x = tf_keras.Input((1,), name="x")
    return tf_keras.Model(x, _activations.activation(x, name, "answer"))


def test_there_is_a_formula_for_each() -> None:
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula_wherever_float_reaches(name: str) -> None:
    found = np.asarray(_alone(name)(WHERE.reshape(-1, 1)))[:, 0]
    np.testing.assert_allclose(found, FORMULAS[name](WHERE.astype(np.float64)), rtol=1e-5, atol=5e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_its_slope_is_the_formulas(name: str) -> None:
    import tensorflow as tf

    smooth = name in ("linear", "sigmoid", "tanh", "gelu", "softplus", "swish", "elu")
    where = WHERE[WHERE != 0] if not smooth else WHERE
    x = tf.constant(where.reshape(-1, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = _alone(name)(x)
    exact, h = where.astype(np.float64), 1e-6
    wanted = (FORMULAS[name](exact + h) - FORMULAS[name](exact - h)) / (2 * h)
    np.testing.assert_allclose(np.asarray(tape.gradient(y, x))[:, 0], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_edge_answers_as_the_formula_does(name: str) -> None:
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    edge = Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(_alone(name)).convert())
    (x,), (y,) = edge.get_input_details(), edge.get_output_details()
    edge.resize_tensor_input(x["index"], [len(WHERE), 1])
    edge.allocate_tensors()
    edge.set_tensor(x["index"], WHERE.reshape(-1, 1))
    edge.invoke()
    wanted = FORMULAS[name](WHERE.astype(np.float64))
    # Approximations of the runtime's kernels: XNNPACK's of exp, tanh and erf.
    np.testing.assert_allclose(edge.get_tensor(y["index"])[:, 0], wanted, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_names_do_not_depend_on_what_was_built_before(name: str) -> None:
    def build() -> Any:
        import tf_keras

        x = tf_keras.Input((5,), name="x")
        return tf_keras.Model(x, _layers.dense(x, 3, Layers(activation=name), "hidden_1"))

    first, second = build(), build()
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert [w.name for w in first.weights] == [w.name for w in second.weights]
    assert len(set(names)) == len(names)
    assert names[-1] == ("hidden_1" if name == "relu" else "activation_1")


def test_slopes_of_prelu_belong_to_channels_not_to_places() -> None:
    import tf_keras

    image = tf_keras.Input((6, 6, 2), name="image")
    model = tf_keras.Model(image, _layers.conv(image, 5, Layers(activation="prelu"), "conv_5"))
    slopes = model.get_layer("activation_conv_5").weights[0]
    assert tuple(slopes.shape) == (1, 1, 5)
    assert (slopes.numpy() == 0.25).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_it_trains_is_saved_and_becomes_artifacts_that_pass(name: str, tmp_path: Path) -> None:
    found = exported.export(tmp_path / "run", "float32", "int8", activation=name)
    assert found.trained.metrics["accuracy"] > 0.9
    for recipe, artifact in found.artifacts.items():
        assert artifact.gate.passed, found.why(recipe)
        assert not [op for op in artifact.ops if op.startswith(("Flex", "CUSTOM"))]
        if recipe == "int8":
            assert "DEQUANTIZE" not in artifact.ops

    # Loaded by somebody who knows nothing of us, it answers as the file on the edge does.
    images = blobs.dataset().evaluation().inputs["image"]
    cloud = exported.load(found.trained).predict(images, verbose=0)
    edge = _answers(found.run.path(found.artifacts["float32"].path), images)
    np.testing.assert_allclose(edge, cloud, atol=5e-6)

    if runtimes.locate(*runtimes.OLDEST) is None:
        pytest.skip("the oldest runtime is not installed")
    floors = {recipe: list(artifact.runtime_floor) for recipe, artifact in found.artifacts.items()}
    # Its integer LOG is newer than that.
    oldest = "ai-edge-litert" if name == "softplus" else "tflite-runtime"
    assert floors == {"float32": ["tflite-runtime"], "int8": [oldest]}


@pytest.mark.parametrize("name", ["elu", "selu", "softplus", "prelu"])
@pytest.mark.parametrize("variant", ["one-hidden", "cnn"])
def test_pruning_and_int8_take_what_is_made_of_several_operators(name: str, variant: str, tmp_path: Path) -> None:
    found = exported.export(tmp_path / "run", "pruned_int8", activation=name, variant=variant, batch_norm=True)
    assert found.artifacts["pruned_int8"].gate.passed, found.why("pruned_int8")


@pytest.mark.parametrize("name", ["elu", "selu", "softplus"])
def test_sixteen_bits_too(name: str, tmp_path: Path) -> None:
    found = exported.export(tmp_path / "run", "int16x8", activation=name)
    assert found.artifacts["int16x8"].gate.passed, found.why("int16x8")


@pytest.mark.parametrize("name", ["elu", "softplus", "prelu"])
def test_a_loop_of_our_own_trains_it_alike(name: str, tmp_path: Path) -> None:
    fits = exported.train(tmp_path / "fit", activation=name)
    ours = exported.train(tmp_path / "custom", activation=name, loop="custom")
    for a, b in zip(exported.load(fits).get_weights(), exported.load(ours).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def _answers(path: Path, images: np.ndarray) -> np.ndarray:
    import devices.targets

    return dict(devices.targets.open("cpu").answer(path, {"image": images}).outputs)["probabilities"]
