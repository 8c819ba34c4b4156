"""The wide table without its zeros in exported files: the same bits as the whole one, on every runtime."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.wide import ROWS, SPEC, bits, sparse, wide_and_deep

from converters import recipes, tflite
from devices import runtimes, targets
from toolkit import flatbuffer
from toolkit.features import FeatureSpec, Identity, encode, transform
from toolkit.features.layer import feature_layer, keras_inputs
from toolkit.features.wide import OVERHEAD_BYTES, compact

pytestmark = pytest.mark.slow

FORMS = ("float32", "float16", "dynamic_range", "int8_dense_only")
RUNTIMES = (
    "cpu",
    "cpu:xnnpack=off",
    "cpu:runtime=tflite-runtime==2.14.0",
    "cpu:runtime=tflite-runtime==2.14.0,xnnpack=off",
)
TRAPS = {"ABS", "LOGICAL_AND", "LOGICAL_OR", "ONE_HOT", "STRIDED_SLICE", "HASHTABLE", "VAR_HANDLE", "CUSTOM", "PAD"}


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        yield


@dataclasses.dataclass(frozen=True)
class Exported:
    """The same model with both tables, by recipe, and the rows it is asked about."""

    dense: Mapping[str, Path]
    small: Mapping[str, Path]
    cloud: np.ndarray
    encoded: Mapping[str, np.ndarray]


def export(model: Any, spec: FeatureSpec, encoded: Mapping[str, np.ndarray], folder: Path) -> dict[str, Path]:
    import tensorflow as tf

    signature = {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in spec.inputs()}

    @tf.function(input_signature=[signature])
    def serve(inputs: Any) -> Any:
        return model(inputs)

    tf.saved_model.save(model, str(folder / "saved"), signatures={"serving_default": serve})
    made = {}
    for form in FORMS:
        calibration = {k: v[:100] for k, v in encoded.items()} if form == "int8_dense_only" else None
        made[form] = folder / f"{form}.tflite"
        made[form].write_bytes(tflite.convert(folder / "saved", "serving_default", recipes.load(form), calibration))
    return made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(5)
    tame = np.abs(transform(SPEC, ROWS).numeric).max(axis=1) < 50  # calibration is not what is tried here
    rows = {k: v[tame] for k, v in ROWS.items()}
    table = sparse(SPEC, rows, 1, share=0.5, seed=5)
    table[table != 0] = rng.normal(size=np.count_nonzero(table))  # what float16 holds
    model, encoded = wide_and_deep(SPEC, table), encode(SPEC, rows)
    small = compact(model)
    # Tables below 1,024 weights stay float in dynamic_range: the bits would differ from the large one's.
    assert 1_024 <= small.get_layer("features").wide.shape[0] < len(table) / 10
    dense, small = (export(m, SPEC, encoded, folder / name) for m, name in ((model, "dense"), (small, "small")))
    return Exported(dense, small, model(encoded)["fare"].numpy(), encoded)


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("form", FORMS)
def test_both_files_give_the_same_bits_on_every_runtime(exported: Exported, form: str, target: str) -> None:
    if "tflite-runtime" in target and runtimes.locate(*runtimes.OLDEST) is None:
        pytest.skip(runtimes.why_not() or "its environment is not installed; scripts/bootstrap makes it")
    dense, small = (
        targets.open(target).answer(f[form], exported.encoded).raw for f in (exported.dense, exported.small)
    )
    assert set(dense) == set(small) == {"fare", "wide"}
    for name in dense:
        assert bits(dense[name]) == bits(small[name]), name
    assert len(np.unique(small["wide"])) > 100
    tolerance = {"float32": 1e-4, "float16": 5e-3}.get(form, 0.3)
    assert np.abs(small["fare"] - exported.cloud).max() <= tolerance * np.abs(exported.cloud).max()


@pytest.mark.parametrize("form", FORMS)
def test_only_builtin_operators_and_the_table_folded(exported: Exported, form: str) -> None:
    model = flatbuffer.read(exported.small[form])
    assert recipes.load(form).expect(model) == []
    assert {op.custom for op in model.ops + model.other_ops} == {""}
    assert set(model.op_counts()) & TRAPS == set()
    assert not any(tensor.dtype in ("INT64", "STRING", "RESOURCE") for tensor in model.tensors)
    assert exported.small[form].stat().st_size < exported.dense[form].stat().st_size


def test_42_rows_of_65536_take_a_sixtieth(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    spec = FeatureSpec(label="y", columns=(Identity(name="cell", size=65_536),))
    model = tf_keras.Model(ins := keras_inputs(spec), feature_layer(spec)(ins)["wide"])
    table = np.zeros((65_536, 1), dtype=np.float32)
    table[np.random.default_rng(0).choice(65_536, 42, replace=False)] = 1.5
    model.get_layer("features").wide.assign(table)
    dense, small = (len(tf.lite.TFLiteConverter.from_keras_model(m).convert()) for m in (model, compact(model)))
    assert dense > 262_144
    assert small < dense / 60
    assert 900 < small - dense + 65_536 * 4 - 43 * 12 < OVERHEAD_BYTES  # as pays() counts
