"""The wide table without its zeros: the same bits as the whole table, from any model that can be rebuilt."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import features as made_up
from fakes.wide import ROWS, SPEC, bits, moderate, sparse, wide_and_deep
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec, HashBucket, Identity, Numeric, encode, transform
from toolkit.features.layer import ROW_LIMIT, feature_layer, keras_inputs, register
from toolkit.features.lowering import sparse_rows
from toolkit.features.wide import compact, compacted, pays

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        yield


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(made_up.specs(), made_up.rows(), st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99))
def test_any_spec_and_any_row_give_the_same_bits(
    spec: FeatureSpec, rows: Any, units: int, share: float, seed: int
) -> None:
    spec = moderate(spec)
    table = sparse(spec, rows, units, share, seed)
    kept = np.flatnonzero(table.any(axis=1))
    encoded = encode(spec, rows)
    layers = feature_layer(spec, wide_units=units), feature_layer(spec, wide_units=units, wide_rows=kept.tolist())
    for layer, values in zip(layers, (table, table[kept]), strict=True):
        layer(encoded)
        layer.wide.assign(values)
    full, small = (layer(encoded)["wide"] for layer in layers)
    assert bits(full) == bits(small)
    assert small.shape[1] == units


def test_rows_that_are_not_there_are_zero_however_large_their_number() -> None:
    rows = np.array([0, 5, ROW_LIMIT - 1], dtype=np.int32)
    values = np.array([[1.0], [np.nan], [3.0]], dtype=np.float32)
    asked = np.array([[0, 1, 4, 5], [6, ROW_LIMIT - 2, ROW_LIMIT - 1, ROW_LIMIT], [2**25 - 1, 2**31 - 1, 5, 0]])
    found = sparse_rows(values, rows, asked.astype(np.int32)).numpy()[..., 0]
    assert np.array_equal(found, [[1, 0, 0, np.nan], [0, 0, 3, 0], [0, 0, np.nan, 1]], equal_nan=True)


def test_a_table_that_nobody_could_hold_whole() -> None:
    spec = FeatureSpec(label="y", columns=(HashBucket(name="h", dtype="integer", size=2**31 - 1),))
    rows = {"h": np.arange(-3_000, 3_000)}
    ids = transform(spec, rows).ids["h"]
    below = np.unique(ids[ids < ROW_LIMIT])
    assert 10 < len(below) < 100
    layer = feature_layer(spec, wide_rows=below.tolist())
    encoded = encode(spec, rows)
    layer(encoded)
    layer.wide.assign(np.arange(1, len(below) + 1, dtype=np.float32)[:, None])
    place = np.searchsorted(below, ids)
    assert np.array_equal(layer(encoded)["wide"].numpy()[:, 0], np.where(ids < ROW_LIMIT, place + 1, 0))


def test_what_is_kept() -> None:
    spec = FeatureSpec(label="y", columns=(Identity(name="a", size=3_000), Identity(name="b", size=1_000)))
    table = np.zeros((4_000, 2), dtype=np.float32)
    table[7] = -0.0
    table[[3, 999]] = [[0, 1e-45], [np.nan, 0]]
    found = compacted(spec, table)
    assert found is not None
    assert found[0].tolist() == [3, 999]
    assert found[0].dtype == np.int32
    assert bits(found[1]) == bits(table[[3, 999]])
    nothing = compacted(spec, np.zeros((4_000, 2), dtype=np.float32))
    assert nothing is not None
    assert [a.tolist() for a in nothing] == [[0], [[0.0, 0.0]]]
    assert compacted(spec, np.ones((4_000, 2), dtype=np.float32)) is None
    with pytest.raises(BrokenInput, match=r"wide table: has shape \[3999, 2\]; this spec's has 4000 rows of units"):
        compacted(spec, table[1:])
    bare = FeatureSpec(label="y", columns=(Identity(name="a", size=3_000, wide=False),))
    assert compacted(bare, np.zeros((0, 1), dtype=np.float32)) is None


def test_a_row_past_what_float32_counts_keeps_the_table_whole() -> None:
    spec = FeatureSpec(label="y", columns=(Identity(name="a", size=ROW_LIMIT + 2),))
    table = np.zeros((ROW_LIMIT + 2, 1), dtype=np.float32)
    table[ROW_LIMIT - 1] = 1
    found = compacted(spec, table)
    assert found is not None
    assert found[0].tolist() == [ROW_LIMIT - 1]
    table[ROW_LIMIT] = 1
    assert compacted(spec, table) is None


def test_a_third_of_the_rows_is_where_it_stops_to_pay() -> None:
    assert pays(21_700, 65_536, 1)
    assert not pays(21_900, 65_536, 1)
    assert pays(54_000, 65_536, 10)
    assert not pays(55_000, 65_536, 10)
    assert not pays(1, 250, 1)  # the operators alone are larger


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "are not a list of row numbers"),
        ([0.5], "are not a list of row numbers"),
        ([[1]], "are not a list of row numbers"),
        ([3, 3], "row 3 stands behind row 3"),
        ([5, 7, 2], "row 2 stands behind row 7"),
        ([-1, 2], "row -1 is not in the wide table; it has 16777300 rows"),
        ([2, 16_777_300], "row 16777300 is not in the wide table"),
        ([2, ROW_LIMIT], "row 16777216 is past what float32 counts"),
    ],
)
def test_rows_that_cannot_be_kept(rows: Any, message: str) -> None:
    spec = FeatureSpec(label="y", columns=(Identity(name="a", size=16_777_300),))
    with pytest.raises(BrokenInput, match=message) as caught:
        feature_layer(spec, wide_rows=rows)
    assert str(caught.value).startswith("wide rows: ")
    assert "\n" not in str(caught.value)


def test_a_model_is_the_same_but_for_the_table(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    table = sparse(SPEC, ROWS, 2, share=0.1, seed=3)
    model = wide_and_deep(SPEC, table)
    small = compact(model)
    encoded = encode(SPEC, ROWS)
    for answers in (lambda m: m(encoded), lambda m: m.predict(encoded, verbose=0)):
        before, after = answers(model), answers(small)
        assert set(before) == set(after) == {"fare", "wide"}
        assert all(bits(before[k]) == bits(after[k]) for k in before)
        assert (np.asarray(after["wide"]) != 0).mean() > 0.05
    assert (small.name, small.input_names, small.output_names) == (model.name, model.input_names, model.output_names)
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    layer, kept = small.get_layer("features"), np.count_nonzero(table.any(axis=1))
    assert [(w.name, w.shape[0]) for w in layer.wide_variables] == [("features/wide:0", kept)]
    assert layer.wide_rows.tolist() == np.flatnonzero(table.any(axis=1)).tolist()
    assert model.get_layer("features").wide.shape[0] == len(table)
    assert compact(small) is small
    small.save(tmp_path / "small.keras")
    register()
    again = tf_keras.models.load_model(tmp_path / "small.keras", safe_mode=False)
    assert again.get_layer("features").get_config() == layer.get_config()
    assert all(bits(v) == bits(again(encoded)[k]) for k, v in small(encoded).items())
    tf.saved_model.save(small, str(tmp_path / "saved"))
    stored = {tuple(v.shape) for v in tf.saved_model.load(str(tmp_path / "saved")).variables}
    assert (kept, 2) in stored
    assert tuple(table.shape) not in stored


def test_a_feature_layer_deep_in_a_model_and_one_that_is_used_twice() -> None:
    import tf_keras

    spec = FeatureSpec(
        label="y",
        columns=(HashBucket(name="h", dtype="integer", size=5_000, embedding=3), Numeric(name="x", mean=0.0, std=1.0)),
    )
    inputs = keras_inputs(spec)
    parts = feature_layer(spec, embedding_regularizer="l2")(inputs)
    inner = tf_keras.Model(inputs, tf_keras.layers.Concatenate()([parts["deep"], parts["wide"]]), name="inner")
    outer = {name: tf_keras.Input(t.shape[1:], name=name, dtype=t.dtype) for name, t in inputs.items()}
    turned = {**outer, "h": tf_keras.layers.Lambda(lambda h: h + 1, name="next")(outer["h"])}
    scale = tf_keras.layers.Normalization(name="scale")  # its state is more than its weights
    scale.adapt(np.random.default_rng(0).normal(3, 5, (99, 5)))
    answer = tf_keras.layers.Dense(1, name="y")(scale(inner(outer)) * inner(turned))
    model = tf_keras.Model(outer, answer, name="outer")
    table = np.zeros((5_000, 1), dtype=np.float32)
    table[::50] = np.random.default_rng(1).normal(size=(100, 1))
    inner.get_layer("features").wide.assign(table)
    small = compact(model)
    rows = {"h": np.arange(20_000, dtype=np.int32), "x": np.linspace(-3, 3, 20_000, dtype=np.float32)}
    assert small is not model
    assert bits(small(rows)) == bits(model(rows))
    assert small.get_layer("inner").get_layer("features").wide.shape == (100, 1)
    assert small.get_layer("inner").get_layer("features").embedding_regularizer.l2 > 0
    inner.get_layer("features").wide.assign(np.ones_like(table))
    assert compact(model) is model


def test_models_in_which_there_is_nothing_to_leave_out() -> None:
    import tf_keras

    columns = (Identity(name="i", size=5_000, indicator=True, wide=False), Identity(name="j", size=2_000))
    for spec, units in ((FeatureSpec(label="y", columns=columns[:1]), 1), (FeatureSpec(label="y", columns=columns), 0)):
        model = tf_keras.Model(ins := keras_inputs(spec), feature_layer(spec, wide_units=units)(ins))
        assert compact(model) is model
    plain = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(2,))])
    assert compact(plain) is plain


def test_a_table_of_nothing_but_zeros() -> None:
    import tf_keras

    spec = FeatureSpec(label="y", columns=(Identity(name="i", size=5_000),))
    model = tf_keras.Model(ins := keras_inputs(spec), feature_layer(spec)(ins))
    small = compact(model)
    assert small.get_layer("features").wide.shape == (1, 1)
    assert not small({"i": np.arange(5_000, dtype=np.int32)})["wide"].numpy().any()


def test_a_model_that_is_not_functional_is_refused_in_one_line() -> None:
    import tf_keras

    spec = FeatureSpec(label="y", columns=(Identity(name="i", size=5_000),))

    class Own(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.features = feature_layer(spec)

        def call(self, inputs: Any) -> Any:
            return self.features(inputs)["wide"]

    model = Own()
    model({"i": np.array([1], dtype=np.int32)})
    chain = tf_keras.Sequential([feature_layer(spec)], name="chain")
    chain({"i": np.array([1], dtype=np.int32)})
    outer = tf_keras.Model(ins := keras_inputs(spec), model(ins), name="outer")
    for refused in (model, chain, outer):
        with pytest.raises(UsageError, match=r"model '(own|chain)': is no functional model") as caught:
            compact(refused)
        assert "\n" not in str(caught.value)


def test_what_is_not_there_does_not_learn() -> None:
    import tensorflow as tf

    spec = FeatureSpec(label="y", columns=(Identity(name="i", size=100),))
    layer = feature_layer(spec, wide_rows=[3, 50])
    rows = {"i": np.array([0, 3, 3, 99], dtype=np.int32)}
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(rows)["wide"])
    assert tf.convert_to_tensor(tape.gradient(total, layer.wide)).numpy().tolist() == [[2.0], [0.0]]


def test_what_ftrl_never_saw_or_did_not_need_is_left_out() -> None:
    import tf_keras

    tf_keras.utils.set_random_seed(3)
    spec = FeatureSpec(label="y", columns=(Identity(name="i", size=5_000),))
    model = tf_keras.Model(ins := keras_inputs(spec), feature_layer(spec)(ins)["wide"])
    rng = np.random.default_rng(6)
    ids = rng.integers(0, 400, 20_000).astype(np.int32)
    labels = np.where(ids < 20, 3.0, 0.0) + rng.normal(0, 0.01, len(ids))  # twenty ids say something
    model.compile(tf_keras.optimizers.legacy.Ftrl(0.5, l1_regularization_strength=0.1), "mse")
    model.fit({"i": ids}, labels, batch_size=500, epochs=3, verbose=0)
    small = compact(model)
    assert 20 <= small.get_layer("features").wide.shape[0] <= 400
    every = {"i": np.arange(5_000, dtype=np.int32)}
    assert bits(small(every)) == bits(model(every))
    assert small(every)[:20].numpy().min() > 1
