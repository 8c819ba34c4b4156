"""The layer in real models: what it sums and gathers, how it trains and is saved, and the file on every runtime."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import features as made_up

from devices import runtimes, targets
from toolkit import flatbuffer
from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec, HashBucket, Identity, Numeric, encode, transform
from toolkit.features.layer import deep_width, feature_layer, keras_inputs, register, wide_slices
from toolkit.features.lowering import lower

pytestmark = pytest.mark.slow

RUNTIMES = (
    "cpu",
    "cpu:xnnpack=off",
    "cpu:runtime=tflite-runtime==2.14.0",
    "cpu:runtime=tflite-runtime==2.14.0,xnnpack=off",
)
SPEC = made_up.eight_inputs()
ROWS = made_up.adversarial(10_000, seed=7)
BUILTIN_BUT_TRAPS = {
    "ABS",
    "LOGICAL_AND",
    "LOGICAL_OR",
    "ONE_HOT",
    "STRIDED_SLICE",
    "HASHTABLE",
    "VAR_HANDLE",
    "CUSTOM",
}


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        yield


def wide_and_deep(spec: FeatureSpec) -> Any:
    """A small wide-and-deep model whose every weight counts."""
    import tf_keras

    tf_keras.utils.set_random_seed(2)
    inputs = keras_inputs(spec)
    parts = feature_layer(spec)(inputs)
    hidden = tf_keras.layers.Dense(16, activation="relu", name="hidden")(parts["deep"])
    deep = tf_keras.layers.Dense(1, name="deep")(hidden)
    model = tf_keras.Model(inputs, tf_keras.layers.Add(name="fare")([deep, parts["wide"]]))
    wide = model.get_layer("features").wide_variables[0]
    wide.assign(np.random.default_rng(4).normal(size=wide.shape))
    return model


@dataclass(frozen=True)
class Files:
    """One model, and its answers with the ids beside them, as SavedModel signature and as files."""

    model: Any
    float32: Path
    float16: Path
    dynamic_range: Path
    encoded: Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A model that puts out ``fare``, ``numeric`` and every id as ``id_NAME``, in three forms of ``.tflite``."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("features")
    model = wide_and_deep(SPEC)
    signature = {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in SPEC.inputs()}

    @tf.function(input_signature=[signature])
    def serve(inputs: Any) -> dict[str, Any]:
        numeric, ids = lower(SPEC, inputs)
        return {"fare": model(inputs), "numeric": numeric, **{f"id_{name}": found for name, found in ids.items()}}

    tf.saved_model.save(model, str(folder / "saved"), signatures={"serving_default": serve})
    forms = ("float32", "float16", "dynamic_range")
    for form in forms:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        if form != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form == "float16":
            converter.target_spec.supported_types = [tf.float16]
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # for tflite-runtime
        (folder / f"{form}.tflite").write_bytes(converter.convert())
    return Files(model, *(folder / f"{form}.tflite" for form in forms), encode(SPEC, ROWS))


def answer(target: str, path: Path, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if "tflite-runtime" in target and runtimes.locate(*runtimes.OLDEST) is None:
        pytest.skip(runtimes.why_not() or "its environment is not installed; scripts/bootstrap makes it")
    return targets.open(target).answer(path, rows).raw


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("form", ["float32", "float16", "dynamic_range"])
def test_every_runtime_says_what_numpy_says(files: Files, form: str, target: str) -> None:
    found = answer(target, getattr(files, form), files.encoded)
    truth = transform(SPEC, ROWS)
    for name, ids in truth.ids.items():
        assert found[f"id_{name}"].dtype == np.int32
        assert np.array_equal(found[f"id_{name}"], ids), name
    # float16 moves no number that decides anything: the constants of normalisation are exact in it
    assert np.allclose(found["numeric"], truth.numeric, rtol=1e-4, atol=1e-6)
    cloud = files.model.predict(files.encoded, verbose=0, batch_size=1000)
    assert np.isfinite(found["fare"]).all()
    tolerance = {"float32": 1e-4, "float16": 5e-3, "dynamic_range": 0.1}[form]
    assert (np.abs(found["fare"] - cloud) <= tolerance * np.maximum(np.abs(cloud), 1)).all()
    assert np.std(cloud) > 1


@pytest.mark.parametrize("form", ["float32", "float16", "dynamic_range"])
def test_only_builtin_operators_and_none_that_fails_in_the_field(files: Files, form: str) -> None:
    model = flatbuffer.read(getattr(files, form))
    assert {op.custom for op in model.every_op()} == {""}
    assert set(model.op_counts()) & BUILTIN_BUT_TRAPS == set()
    assert not any(tensor.dtype in ("INT64", "STRING", "RESOURCE") for tensor in model.tensors)
    assert {t.name for t in model.signature().inputs} == {t.name for t in SPEC.inputs()}
    assert "pickup_latitude" in files.encoded
    stored = {"float32": "FLOAT32", "float16": "FLOAT16", "dynamic_range": "INT8"}[form]
    assert any(tensor.dtype == stored and tensor.elements > 1024 for tensor in model.tensors if tensor.constant)


def test_the_layer_gives_what_its_docstring_says() -> None:
    layer = feature_layer(SPEC, wide_units=3)
    encoded = {k: v[:200] for k, v in encode(SPEC, ROWS).items()}
    layer(encoded)
    table = np.random.default_rng(0).normal(size=layer.wide.shape).astype(np.float32)
    layer.wide.assign(table)
    found = {k: v.numpy() for k, v in layer(encoded).items()}
    truth = transform(SPEC, encoded)
    slices = wide_slices(SPEC)
    assert "area_hash" not in slices
    assert table.shape == (sum(SPEC.count(n) for n in slices), 3)
    expected = sum(table[slices[name]][truth.ids[name]] for name in slices)
    assert np.allclose(found["wide"], expected, atol=1e-5)
    one_hot = [np.eye(SPEC.count(n), dtype=np.float32)[truth.ids[n]] for n in ("payment", "hour")]
    vectors = [t.numpy()[truth.ids[n]] for n, t in zip(layer.embedded, layer.tables, strict=True)]
    deep = np.concatenate([truth.numeric, *one_hot, *vectors], axis=1)
    assert deep.shape[1] == deep_width(SPEC)
    assert np.allclose(found["deep"], deep, atol=1e-6)
    assert all(np.array_equal(v.numpy(), truth.ids[k]) for k, v in layer.ids(encoded).items())
    assert [v.name for v in layer.weights] == [
        *(f"features/embedding_{n}:0" for n in ("payment_oov", "company", "cell_at_hour", "everything")),
        "features/wide:0",
    ]
    assert [v.name for v in layer.wide_variables] == ["features/wide:0"]
    assert len(layer.deep_variables) == 4


def test_a_part_with_nothing_in_it_is_left_out() -> None:
    narrow = FeatureSpec(label="y", columns=(Identity(name="i", size=3),))
    assert set(feature_layer(narrow)({"i": np.array([1, 2])})) == {"wide"}
    assert feature_layer(narrow, wide_units=0)({"i": np.array([1, 2])}) == {}
    numbers = FeatureSpec(label="y", columns=(Numeric(name="x", mean=0.0, std=1.0),))
    found = feature_layer(numbers)({"x": np.array([0.5], np.float32)})
    assert set(found) == {"deep"}
    assert found["deep"].numpy().tolist() == [[0.5]]
    with pytest.raises(UsageError, match="adapt the spec"):
        feature_layer(FeatureSpec(label="y", columns=(Numeric(name="x"),)))
    huge = tuple(HashBucket(name=f"h{i}", size=2**30) for i in range(2))
    with pytest.raises(BrokenInput, match=f"the wide part has {2**31} ids"):
        wide_slices(FeatureSpec(label="y", columns=huge))


def test_training_moves_the_tables_and_one_optimizer_each_is_possible() -> None:
    import tensorflow as tf
    import tf_keras

    model = wide_and_deep(SPEC)
    tame = np.flatnonzero(np.abs(transform(SPEC, ROWS).numeric).max(axis=1) < 50)[:512]
    rows = {k: v[tame] for k, v in encode(SPEC, ROWS).items()}
    layer = model.get_layer("features")
    layer.wide.assign(tf.zeros_like(layer.wide))
    before = [v.numpy() for v in layer.weights]
    target = np.random.default_rng(0).normal(size=(512, 1)).astype(np.float32)
    ftrl, adam = (tf_keras.optimizers.legacy.Ftrl(0.1, l1_regularization_strength=1e-3), tf_keras.optimizers.Adam())
    deep = [v for v in model.trainable_variables if all(v is not w for w in layer.wide_variables)]
    for _ in range(3):
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean((model(rows) - target) ** 2)
        ftrl.apply_gradients(zip(tape.gradient(loss, layer.wide_variables), layer.wide_variables, strict=True))
        adam.apply_gradients(zip(tape.gradient(loss, deep), deep, strict=True))
    assert all((old != new.numpy()).any() for old, new in zip(before, layer.weights, strict=True))
    seen = set()
    for name, place in wide_slices(SPEC).items():
        seen |= {place.start + int(i) for i in np.unique(transform(SPEC, rows).ids[name])}
    unseen = sorted(set(range(layer.wide.shape[0])) - seen)
    assert unseen
    assert not layer.wide.numpy()[unseen].any()  # L1: what no row had stays exactly zero


def test_a_saved_model_comes_back_in_a_process_that_registers_the_layer(tmp_path: Path) -> None:
    import tf_keras

    spec = SPEC
    model = tf_keras.Model(ins := keras_inputs(spec), feature_layer(spec, wide_regularizer="l1")(ins))
    model.save(tmp_path / "m.keras")
    register()
    again = tf_keras.models.load_model(tmp_path / "m.keras")
    encoded = {k: v[:50] for k, v in encode(spec, ROWS).items()}
    for name, found in model(encoded).items():
        assert np.array_equal(found, again(encoded)[name])
    assert again.get_layer("features").spec == spec
    assert again.get_layer("features").wide_regularizer.l1 > 0
