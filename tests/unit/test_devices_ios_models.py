"""Real models through the bundle and back: quantized tensors, several inputs, and the order that the C API has."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import phone

from devices import targets
from devices.ios import bundle, fidelity, importing, tensors
from toolkit.errors import UsageError
from toolkit.records import Plan

pytestmark = pytest.mark.slow
PLAN = Plan(mode="quick", processes=1, min_samples=8, min_seconds=0.1, max_seconds=1.0)


def there_and_back(folder: Path, models: list[tuple[str, Path]], **changed: Any) -> list[Any]:
    """A bundle of models, run by the phone's stand-in on this machine's runtime, and imported."""
    made = folder / "bundle"
    options = {"inputs": None, "delegates": ["cpu"], "seed": 1, "aa_control": False, **changed}
    manifest = bundle.write_bundle(made, models, PLAN, **options)
    for part in ("plans", "models", "inputs"):
        shutil.copytree(made / part, folder / "Documents" / part)
    for job in manifest["jobs"]:
        phone.run_job(folder / "Documents", job["id"])
    shutil.copytree(folder / "Documents" / "plans", made / "results" / "plans")
    shutil.copyfile(made / "manifest.json", made / "results" / "manifest.json")
    return importing.take(made, made, host=targets.open("cpu"))


def test_float_and_quantized_models_agree_with_the_host(tiny_models: dict[str, Any], tmp_path: Path) -> None:
    models = [("float32", tiny_models["conv"].float32), ("int8", tiny_models["conv"].int8)]
    single, quantized = there_and_back(tmp_path, models)
    for measurement in (single, quantized):
        assert measurement.verdict == "valid", measurement.reasons
        row = measurement.provenance["fidelity"]["kernels"]["outputs"]["probabilities"]
        assert (row["max_abs"], row["n"], row["top1"]) == (0.0, 8, 1.0)
    assert single.provenance["floor_us"] > 0
    assert fidelity.tolerance(models[1][1], "cpu") == fidelity.QUANTIZED
    assert fidelity.tolerance(models[0][1], "cpu") == fidelity.FLOAT
    (given,) = tensors.read(models[1][1]).inputs
    assert (given.name, given.dtype, given.fixed[1:]) == ("image", "int8", (28, 28))
    assert given.scale > 0
    assert {len(p.read_bytes()) for p in (tmp_path / "bundle" / "inputs").iterdir()} == {8 * 784, 8 * 784 * 4}


def test_own_samples_reach_a_quantized_model(tiny_models: dict[str, Any], tmp_path: Path) -> None:
    images = np.random.default_rng(5).random((3, 28, 28), dtype=np.float32)
    models = [("int8", tiny_models["dense"].int8)]
    (found,) = there_and_back(tmp_path, models, inputs=lambda path: {"image": images})
    assert found.provenance["fidelity"]["kernels"]["outputs"]["probabilities"]["n"] == 3
    expected = targets.open("cpu").answer(models[0][1], {"image": images}).raw["probabilities"]
    (written,) = (tmp_path / "bundle" / "results").rglob("o0.bin")
    assert written.read_bytes() == expected.tobytes()


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three inputs of three shapes and dtypes and two outputs, named against their order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf

        class Model(tf.Module):
            @tf.function(
                input_signature=[
                    tf.TensorSpec([1, 2], tf.float32, name="zebra"),
                    tf.TensorSpec([1, 3], tf.int32, name="ape"),
                    tf.TensorSpec([None, 4], tf.float32, name="mole"),
                ]
            )
            def serve(self, zebra: Any, ape: Any, mole: Any) -> dict[str, Any]:
                total = tf.reduce_sum(zebra) + tf.cast(tf.reduce_sum(ape), tf.float32)
                return {"wide": mole * total, "all": tf.reshape(total, [1])}

        model = Model()
        folder = tmp_path_factory.mktemp("several")
        tf.saved_model.save(model, str(folder / "s"), signatures={"serving_default": model.serve})
        path = folder / "several.tflite"
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "s")).convert())
        return path


def test_positions_are_the_c_apis(several: Path) -> None:
    """The interpreter lists tensors in the C API's order; a signature runner says which of them has which name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(several))
    runner = interpreter.get_signature_runner("serving_default")
    found = tensors.read(several)
    for side, listed, named in (
        (found.inputs, interpreter.get_input_details(), runner.get_input_details()),
        (found.outputs, interpreter.get_output_details(), runner.get_output_details()),
    ):
        index_of = {name: detail["index"] for name, detail in named.items()}
        assert {t.name: listed[t.index]["index"] for t in side} == index_of
        assert [np.dtype(t.dtype) for t in side] == [np.dtype(d["dtype"]) for d in listed]
    assert {t.name: t.fixed for t in found.inputs} == {"zebra": (1, 2), "ape": (1, 3), "mole": (None, 4)}


def test_several_inputs_and_outputs_come_back(several: Path, tmp_path: Path) -> None:
    (found,) = there_and_back(tmp_path, [("several", several)])
    assert found.verdict == "valid", found.reasons
    rows = found.provenance["fidelity"]["kernels"]["outputs"]
    assert set(rows) == {"wide", "all"}
    assert all(row["max_abs"] == 0 and row["n"] == 8 for row in rows.values())


def test_a_main_signature_that_is_not_the_first_graph_is_refused(several: Path, tmp_path: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(several.read_bytes(), 0)
    model.subgraphs = [model.subgraphs[0], model.subgraphs[0]]
    model.signatureDefs[0].subgraphIndex = 1
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "second.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(UsageError, match="not its first graph"):
        tensors.read(path)
