"""Training health: silence where training is well, what is recorded, and the thresholds."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.networks import ROWS, fitted, network, watcher

from toolkit.features import Crossed, FeatureSpec, HashBucket, Identity, Numeric
from toolkit.features.layer import feature_layer, keras_inputs
from toolkit.training import health

pytestmark = pytest.mark.slow


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Any]:
    return watcher(tmp_path)


def wide_and_deep() -> tuple[Any, dict[str, np.ndarray], np.ndarray]:
    """A model like the family's, its raw rows, and what they cost."""
    import tf_keras
    from tf_keras import layers

    spec = FeatureSpec(
        label="fare",
        columns=(
            Numeric(name="miles", mean=3.0, std=2.0),
            Identity(name="hour", size=24, embedding=3),
            HashBucket(name="area", dtype="integer", size=500, embedding=4),
            Crossed(name="area_at_hour", of=("area", "hour"), size=2000),
        ),
    )
    rng = np.random.default_rng(1)
    rows = {
        "miles": rng.gamma(2, 1.5, ROWS).astype(np.float32),
        "hour": rng.integers(0, 24, ROWS).astype(np.int32),
        "area": rng.integers(0, 90, ROWS).astype(np.int32),
    }
    fares = (2 + rows["miles"] + 0.1 * rows["hour"] + (rows["area"] % 3)).astype(np.float32)
    inputs = keras_inputs(spec)
    parts = feature_layer(spec, embedding_regularizer=tf_keras.regularizers.L2(1e-5))(inputs)
    x = layers.Dense(32, activation="relu", name="hidden_1")(parts["deep"])
    x = layers.Dense(16, activation="relu", name="hidden_2")(x)
    fare = layers.Add(name="fare")([layers.Dense(1, name="deep")(x), parts["wide"]])
    return tf_keras.Model(inputs, {"fare": fare}), rows, fares[:, None]


def by_hand(model: Any, callback: Any, rows: Any, fares: Any, *, l1: float, epochs: int = 4) -> None:
    """A loop of one's own: FTRL for the wide weights, Adam for the others, the callback in a ``CallbackList``."""
    import tensorflow as tf
    import tf_keras

    wide = model.get_layer("features").wide_variables
    deep = [v for v in model.trainable_variables if all(v is not w for w in wide)]
    ftrl = tf_keras.optimizers.Ftrl(0.1, l1_regularization_strength=l1)
    adam = tf_keras.optimizers.Adam(5e-3)

    @tf.function
    def step(batch: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            errors = model(batch, training=True)["fare"] - labels
            loss = tf.reduce_mean(tf.square(errors)) + tf.add_n(model.losses)
        gradients = tape.gradient(loss, [*wide, *deep])
        ftrl.apply_gradients(zip(gradients[: len(wide)], wide, strict=True))
        adam.apply_gradients(zip(gradients[len(wide) :], deep, strict=True))
        return loss

    callbacks = tf_keras.callbacks.CallbackList([callback], model=None)
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for batch, start in enumerate(range(0, ROWS, 64)):
            part = {name: tf.constant(values[start : start + 64]) for name, values in rows.items()}
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, {"loss": step(part, tf.constant(fares[start : start + 64]))})
        callbacks.on_epoch_end(epoch, {})
    callbacks.on_train_end()


@pytest.mark.parametrize("seed", range(3))
def test_wide_and_deep_trained_by_hand_is_left_alone(watched: Any, seed: int) -> None:
    import tf_keras

    tf_keras.utils.set_random_seed(seed)
    model, rows, fares = wide_and_deep()
    callback = watched(model, loss=tf_keras.losses.MeanSquaredError(), inputs=rows, labels=fares)
    by_hand(model, callback, rows, fares, l1=0.01)
    assert callback.findings == []
    zeros = callback.record()["zero_share"]
    assert 0.2 < zeros["features/wide"] < 1  # cells that no row is in
    assert zeros["features/embedding_hour"] == 0


def test_an_l1_that_leaves_nothing_of_a_kernel_is_named(watched: Any) -> None:
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    model, rows, fares = wide_and_deep()
    callback = watched(model, loss=tf_keras.losses.MeanSquaredError(), inputs=rows, labels=fares)
    by_hand(model, callback, rows, fares, l1=1e4, epochs=3)
    (found,) = callback.findings
    assert (found.kind, found.layer, found.epoch, found.value) == ("zero_kernel", "features/wide", 1, 1.0)
    assert callback.said == [found.line]
    assert "layer features/wide: zero weights in epoch 1: every weight is zero; weaken the L1 penalty" in found.line


