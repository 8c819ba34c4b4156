"""Recipes about convolutions: on a small separable network they keep their labels, and on others they are left out."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import dense, kinds

from converters import bundle, convert, recipes
from toolkit import flatbuffer
from toolkit.datasets._dataset import Split
from toolkit.progress import Progress
from toolkit.store import Run

pytestmark = pytest.mark.slow

NAMES = ("float32", "dynamic_range", "dynamic_int4", "weight_only_int8", *dense.CONVOLUTIONAL)
KERNELS = {
    "dynamic_int4": {"CONV_2D": "FLOAT32", "DEPTHWISE_CONV_2D": "FLOAT32", "FULLY_CONNECTED": "INT4"},
    "weight_only_int8": {"CONV_2D": "INT8", "DEPTHWISE_CONV_2D": "INT8", "FULLY_CONNECTED": "INT8"},
    "mixed_int4_int8": {"CONV_2D": "INT8", "DEPTHWISE_CONV_2D": "INT8", "FULLY_CONNECTED": "INT4"},
    "dynamic_int8_float_depthwise": {"CONV_2D": "INT8", "DEPTHWISE_CONV_2D": "FLOAT32", "FULLY_CONNECTED": "INT8"},
}


@pytest.fixture(scope="module")
def separable(tmp_path_factory: pytest.TempPathFactory) -> tuple[convert.Conversion, dict[str, Any]]:
    """A narrow convolution, a depthwise one, a wide one and a dense layer, on made-up pictures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras
        from tf_keras import layers

        tf_keras.utils.set_random_seed(3)
        image = tf_keras.Input((16, 16, 3), name="image")
        x = layers.Conv2D(16, 3, strides=2, activation="relu", name="narrow")(image)
        x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
        x = layers.Flatten(name="flat")(layers.Conv2D(32, 1, activation="relu", name="point")(x))
        model = tf_keras.Model(image, layers.Dense(10, name="scores")(x), name="separable")
        run = Run(tmp_path_factory.mktemp("separable") / "run")
        keras_file = run.path("bundle", "model.keras")
        keras_file.parent.mkdir()
        model.save(keras_file)
        quiet = Progress(quiet=True)
        made = bundle.create(run, name="separable", keras_file=keras_file, keras_version=2, progress=quiet)
        images = np.random.default_rng(0).random((100, 16, 16, 3), np.float32)
        split = Split(inputs={"image": images}, labels=None, digest="images")
        job = convert.Conversion(run=run, bundle=made, calibration=split, progress=quiet)
        return job, {a.recipe: a for a in convert.convert(job, NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_its_kernels_are_of_the_kinds_that_the_legality_table_is_asked_about(separable: Any, name: str) -> None:
    job, artifacts = separable
    assert kinds.unpromised(recipes.load(name), job.run.path(artifacts[name].path)) == []


@pytest.mark.parametrize("name", NAMES)
def test_it_passes_its_gate(separable: Any, name: str) -> None:
    assert [f"{c.name}: {c.detail}" for c in separable[1][name].gate.checks if not c.passed] == []


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_what_the_label_says_and_no_other_label_fits(separable: Any, name: str) -> None:
    job, artifacts = separable
    model = flatbuffer.read(job.run.path(artifacts[name].path))
    (graph,) = model.graphs
    dequantized = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.name == "DEQUANTIZE"}
    found = {
        op.name: graph.tensors[dequantized.get(op.inputs[1], op.inputs[1])].dtype
        for op in graph.ops
        if op.name in KERNELS[name]
    }
    assert found == KERNELS[name]
    narrow = [t.dtype for t in model.weights() if t.shape == (16, 3, 3, 3)]
    assert narrow == (["FLOAT32"] if "FLOAT32" in KERNELS[name].values() else ["INT8"])
    # The depthwise kernel is one of those that dynamic_range may leave in float for their size.
    true = {name, *(("dynamic_range",) if name == "dynamic_int8_float_depthwise" else ())}
    for other in NAMES:
        wrong = recipes.load(other).expect(model)
        assert bool(wrong) == (other not in true), (other, wrong)


def test_a_scale_per_channel_is_refused_by_runtimes_that_know_one_alone(separable: Any) -> None:
    job, artifacts = separable
    artifact = artifacts["dynamic_int8_float_depthwise"]
    dense_op = next(
        op for op in flatbuffer.read(job.run.path(artifact.path)).every_op() if op.name == "FULLY_CONNECTED"
    )
    assert dense_op.version == 12
    assert "tflite-runtime" not in artifact.runtime_floor


def test_without_their_layers_they_are_left_out(
    converted: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = converted.job
    run = Run(tmp_path)
    bundle_file = run.path("bundle", "model.keras")
    bundle_file.parent.mkdir()
    bundle_file.write_bytes(source.run.path("bundle", "model.keras").read_bytes())
    progress = Progress()
    made = bundle.create(run, name="small", keras_file=bundle_file, keras_version=2, progress=progress)
    job = convert.Conversion(run=run, bundle=made, calibration=source.calibration, progress=progress)
    assert made.layers == {"Dense": 2, "Flatten": 1, "InputLayer": 1}
    # As of a SavedModel, whose layers nobody knows.
    hidden = dataclasses.replace(job, bundle=dataclasses.replace(made, layers={}))
    found = convert.convert(hidden, ["float32", *dense.CONVOLUTIONAL], optional=True)
    assert [a.recipe for a in found] == ["float32"]
    said = capfd.readouterr().err
    for name in dense.CONVOLUTIONAL:
        assert f"recipe {name} left out: no kernel is of" in said
        # Asked before, the layers tell.
        assert "and the model has none: use dynamic_" in (convert.why_not(job, recipes.load(name)) or "")
        assert not list(run.root.rglob(f"*{name}*"))


def test_more_partitions_than_the_float_file_are_warned_of(separable: Any, capfd: pytest.CaptureFixture[str]) -> None:
    job, artifacts = separable
    assert artifacts["float32"].data["partitions"] == 1
    loud = dataclasses.replace(job, progress=Progress())
    many = dataclasses.replace(artifacts["dynamic_int4"], data={**artifacts["dynamic_int4"].data, "partitions": 3})
    convert._warn_of_partitions(loud, [artifacts["float32"], artifacts["dynamic_range"], many])
    said = capfd.readouterr().err.splitlines()
    assert "warning: recipe dynamic_int4 will be slow: 3 delegate partitions, float32 has 1" in said
    assert not any("float32 will be slow" in line for line in said)
