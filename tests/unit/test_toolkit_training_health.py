"""Training health: every failure provoked and named, and silence where training is well."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import CheckFailed
from toolkit.features import Crossed, FeatureSpec, HashBucket, Identity, Numeric
from toolkit.features.layer import feature_layer, keras_inputs
from toolkit.training import health

pytestmark = pytest.mark.slow

WIDTH = 32
ROWS = 640
X = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
LABELS = (2 * (X[:, 0] > 0) + (X[:, 1] + X[:, 2] > 0)).astype(np.int64)


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Any]:
    """Makes a callback for a model; what it warns of is its ``said``."""

    def make(model: Any, *, loss: Any = None, inputs: Any = None, labels: Any = LABELS, **options: Any) -> Any:
        import tf_keras

        said: list[str] = []
        sample = {name: v[:256] for name, v in (inputs or {"x": X}).items()}, labels[:256]
        loss = loss or tf_keras.losses.SparseCategoricalCrossentropy()
        callback = health.monitor(model, loss=loss, probe=sample, logs=tmp_path, warn=said.append, **options)
        callback.said = said
        return callback

    return make


def network(
    hidden: int, *, activation: str = "relu", normed: bool = False, dropout: float = 0.0, **options: Any
) -> Any:
    """``x`` to four classes through ``hidden`` layers ``hidden_1``, …; ``options`` are the layers'."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(options.pop("seed", 0))
    x = given = tf_keras.Input((8,), name="x")
    for i in range(1, hidden + 1):
        x = layers.Dense(WIDTH, activation=activation, name=f"hidden_{i}", **options)(x)
        x = layers.BatchNormalization(name=f"norm_{i}")(x) if normed else x
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x) if dropout else x
    return tf_keras.Model(given, layers.Dense(4, activation="softmax", name="classes")(x))


def fitted(model: Any, callbacks: list[Any], *, epochs: int = 2, optimizer: Any = "adam", x: Any = X) -> Any:
    """The model after ``epochs`` of ``fit``: 20 batches of 32 each."""
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(x, LABELS, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def sgd(learning_rate: float) -> Any:
    import tf_keras

    return tf_keras.optimizers.SGD(learning_rate)


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