def test_norms_are_those_of_the_dense_gradient(watched: Any) -> None:
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    model, rows, fares = wide_and_deep()
    features = model.get_layer("features")
    features.wide.assign(np.random.default_rng(2).normal(size=features.wide.shape))
    callback = watched(model, loss=tf_keras.losses.MeanSquaredError(), inputs=rows, labels=fares)
    callback.on_train_begin()
    # Many rows share an hour: the parts of a sparse gradient that meet in a row of the table add up.
    with tf.GradientTape() as tape:
        answers = model({name: v[:256] for name, v in rows.items()})["fare"]
        loss = tf.reduce_mean(tf.square(answers - fares[:256])) + tf.add_n(model.losses)
    weights = [*features.trainable_weights, *model.get_layer("hidden_1").trainable_weights]
    dense = [np.asarray(tf.convert_to_tensor(g), np.float64) for g in tape.gradient(loss, weights)]
    norm = {
        "features": np.sqrt(sum((g**2).sum() for g in dense[:-2])),
        "hidden_1": np.hypot(*map(np.linalg.norm, dense[-2:])),
    }
    record = callback.record()
    for name, expected in norm.items():
        assert record["gradient_norm"][name] == pytest.approx(expected, rel=1e-4)
        length = np.sqrt(
            sum((w.numpy().astype(np.float64) ** 2).sum() for w in model.get_layer(name).trainable_weights)
        )
        assert record["gradient_over_weights"][name] == pytest.approx(expected / length, rel=1e-4)


def test_training_comes_to_the_same_bits_with_and_without(watched: Any) -> None:
    def trained(watch: bool) -> tuple[list[np.ndarray], Any]:
        model = network(2, normed=True, dropout=0.5, seed=4)
        fitted(model, [watched(model)] if watch else [])
        return model.get_weights(), model

    (alone, _), (along, model) = trained(False), trained(True)
    assert all(np.array_equal(a, b) for a, b in zip(alone, along, strict=True))
    assert all("call" not in vars(layer) for layer in model.layers)


def test_a_look_drops_nothing(watched: Any) -> None:
    dropping, whole = network(2, dropout=0.5), network(2)
    whole.set_weights(dropping.get_weights())
    records = []
    for model in (dropping, whole):
        callback = watched(model)
        callback.on_train_begin()
        records.append(callback.record())
    assert records[0]["gradient_norm"] == pytest.approx(records[1]["gradient_norm"], rel=1e-5)


# Keras refuses a loss that takes its own mean there, though fit takes it.
def test_a_model_of_a_distribution_strategy_is_measured_like_any_other(watched: Any) -> None:
    import tensorflow as tf
    import tf_keras

    def measured(scope: Any) -> dict[str, Any]:
        loss = tf_keras.losses.SparseCategoricalCrossentropy()
        with scope:
            model = network(2, normed=True, seed=4)
        callback = watched(model, loss=loss)
        before = model.get_weights()
        callback.on_train_begin()
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
        assert loss.reduction == "auto"
        return callback.record()

    alone, spread = (measured(s) for s in (contextlib.nullcontext(), tf.distribute.MirroredStrategy(["CPU:0"]).scope()))
    for chart in ("gradient_norm", "arriving_gradient_norm", "dead_relu_share"):
        assert spread[chart] == pytest.approx(alone[chart], rel=1e-5)


