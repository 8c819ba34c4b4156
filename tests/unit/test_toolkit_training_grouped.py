"""FTRL for the wide table and Adam for the rest in one step, each as if it were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import toolkit.models
from toolkit.features import Crossed, FeatureSpec, Identity, Numeric
from toolkit.models import Blueprint, Layers, Task
from toolkit.training import optimizers
from toolkit.training.options import TrainingOptions

pytestmark = pytest.mark.slow

SPEC = FeatureSpec(
    columns=(
        Numeric(name="size", normalisation="none"),
        Identity(name="hour", size=24, embedding=3),
        Identity(name="day", size=7),
        Crossed(name="hour_day", of=("hour", "day"), size=40),
    ),
    label="price",
)
STEPS = 12


def _model(variant: str = "wide-deep") -> Any:
    import tf_keras

    tf_keras.utils.set_random_seed(4)
    blueprint = Blueprint(
        variant=variant,
        task=Task(kind="regression", label="price", centre=0.0, spread=1.0),
        layers=Layers(),
        spec=SPEC,
        inputs=(),
        module=None,
    )
    return toolkit.models.load("wide-deep").build(blueprint)


def _batches() -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Hours from 6 on and days up to 4: the other ids are never seen."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(STEPS):
        rows = {
            "size": rng.random(16, dtype=np.float32),
            "hour": rng.integers(6, 24, 16).astype(np.int32),
            "day": rng.integers(0, 5, 16).astype(np.int32),
        }
        label = rows["size"] + 3 * (rows["hour"] > 12) - rows["day"]
        found.append((rows, label.reshape(-1, 1).astype(np.float32)))
    return found


def _gradients(model: Any, batch: Any) -> list[Any]:
    import tensorflow as tf

    rows, label = batch
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(tf.square(label - model(rows, training=True)))
    return list(tape.gradient(value, model.trainable_variables))


def _is_wide(model: Any) -> list[bool]:
    wide = {id(v) for layer in model.layers for v in getattr(layer, "wide_variables", [])}
    assert wide
    return [id(v) in wide for v in model.trainable_variables]


def test_the_wide_table_moves_by_ftrl_and_the_rest_by_adam_as_if_alone() -> None:
    import tf_keras

    model, alone = _model(), _model()
    options = TrainingOptions(variant="wide-deep", learning_rate=0.01, wide_learning_rate=0.3, wide_l1=0.05)
    grouped = optimizers.build(model, options, "ftrl+adam")
    wide = _is_wide(alone)
    ftrl = tf_keras.optimizers.Ftrl(0.3, l1_regularization_strength=0.05)
    adam = tf_keras.optimizers.Adam(0.01)
    before = [v.numpy() for v in model.trainable_variables]
    for step, batch in enumerate(_batches(), start=1):
        pairs = list(zip(_gradients(model, batch), model.trainable_variables, strict=True))
        # The very gradients that the grouped optimizer gets.
        given = list(zip([g for g, _ in pairs], alone.trainable_variables, strict=True))
        for optimizer, kind in ((ftrl, True), (adam, False)):
            optimizer.apply_gradients([pair for pair, mine in zip(given, wide, strict=True) if mine is kind])
        grouped.apply_gradients(pairs)
        assert int(grouped.iterations) == step
        for ours, theirs in zip(model.trainable_variables, alone.trainable_variables, strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert (variable.numpy() != old).any(), variable.name


def test_ids_that_were_never_seen_stay_exactly_zero() -> None:
    model = _model()
    options = TrainingOptions(variant="wide-deep", wide_l1=0.0, wide_learning_rate=0.3)
    optimizer = optimizers.build(model, options, "ftrl+adam")
    touched: list[np.ndarray] = []
    for batch in _batches():
        gradients = _gradients(model, batch)
        for gradient, mine in zip(gradients, _is_wide(model), strict=True):
            if mine:
                touched.append(np.abs(np.asarray(_dense(gradient))))
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    (table,) = (v.numpy() for v, mine in zip(model.trainable_variables, _is_wide(model), strict=True) if mine)
    seen = np.sum(touched, axis=0) > 0
    assert 0 < seen.sum() < seen.size
    assert (table[~seen] == 0).all()
    assert (table[seen] != 0).all()


def test_ids_that_are_not_worth_their_l1_stay_exactly_zero_too() -> None:
    def zeros(l1: float) -> int:
        model = _model()
        optimizer = optimizers.build(model, TrainingOptions(variant="wide-deep", wide_l1=l1), "ftrl+adam")
        for batch in _batches():
            optimizer.apply_gradients(zip(_gradients(model, batch), model.trainable_variables, strict=True))
        (table,) = (v.numpy() for v, mine in zip(model.trainable_variables, _is_wide(model), strict=True) if mine)
        return int((table == 0).sum())

    assert zeros(0.0) < zeros(0.5) < zeros(100.0)


def test_a_table_that_nothing_reads_is_left_alone() -> None:
    model = _model("wide")
    optimizer = optimizers.build(model, TrainingOptions(variant="wide"), "ftrl+adam")
    before = [v.numpy() for v in model.trainable_variables]
    gradients = _gradients(model, _batches()[0])
    assert None in gradients
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    for variable, gradient, old in zip(model.trainable_variables, gradients, before, strict=True):
        assert (variable.numpy() == old).all() == (gradient is None)


def test_its_state_is_that_of_both_and_comes_back_from_a_checkpoint(tmp_path: Any) -> None:
    import tensorflow as tf

    options = TrainingOptions(variant="wide-deep")
    model = _model()
    optimizer = optimizers.build(model, options, "ftrl+adam")
    for batch in _batches()[:4]:
        optimizer.apply_gradients(zip(_gradients(model, batch), model.trainable_variables, strict=True))
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(str(tmp_path / "ckpt"))
    fresh = _model()
    other = optimizers.build(fresh, options, "ftrl+adam")
    tf.train.Checkpoint(model=fresh, optimizer=other).restore(path).assert_consumed()
    for batch in _batches()[4:]:
        for m, o in ((model, optimizer), (fresh, other)):
            o.apply_gradients(zip(_gradients(m, batch), m.trainable_variables, strict=True))
    for ours, theirs in zip(model.trainable_variables, fresh.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)
    assert len(optimizer.variables) == len(other.variables) > 3


def _dense(gradient: Any) -> Any:
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)
