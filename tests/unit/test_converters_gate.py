"""The gate catches what is wrong with a file, and what it catches never gets a final name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters import bundle, convert, gate, labels, recipes, tflite
from devices.targets import cpu
from toolkit import flatbuffer
from toolkit.cli import stages
from toolkit.errors import BrokenInput
from toolkit.flatbuffer import FlatOp
from toolkit.records import Artifact, Tolerance, from_json
from toolkit.store import Run, read_json, sha256_file

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]


@pytest.fixture(scope="session")
def evidence(converted: Any) -> gate.Evidence:
    from converters.saved_model import Loaded

    job = converted.job
    inputs = dict(job.calibration.inputs)
    reference = Loaded(job.run.path(job.bundle.saved_model))(inputs)
    return gate.Evidence(inputs=inputs, reference=reference, signature=job.bundle.signature, real=True)


def failed(path: Path, recipe: str, evidence: gate.Evidence) -> dict[str, str]:
    """Names and details of the checks that failed; the verdict must agree with them."""
    verdict = gate.judge(path, recipes.load(recipe), evidence)
    found = {c.name: c.detail for c in verdict.gate.checks if not c.passed}
    assert verdict.gate.passed == (not found)
    assert bool(verdict.runtime_floor) == verdict.gate.passed, "only what passed has a floor"
    return found


def edited(source: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a .tflite with its object form changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = folder / source.name
    path.write_bytes(bytes(builder.Output()))
    return path


def bias(model: Any, dtype: Any) -> tuple[Any, np.ndarray]:
    """The buffer of the last dense layer's bias, and its values."""
    graph = model.subgraphs[0]
    dense = [op for op in graph.operators if len(op.inputs) == 3][-1]
    buffer = model.buffers[graph.tensors[dense.inputs[2]].buffer]
    return buffer, np.frombuffer(bytes(buffer.data), dtype).copy()


def test_an_edit_that_changes_nothing_passes(converted: Any, evidence: gate.Evidence, tmp_path: Path) -> None:
    for name in ("float32", "int8"):
        assert failed(edited(converted.file(name), tmp_path, lambda model: None), name, evidence) == {}


def test_a_wrong_label(converted: Any, evidence: gate.Evidence) -> None:
    found = failed(converted.file("float16"), "float32", evidence)
    assert "has DEQUANTIZE" in found["label"]
    assert {"xnnpack-on", "xnnpack-off"} <= set(found), "float16 is not as exact as float32 either"
    assert list(failed(converted.file("int8"), "int8_float_io", evidence)) == ["label"]
    zeros = failed(converted.file("int8"), "pruned_int8", evidence)
    assert list(zeros) == ["label"]
    assert "of the weights are zero, not 80%" in zeros["label"]


def test_a_bias_that_is_off(converted: Any, evidence: gate.Evidence, tmp_path: Path) -> None:
    for name, dtype in (("float32", np.float32), ("int8", np.int32)):

        def flip(model: Any, dtype: Any = dtype) -> None:
            buffer, values = bias(model, dtype)
            # The softmax input moves by as much as the bias is wrong: far beyond any rounding.
            values[0] += dtype(3) if dtype is np.float32 else np.int32(30_000)
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)

        found = failed(edited(converted.file(name), tmp_path, flip), name, evidence)
        assert set(found) == {"xnnpack-on", "xnnpack-off"}, "both backends are wrong alike, so they agree"
        assert "max-abs" in found["xnnpack-on"]


def test_weights_of_another_model(converted: Any, evidence: gate.Evidence, tmp_path: Path) -> None:
    def roll(model: Any) -> None:  # classes change places: right types, right sizes, wrong answers
        graph = model.subgraphs[0]
        dense = [op for op in graph.operators if len(op.inputs) == 3][-1]
        buffer = model.buffers[graph.tensors[dense.inputs[1]].buffer]
        buffer.data = np.roll(np.frombuffer(bytes(buffer.data), np.uint8), len(buffer.data) // 10)

    for name in ("float32", "int8", "dynamic_range"):
        found = failed(edited(converted.file(name), tmp_path, roll), name, evidence)
        assert set(found) == {"xnnpack-on", "xnnpack-off"}


def test_nan_outputs(converted: Any, evidence: gate.Evidence, tmp_path: Path) -> None:
    def poison(model: Any) -> None:
        buffer, values = bias(model, np.float32)
        values[:] = np.nan
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)

    found = failed(edited(converted.file("float32"), tmp_path, poison), "float32", evidence)
    assert {"xnnpack-on", "xnnpack-off", "xnnpack-agree"} == set(found)
    assert all("NaN" in detail for detail in found.values())


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_renamed_signature(converted: Any, evidence: gate.Evidence, tmp_path: Path, side: str) -> None:
    def rename(model: Any) -> None:
        getattr(model.signatureDefs[0], side)[0].name = "stranger"

    found = failed(edited(converted.file("float32"), tmp_path, rename), "float32", evidence)
    assert f"{side} are stranger, not " in found["names"]
    assert {"xnnpack-on", "xnnpack-off"} <= set(found)
    assert "stranger" in found["xnnpack-on"]


