"""Training health: every failure provoked and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.networks import LABELS, WIDTH, X, fitted, network, sgd, watcher

from toolkit.errors import CheckFailed

pytestmark = pytest.mark.slow


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Any]:
    return watcher(tmp_path)


def test_vanishing_gradients_are_named_with_the_first_layer_and_said_once(watched: Any) -> None:
    model = network(10, activation="sigmoid")
    callback = watched(model)
    fitted(model, [callback])
    (found,) = callback.findings
    assert (found.kind, found.layer, found.epoch) == ("vanishing", "hidden_1", 1)
    assert found.value < 4.0**-9  # ten sigmoids: nine slopes of 1/4 at most
    assert callback.said == [found.line]
    assert found.line.startswith("layer hidden_1: vanishing gradients in epoch 1: ")
    assert "of what reaches hidden_10 reaches it; use relu with he_normal, or batch normalization" in found.line
    assert "\n" not in found.line


# What the remedy of vanishing gradients says. Without the probe's own moments, batch normalization would do nothing
# before the first step.
@pytest.mark.parametrize(
    "remedied", [{"normed": True, "activation": "sigmoid"}, {"kernel_initializer": "he_normal"}], ids=["norm", "he"]
)
def test_the_remedies_of_vanishing_gradients_help(watched: Any, remedied: dict[str, Any]) -> None:
    model = network(10, **remedied)
    callback = watched(model)
    fitted(model, [callback])
    assert callback.findings == []


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_network_is_left_alone_even_when_it_has_converged(watched: Any, seed: int) -> None:
    model = network(3, seed=seed)
    callback = watched(model)
    model = fitted(model, [callback], epochs=60)
    assert model.evaluate(X, LABELS, verbose=0) < 0.05
    assert callback.findings == []
    assert callback.said == []


def test_large_first_weights_explode_before_the_first_step(watched: Any) -> None:
    import tf_keras

    model = network(10)
    for layer in model.layers[1:-1]:
        layer.kernel.assign(tf_keras.initializers.RandomNormal(stddev=1.0, seed=3)(layer.kernel.shape))
    callback = watched(model, learning_rate=0.01)
    callback.on_train_begin()
    (found,) = callback.findings
    assert (found.kind, found.layer, found.epoch) == ("exploding", "hidden_1", 0)
    assert "exploding gradients before the first step" in found.line
    assert "lower the learning rate (it was 0.01), clip the gradients, or start with smaller weights" in found.line


def test_a_huge_learning_rate_explodes_by_growth(watched: Any) -> None:
    import tf_keras

    model = network(2)
    callback = watched(model, learning_rate=3.0)
    fitted(model, [callback], epochs=1, optimizer=tf_keras.optimizers.Adam(3.0))
    kinds = {f.kind: f for f in callback.findings}
    assert kinds["exploding"].layer in ("hidden_1", "hidden_2", "classes")
    assert kinds["exploding"].value > 100
    assert "times what the whole gradient's was before; lower the learning rate (it was 3)" in kinds["exploding"].line
    assert len(callback.said) == len({(f.kind, f.layer) for f in callback.findings})


def test_stop_raises_the_finding(watched: Any) -> None:
    model = network(10, activation="sigmoid")
    callback = watched(model, stop=True)
    with pytest.raises(CheckFailed, match="layer hidden_1: vanishing gradients") as stopped:
        fitted(model, [callback])
    assert stopped.value.exit_code == 1
    assert [f.line for f in callback.findings] == [str(stopped.value)]
    assert callback.said == []


def test_dead_relus_are_named_wherever_they_are(watched: Any) -> None:
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    def dead(x: Any, name: str, **options: Any) -> Any:
        return layers.Dense(10, bias_initializer=tf_keras.initializers.Constant(-100.0), name=name, **options)(x)

    inner_input = tf_keras.Input((8,))
    inner = tf_keras.Model(inner_input, dead(inner_input, "deep", activation="relu"), name="inner")
    x = tf_keras.Input((8,), name="x")
    ends = [
        inner(x),
        dead(x, "six", activation="relu6"),
        layers.ReLU(name="layer")(dead(x, "before")),
        tf.nn.relu(dead(x, "before_operator")),
        layers.LeakyReLU(name="leaky")(dead(x, "before_leaky")),
        layers.Dense(10, activation="relu", name="alive")(x),
    ]
    model = tf_keras.Model(x, layers.Dense(4, activation="softmax")(layers.Concatenate()(ends)))
    callback = watched(model, learning_rate=0.5)
    callback.on_train_begin()
    assert {(f.kind, f.value) for f in callback.findings} == {("dead_relu", 1.0)}
    names = {f.layer for f in callback.findings}
    assert names >= {"inner/deep", "six", "layer"}
    assert len(names) == 4  # the operator's name is Keras's own
    line = next(f.line for f in callback.findings if f.layer == "inner/deep")
    assert "100% of its units never fire; lower the learning rate (it was 0.5), start its biases at 0" in line
    assert callback.record()["dead_relu_share"]["alive"] < 0.5


def test_a_unit_that_fires_anywhere_in_the_sample_is_alive(watched: Any) -> None:
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((8,), name="x")
    filters = layers.Conv1D(5, 1, activation="relu", name="filters")(layers.Reshape((8, 1))(x))
    model = tf_keras.Model(x, layers.Dense(4, activation="softmax")(layers.Flatten()(filters)))
    once = np.full((300, 8), -1.0, np.float32)
    once[17, 3] = 2.0
    bias = np.array([0, 0, -100, -100, -1.9], np.float32)
    model.get_layer("filters").set_weights([np.ones((1, 1, 5), np.float32), bias])
    callback = watched(model, inputs={"x": once}, labels=LABELS)
    callback.on_train_begin()
    assert callback.record()["dead_relu_share"] == {"filters": pytest.approx(0.4)}
    assert callback.findings == []


def test_a_penalty_on_the_dead_layer_is_in_the_remedy(watched: Any) -> None:
    model = network(2, kernel_regularizer="l1")
    model.get_layer("hidden_2").bias.assign(np.full(WIDTH, -100.0))
    callback = watched(model)
    callback.on_train_begin()
    (found,) = callback.findings
    assert "weaken its penalty" in found.line


# The step of batch 1 makes weights of 1e30: the probe after it sees what batch 2 would.
def test_a_nan_loss_names_epoch_batch_layer_and_remedy(watched: Any) -> None:
    model = network(2)
    callback = watched(model, learning_rate=1e30)
    with pytest.raises(CheckFailed) as stopped:
        fitted(model, [callback], optimizer=sgd(1e30))
    line = str(stopped.value)
    assert line.startswith("training: the loss became nan in epoch 1, batch 1, the largest gradient was last in layer ")
    assert line.endswith("; lower the learning rate (it was 1e+30), or clip the gradients")
    (found,) = callback.findings
    assert (found.kind, found.epoch, found.line) == ("nan_loss", 1, line)
    assert found.layer in line
    json.dumps(callback.record(), allow_nan=False)


def test_a_loss_that_breaks_between_probes_is_seen_in_the_logs(watched: Any) -> None:
    model = network(1)
    callback = watched(model)
    callback.on_train_begin()
    largest = max(callback.record()["gradient_norm"].items(), key=lambda item: item[1])[0]
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(0, {"loss": 1.0})
    callback.on_train_batch_end(1, {"loss": np.float32(1.0)})
    with pytest.raises(CheckFailed, match=rf"became nan in epoch 1, batch 3, .* in layer {largest};"):
        callback.on_train_batch_end(2, {"loss": float("nan")})
    callback.on_epoch_end(0, {})
    callback.on_epoch_begin(1)
    with pytest.raises(CheckFailed, match=r"became inf \(exploding gradients\) in epoch 2, batch 1,"):
        callback.on_train_batch_end(0, {"loss": float("inf")})
    with pytest.raises(CheckFailed, match="became nan in epoch 2, the largest"):
        callback.on_epoch_end(1, {"loss": float("nan")})
    assert [f.kind for f in callback.findings] == ["nan_loss", "exploding", "nan_loss"]


def test_broken_inputs_are_not_blamed_on_the_learning_rate(watched: Any) -> None:
    broken = X.copy()
    broken[5, 2] = np.nan
    callback = watched(network(0), inputs={"x": broken})
    with pytest.raises(CheckFailed, match="became nan before the first step; look for NaN") as stopped:
        callback.on_train_begin()
    assert "learning rate" not in str(stopped.value)
    # relu(NaN) is 0 on a CPU, and the loss finite; the gradient is not.
    hiding = watched(network(1), inputs={"x": broken})
    hiding.on_train_begin()
    (found,) = hiding.findings
    assert (found.kind, found.layer) == ("exploding", "hidden_1")
    assert "the norm of its gradient is nan; look for NaN" in found.line


def test_a_gradient_that_is_no_number_behind_a_finite_loss_is_named(watched: Any) -> None:
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((8,), name="x")
    first = layers.Dense(4, name="first")(x)
    zero = layers.Dense(4, kernel_initializer="zeros", name="second")(first)
    rooted = layers.Lambda(tf.sqrt)(zero)  # slope infinite at 0
    callback = watched(tf_keras.Model(x, layers.Dense(4, activation="softmax", name="last")(rooted)))
    callback.on_train_begin()
    (found,) = callback.findings
    assert (found.kind, found.layer) == ("exploding", "second")
    assert "the norm of its gradient is" in found.line
