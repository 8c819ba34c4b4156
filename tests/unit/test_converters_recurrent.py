"""Recurrent layers with any number of samples: converted for one a call, as loops that keep no state between calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import bundle, convert, tflite
from devices import targets
from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput
from toolkit.progress import Progress
from toolkit.store import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

X = np.random.default_rng(0).standard_normal((12, 7, 3)).astype(np.float32)


def built(keras: Any, kind: str) -> Any:
    layers = keras.layers
    x = keras.Input((7, 3), name="x")
    inner = {
        "lstm": lambda: layers.LSTM(40),
        "two": lambda: layers.Bidirectional(layers.GRU(40)),
    }[kind]()
    return keras.Model(x, layers.Dense(2, name="y")(inner(x)), name=kind)


def converted(model: Any, version: int, folder: Path, names: list[str]) -> tuple[convert.Conversion, dict[str, Any]]:
    run = Run(folder / "run")
    path = run.path("bundle", "model.keras")
    path.parent.mkdir()
    model.save(path)
    quiet = Progress(quiet=True)
    made = bundle.create(run, name="recurrent", keras_file=path, keras_version=version, progress=quiet)
    split = Split(inputs={"x": X}, labels=None, digest="x")
    job = convert.Conversion(run=run, bundle=made, calibration=split, progress=quiet)
    return job, {a.recipe: a for a in convert.convert(job, names)}


@pytest.mark.parametrize(("version", "kind"), [(2, "lstm"), (2, "two"), (3, "lstm")])
def test_it_converts_for_one_sample_a_call(version: int, kind: str, tmp_path: Path) -> None:
    if version == 2:
        import tf_keras as keras
    else:
        import keras
    model = built(keras, kind)
    job, artifacts = converted(model, version, tmp_path, ["float32", "dynamic_range"])
    for artifact in artifacts.values():
        assert artifact.gate.passed, [c for c in artifact.gate.checks if not c.passed]
        assert artifact.contract["batch"] == 1
        assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in artifact.ops
        assert artifact.data["saved_model"]["path"] == "parents/one-sample/saved_model"
    file = job.run.path(artifacts["float32"].path)
    expected = np.asarray(model.predict(X, verbose=0))
    device = targets.open("cpu:xnnpack=on")
    np.testing.assert_allclose(device.answer(file, {"x": X}).outputs["y"], expected, atol=1e-5)
    # What came before a sample is nothing to it.
    backwards = device.answer(file, {"x": X[::-1].copy()}).outputs["y"]
    np.testing.assert_array_equal(backwards[::-1], device.answer(file, {"x": X}).outputs["y"])


def test_eight_bits_inside_a_loop_are_counted(tmp_path: Path) -> None:
    import tf_keras

    from toolkit import flatbuffer

    job, artifacts = converted(built(tf_keras, "lstm"), 2, tmp_path, ["dynamic_range"])
    model = flatbuffer.read(job.run.path(artifacts["dynamic_range"].path))
    assert {k.dtype for k in model.weights() if k.elements == 40 * 160} == {"INT8"}
    assert not any(k.elements == 40 * 160 for graph in model.graphs for k in graph.weights())
    # Its ranges cannot be measured: TensorFlow's calibrator would end this process.
    with pytest.raises(BrokenInput, match=r"recipe int8: the model has a loop.*take dynamic_range or float16"):
        convert.convert(job, ["int8"])
    left = convert.convert(job, ["float32", "int8_mixed", "int8_dense_only"], optional=True)
    assert [artifact.recipe for artifact in left] == ["float32"]
    assert "recipe int8_mixed left out: the model has a loop" in " ".join(job.progress.warnings)


def test_a_saved_model_with_any_number_of_samples_says_what_it_needs(tmp_path: Path) -> None:
    import tf_keras

    from converters import recipes, saved_model

    saved_model.export_to(built(tf_keras, "two"), tmp_path / "saved", keras_version=2)
    with pytest.raises(BrokenInput, match="a recurrent layer needs a fixed batch size"):
        tflite.convert(tmp_path / "saved", "serving_default", recipes.load("float32"), None)
