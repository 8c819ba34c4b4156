"""Dead units out: random networks with dead units answer as before, and have as few units as they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "linear", "swish")


def killed(model: Any, rng: np.random.Generator, share: float) -> None:
    """Zeroes the incoming or the outgoing weights of some units of every layer."""
    for layer in model.layers:
        weights = layer.get_weights()
        name = type(layer).__name__
        if name in ("Conv2D", "Dense"):
            units = rng.random(weights[0].shape[-1]) < share
            inputs = rng.random(weights[0].shape[-2]) < share / 2
            weights[0][..., units] = 0
            weights[0][..., inputs, :] = 0
            weights[1] = rng.standard_normal(weights[1].shape)
        elif name == "DepthwiseConv2D":
            weights[0][:, :, rng.random(weights[0].shape[2]) < share] = 0
            weights[1] = rng.standard_normal(weights[1].shape)
        elif name == "BatchNormalization":
            weights = [rng.random(w.shape) + 0.1 for w in weights]
            weights[0][rng.random(len(weights[0])) < share / 2] = 0
        elif name == "PReLU":
            weights = [rng.random(w.shape) for w in weights]
        layer.set_weights(weights)


def network(choose: Any, rng: np.random.Generator) -> Any:
    """A random small network of convolutions with branches, or of dense layers."""
    import tf_keras
    from tf_keras import layers

    def pick(*options: Any) -> Any:
        return choose(st.sampled_from(options))

    tf_keras.backend.clear_session()
    if pick(True, False):
        x = given_ = tf_keras.Input((7, 6, 3), name="image")
        for _ in range(pick(1, 2)):
            x = layers.Conv2D(pick(4, 8), pick(1, 3), padding=pick("same", "valid"), activation=pick(*ACTIVATIONS))(x)
            kind = pick("none", "norm", "depthwise", "pool", "prelu", "pad", "noise", "relu")
            if kind == "norm":
                x = layers.BatchNormalization()(x)
            elif kind == "depthwise":
                x = layers.DepthwiseConv2D(pick(1, 3), padding="same", depth_multiplier=pick(1, 2), activation="relu")(
                    x
                )
            elif kind == "pool":
                x = pick(layers.MaxPooling2D, layers.AveragePooling2D)(2, padding="same")(x)
            elif kind == "prelu":
                x = layers.PReLU(shared_axes=[1, 2])(x)
            elif kind == "pad":
                x = layers.ZeroPadding2D(1)(x)
            elif kind == "noise":
                x = layers.GaussianNoise(0.1)(x)
            elif kind == "relu":
                x = layers.ReLU(6.0)(x)
        if pick(True, False):
            width = int(x.shape[-1])
            left, right = (layers.Conv2D(width, 1, activation=pick(*ACTIVATIONS))(x) for _ in range(2))
            x = layers.Add()([left, right, x] if pick(True, False) else [left, right])
        if pick(True, False):
            x = layers.Concatenate()([x, layers.Conv2D(4, 1, activation="relu")(x)])
        x = pick(layers.Flatten, layers.GlobalAveragePooling2D)()(x)
    else:
        x = given_ = tf_keras.Input((9,), name="x")
    for _ in range(pick(1, 2)):
        x = layers.Dense(pick(6, 12), activation=pick(*ACTIVATIONS))(x)
    answer = layers.Dense(3, activation=pick("softmax", "linear"), name="answer")(x)
    model = tf_keras.Model(given_, {"answer": answer} if pick(True, False) else answer, name="random")
    killed(model, rng, pick(0.0, 0.3, 0.7))
    return model


def answers(model: Any, inputs: np.ndarray) -> np.ndarray:
    found = model(inputs, training=False)
    return np.asarray(found["answer"] if isinstance(found, dict) else found)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), seed=st.integers(0, 2**31), multiple=st.sampled_from([1, 4]))
def test_the_smaller_network_answers_as_before(data: st.DataObject, seed: int, multiple: int) -> None:
    from converters import compaction

    rng = np.random.default_rng(seed)
    model = network(data.draw, rng)
    inputs = rng.standard_normal((5, *model.inputs[0].shape[1:])).astype(np.float32)
    before = answers(model, inputs)
    smaller = compaction.compact(model, multiple=multiple)
    after = answers(smaller, inputs)
    assert np.abs(after - before).max() <= 1e-5 * max(1.0, np.abs(before).max())
    assert smaller.count_params() <= model.count_params()
    assert (smaller.name, smaller.input_names, smaller.output_names) == (
        model.name,
        model.input_names,
        model.output_names,
    )
    assert {layer.name for layer in smaller.layers} == {layer.name for layer in model.layers}
    assert type(smaller.output) is type(model.output)


def dense(widths: list[int]) -> Any:
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(1)
    x = given_ = tf_keras.Input((10,), name="x")
    for i, width in enumerate(widths):
        x = layers.Dense(width, activation="relu", bias_initializer="random_normal", name=f"hidden_{i}")(x)
    return tf_keras.Model(given_, layers.Dense(2, name="y")(x), name="dense")


def test_units_without_weights_in_or_out_are_gone() -> None:
    from converters import compaction

    model = dense([16, 12])
    first, second = model.get_layer("hidden_0"), model.get_layer("hidden_1")
    kernel, bias = first.get_weights()
    kernel[:, :5] = 0  # five constants
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[5:8] = 0  # three that are not heard
    kernel[:, 0] = 0
    second.set_weights([kernel, bias])
    smaller = compaction.compact(model)
    assert compaction.hidden(smaller) == {"hidden_0": 8, "hidden_1": 11}
    assert compaction.hidden(compaction.compact(model, multiple=8)) == {"hidden_0": 8, "hidden_1": 12}
    inputs = np.random.default_rng(0).standard_normal((20, 10)).astype(np.float32)
    np.testing.assert_allclose(answers(smaller, inputs), answers(model, inputs), atol=1e-5)


def test_a_constant_at_a_padded_border_stays() -> None:
    import tf_keras
    from tf_keras import layers

    from converters import compaction

    image = tf_keras.Input((5, 5, 1), name="image")
    x = layers.Conv2D(4, 3, activation="relu", padding="same", name="first")(image)
    x = layers.Conv2D(3, 3, padding="same", name="second")(x)
    model = tf_keras.Model(image, layers.Flatten()(x))
    kernel, _ = model.get_layer("first").get_weights()
    kernel[..., :2] = 0
    # One constant is 0 behind its relu, the other is 1 inside and 0 around the picture.
    model.get_layer("first").set_weights([kernel, np.array([-1.0, 1.0, 0.1, 0.1])])
    smaller = compaction.compact(model)
    assert compaction.hidden(smaller)["first"] == 3
    inputs = np.random.default_rng(0).standard_normal((2, 5, 5, 1)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(smaller(inputs)), np.asarray(model(inputs)), atol=1e-5)


def test_what_is_not_understood_keeps_everything() -> None:
    import tf_keras
    from tf_keras import layers

    from converters import compaction

    x = tf_keras.Input((10,), name="x")
    shared = layers.Dense(10, activation="relu", name="shared")
    h = shared(shared(layers.Dense(10, name="before")(x)))
    model = tf_keras.Model(x, layers.Dense(1, name="y")(layers.LayerNormalization(name="norm")(h)))
    for layer in model.layers:
        if type(layer).__name__ == "Dense":
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    assert compaction.hidden(compaction.compact(model)) == {"before": 10, "shared": 10}


def test_a_network_that_is_dead_altogether_keeps_one_unit() -> None:
    from converters import compaction

    model = dense([6])
    model.get_layer("hidden_0").set_weights([np.zeros((10, 6)), np.ones(6)])
    smaller = compaction.compact(model)
    assert compaction.hidden(smaller) == {"hidden_0": 1}
    inputs = np.ones((3, 10), np.float32)
    np.testing.assert_allclose(answers(smaller, inputs), answers(model, inputs), atol=1e-5)


def test_a_layer_with_several_outputs_of_different_widths_keeps_them() -> None:
    """As the feature columns' layer has them: a dict of what goes deep and what goes wide."""
    import tf_keras
    from fakes import features as made_up
    from tf_keras import layers

    from converters import compaction
    from toolkit.features import encode
    from toolkit.features.layer import feature_layer, keras_inputs

    tf_keras.backend.clear_session()
    spec = made_up.eight_inputs()
    inputs = keras_inputs(spec)
    parts = feature_layer(spec)(inputs)
    hidden = layers.Dense(12, activation="relu", name="hidden")(parts["deep"])
    model = tf_keras.Model(inputs, {"y": layers.Dense(1, name="out")(hidden) + parts["wide"]})
    rng = np.random.default_rng(0)
    kernel, _ = model.get_layer("hidden").get_weights()
    kernel[:, 3:9] = 0
    model.get_layer("hidden").set_weights([kernel, rng.standard_normal(12)])
    smaller = compaction.compact(model)
    assert compaction.hidden(smaller)["hidden"] == 6
    rows = encode(spec, made_up.adversarial(200, 5))
    expected, found = (np.asarray(m(rows)["y"]) for m in (model, smaller))
    finite = np.isfinite(expected)
    assert finite.any()
    assert np.array_equal(np.isfinite(found), finite)
    assert np.abs(found[finite] - expected[finite]).max() <= 1e-5 * max(1, np.abs(expected[finite]).max())