def test_tensorboard_holds_the_scalars_by_step(watched: Any, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    model = network(2)
    callback = watched(model)
    fitted(model, [callback], epochs=2)
    events = EventAccumulator(str(tmp_path / "health"))
    events.Reload()
    layers = ("hidden_1", "hidden_2", "classes")
    expected = {f"{chart}/{name}" for chart in ("gradient_norm", "gradient_over_weights") for name in layers}
    expected |= {f"{chart}/{name}" for chart in ("arriving_gradient_norm", "dead_relu_share") for name in layers[:2]}
    expected |= {f"zero_share/{name}/kernel" for name in layers} | {"loss"}
    assert set(events.Tags()["tensors"]) == expected
    for tag in expected - {"loss"}:
        shown = events.Tensors(tag)
        assert [e.step for e in shown] == [0, 1, 10, 20, 40]
        chart, name = tag.split("/", 1)
        last = float(tensor_util.make_ndarray(shown[-1].tensor_proto))
        assert last == pytest.approx(callback.record()[chart][name], rel=1e-6)


def test_the_hundredth_batch_is_probed_in_the_first_epoch_only(watched: Any, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    callback = watched(network(1))
    callback.on_train_begin()
    for epoch in (7, 8):  # as when training goes on
        callback.on_epoch_begin(epoch)
        for batch in range(100):
            callback.on_train_batch_end(batch, {"loss": 1.0})
        callback.on_epoch_end(epoch, {"loss": 1.0})
    callback.on_train_end()
    events = EventAccumulator(str(tmp_path / "health"))
    events.Reload()
    assert [e.step for e in events.Tensors("loss")] == [0, 1, 10, 100, 200]  # the epoch's end is its last batch's


def vitals(step: int, **changed: Any) -> Any:
    """Two hidden layers that are well."""
    well = {
        "epoch": 1,
        "loss": 1.0,
        "gradients": {"first": 1.0, "last": 1.0, "out": 1.0},
        "weights": {"first": 5.0, "last": 5.0, "out": 5.0},
        "arriving": {"first": 0.1, "last": 0.1},
        "dead": {"first": 0.0, "last": 0.0},
        "zeros": {"first/kernel": 0.0},
    }
    return health.Vitals(step=step, **{**well, **changed})


def kinds(*course: Any) -> list[str]:
    return [f.kind for f in health.diagnose(course[-1], course[:-1], 1e-3)]


def test_vanishing_takes_two_probes_a_gradient_and_living_units() -> None:
    gone = {"first": 1e-5, "last": 0.1}
    assert kinds(vitals(0, arriving=gone), vitals(1, arriving=gone)) == ["vanishing"]
    assert kinds(vitals(0), vitals(1, arriving=gone)) == []
    assert kinds(vitals(0, arriving=gone)) == []
    # Converged: small all over; and so small that float32 has nothing left.
    small = {"first": 2e-9, "last": 1e-9}
    assert kinds(vitals(0, arriving=small), vitals(1, arriving=small)) == []
    nothing = {"first": 0.0, "last": 1e-20}
    assert kinds(vitals(0, arriving=nothing), vitals(1, arriving=nothing)) == []
    # A dead layer in between is the finding.
    dead = {"arriving": gone, "dead": {"first": 0.0, "last": 1.0}}
    assert kinds(vitals(0, **dead), vitals(1, **dead)) == ["dead_relu"]
    alone = {"first": 1e-5}
    assert kinds(vitals(0, arriving=alone), vitals(1, arriving=alone)) == []


def test_exploding_takes_a_loss_no_lower_and_a_gradient_above_the_weights() -> None:
    grown = {"first": 1.0, "last": 600.0, "out": 1.0}
    assert kinds(vitals(0), vitals(1, gradients=grown)) == ["exploding"]
    assert kinds(vitals(0), vitals(1, gradients=grown, loss=0.9)) == []
    assert kinds(vitals(0), vitals(1, gradients=grown, weights=dict.fromkeys(grown, 700.0))) == []
    assert kinds(vitals(0), vitals(1, gradients={**grown, "last": 100.0})) == []
    assert kinds(vitals(0, gradients=grown)) == []
    # The middle of the earlier ones counts, not the latest: ten times each time adds up.
    steps = [vitals(i, gradients=dict.fromkeys(grown, 10.0**i)) for i in range(7)]
    assert [kinds(*steps[: i + 1]) for i in range(7)] == [[]] * 4 + [["exploding"]] * 3
    backwards = {"first": 500.0, "last": 0.1}
    assert kinds(vitals(0, arriving=backwards, gradients={**grown, "first": 6.0, "last": 1.0})) == ["exploding"]
    assert kinds(vitals(0, arriving=backwards)) == []


def test_dead_and_zero_have_their_thresholds() -> None:
    for share, expected in ((0.41, []), (0.6, []), (0.61, ["dead_relu"])):
        assert kinds(vitals(0, dead={"first": share})) == expected
    for share, ended in itertools.product((0.999, 1.0), (False, True)):
        found = kinds(vitals(1, zeros={"wide": share}, ended_epoch=ended))
        assert found == (["zero_kernel"] if share == 1 and ended else [])


def test_only_layers_with_a_kernel_are_hidden_ones() -> None:
    from tf_keras import layers

    from toolkit.training import health_layers

    made = {
        "dense": (layers.Dense(3), (None, 4), True),
        "conv": (layers.Conv2D(3, 3), (None, 8, 8, 2), True),
        "prelu": (layers.PReLU(shared_axes=[1, 2]), (None, 8, 8, 2), False),
        "embedding": (layers.Embedding(5, 2), (None, 1), False),
        "norm": (layers.BatchNormalization(), (None, 4), False),
    }
    for name, (layer, shape, hidden) in made.items():
        layer.build(shape)
        assert health_layers.is_hidden(layer) is hidden, name