def test_an_output_of_another_shape(converted: Any, evidence: gate.Evidence, tmp_path: Path) -> None:
    def swap(model: Any) -> None:  # the layer before softmax's input: 32 numbers instead of 10
        graph = model.subgraphs[0]
        first = next(op for op in graph.operators if len(op.inputs) == 3)
        model.signatureDefs[0].outputs[0].tensorIndex = int(first.outputs[0])
        graph.outputs = [int(first.outputs[0])]

    found = failed(edited(converted.file("float32"), tmp_path, swap), "float32", evidence)
    assert "shapes differ: [100, 10] and [100, 32]" in found["xnnpack-on"]


def test_a_sparse_encoding_that_only_xnnpack_gets_wrong(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    from converters.saved_model import Loaded, export

    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((28, 28), name="image")
    dense = tf_keras.layers.Dense(128, activation="relu")
    hidden = dense(tf_keras.layers.Flatten()(image))
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, activation="softmax", name="p")(hidden))
    kernel, offset = dense.get_weights()
    kept = np.repeat(np.random.default_rng(0).random((49, 128)) < 0.1, 16, axis=0)  # blocks of 16 inputs
    dense.set_weights([kernel * kept, offset])
    saved = Loaded(export(model, tmp_path / "m", keras_version=2))

    class Sparse:
        RECIPE = recipes.load("dynamic_range").RECIPE

        def configure(self, converter: Any, representative: Any) -> None:
            recipes.load("dynamic_range").configure(converter, representative)
            converter.optimizations = [tf.lite.Optimize.DEFAULT, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]

    path = tmp_path / "sparse.tflite"
    path.write_bytes(tflite.convert(next((tmp_path / "m").iterdir()), saved.key, Sparse(), None))
    assert any(t.sparse for t in flatbuffer.read(path).tensors)
    inputs = {"image": np.random.default_rng(0).random((20, 28, 28), dtype=np.float32)}
    made = gate.Evidence(inputs=inputs, reference=saved(inputs), signature=saved.signature, real=False)
    assert set(failed(path, "dynamic_range", made)) == {"xnnpack-on", "xnnpack-agree"}


def test_flex_operators(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def serve(x: Any) -> dict[str, Any]:
        return {"y": tf.math.erf(x)}

    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m"))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path = tmp_path / "flex.tflite"
    path.write_bytes(converter.convert())
    inputs = {"x": np.ones((8, 4), np.float32)}
    signature = flatbuffer.read(path).signature()
    made = gate.Evidence(inputs=inputs, reference={"y": np.zeros((8, 4))}, signature=signature, real=False)
    found = failed(path, "float32", made)
    assert {"builtin", "xnnpack-on", "xnnpack-off"} <= set(found)
    assert "FlexErf" in found["builtin"]
    with pytest.raises(BrokenInput, match=r"needs Erf, .*\(Flex only\)"):  # as our own recipes would say it
        tflite.convert(tmp_path / "m", "serving_default", recipes.load("float32"), None)


def test_custom_operators_and_unset_variables_are_not_runnable() -> None:
    def op(name: str, custom: str = "") -> FlatOp:
        return FlatOp(name=name, version=1, inputs=(), outputs=(), custom=custom)

    clean: Any = SimpleNamespace(every_op=lambda: (op("ADD"),), graphs=())
    wrong_ops = (op("CUSTOM", "Mine"), op("VAR_HANDLE"), op("CUSTOM", "FlexErf"))
    wrong: Any = SimpleNamespace(every_op=lambda: wrong_ops, graphs=())
    assert labels.runnable(clean) == []
    assert len(labels.runnable(wrong)) == 3


def test_a_kernel_that_is_zero_throughout_is_no_sparse_one(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    given = tf_keras.Input((32,), name="x")
    model = tf_keras.Model(given, tf_keras.layers.Dense(16, kernel_initializer="zeros", name="p")(given))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    (found,) = labels.runnable(flatbuffer.parse(converter.convert()))
    assert found.endswith("is stored sparse without a value: runtimes read memory nobody wrote")


def test_a_damaged_file_is_a_verdict_and_no_exception(converted: Any, evidence: gate.Evidence, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(converted.file("float32").read_bytes()[:5000])
    assert list(failed(path, "float32", evidence)) == ["label"]


def test_a_crash_in_native_code_is_a_failed_check(
    converted: Any, evidence: gate.Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = tmp_path / "portable.py"
    crash.write_text("import os\nopen('stage', 'w').write('infer')\nos.abort()\n")
    monkeypatch.setattr(cpu, "RUNNER_FILES", (crash,))
    found = failed(converted.file("float32"), "float32", evidence)
    assert {"xnnpack-on", "xnnpack-off"} == set(found)
    assert "SIGABRT in stage 'infer'" in found["xnnpack-on"]


class Mislabelled:
    """A recipe whose file is not what its record says: float16 under the name of float32."""

    RECIPE = recipes.load("float32").RECIPE
    expect = staticmethod(recipes.load("float32").expect)
    configure = staticmethod(recipes.load("float16").configure)


@pytest.fixture
def fresh(converted: Any, tmp_path: Path) -> convert.Conversion:
    """The same model in a run directory of its own, nothing converted yet."""
    job = converted.job
    run = Run(tmp_path / "run")
    kept = run.path("bundle", "model.keras")
    kept.parent.mkdir()
    kept.write_bytes(job.run.path(job.bundle.keras_file).read_bytes())
    made = bundle.create(run, name="small", keras_file=kept, keras_version=2, progress=job.progress)
    return dataclasses.replace(job, run=run, bundle=made)


def test_what_failed_is_quarantined_with_its_reasons_and_the_older_file_goes(
    fresh: convert.Conversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, load = fresh.run, recipes.load
    good, kept = convert.convert(fresh, ["float32", "float16"])
    assert good.gate.passed
    assert run.path("artifacts/float32.tflite").exists()

    monkeypatch.setattr(recipes, "load", lambda name: Mislabelled if name == "float32" else load(name))
    run.path("stages", "convert-float32.json").unlink()
    (bad,) = convert.convert(fresh, ["float32"])
    assert not bad.gate.passed
    names = {str(p.relative_to(run.path("artifacts"))) for p in run.path("artifacts").rglob("*") if p.is_file()}
    assert names == {"float16.tflite", "float16.json", "quarantine/float32.tflite", "quarantine/float32.json"}
    assert bad.path == "artifacts/quarantine/float32.tflite"
    assert sha256_file(run.path(bad.path)) == bad.sha256
    record = from_json(Artifact, read_json(run.path("artifacts/quarantine/float32.json")))
    assert record == bad
    assert stages.passed_files(run, convert.load(run)) == [("float16", run.path(kept.path))]
    lines = stages.failures([kept, bad], [], [], False)
    assert lines
    assert all(line.startswith("float32: gate check ") for line in lines)

    monkeypatch.setattr(recipes, "load", load)
    run.path("stages", "convert-float32.json").unlink()
    (healed,) = convert.convert(fresh, ["float32"])
    assert healed.gate.passed
    assert list(run.path("artifacts", "quarantine").iterdir()) == []


def test_the_command_ends_with_1_and_says_which_check(
    fresh: convert.Conversion, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from toolkit import cli

    monkeypatch.setattr(recipes, "load", lambda name: Mislabelled)
    words = ["edge-export", "convert", str(fresh.run.root), "--recipe", "float32", "--json"]
    for _ in range(2):  # the second time from the record
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        assert ended.value.code == 1
        assert "failed: float32: gate check label failed: " in said.err
        (row,) = json.loads(said.out)["artifacts"]
        assert row["gate"]["passed"] is False
        assert row["path"] == "artifacts/quarantine/float32.tflite"
    assert not fresh.run.path("artifacts/float32.tflite").exists()


def test_a_tolerance_nobody_meets_fails_every_run(converted: Any, evidence: gate.Evidence) -> None:
    module: Any = SimpleNamespace(
        RECIPE=dataclasses.replace(recipes.load("int8").RECIPE, tolerance=Tolerance(psnr_db=200.0, reason="a test")),
        expect=recipes.load("int8").expect,
    )
    verdict = gate.judge(converted.file("int8"), module, evidence)
    assert not verdict.gate.passed
    details = {c.name: c.detail for c in verdict.gate.checks if not c.passed}
    assert "< 200 dB" in details["xnnpack-on"]
