"""int8 in the dense layers alone: what is quantized and what is not, by which ranges, and for which models."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from converters import aeq, convert, gate, labels, recipes, tflite
from toolkit import flatbuffer
from toolkit.errors import BrokenInput, UsageError
from toolkit.flatbuffer import FlatGraph, FlatModel, FlatOp, FlatTensor
from toolkit.progress import Progress
from toolkit.records import ModelBundle, Signature, TensorSpec
from toolkit.store import Run

INTEGERS_THROUGHOUT = {
    *("int8", "int8_float_io", "int8_mixed", "int16x8", "pruned_int8"),
    *("qat_int8", "pqat_int8", "cqat_int8", "pcqat_int8", "compacted_int8"),
}
RECIPE = recipes.load("int8_dense_only")
EDGES = [-1.0, -0.5, 0.0, 0.001, 0.002, 0.5]


def job(folder: Path, **data: str) -> convert.Conversion:
    """A bundle without files and without samples: enough to ask what is legal."""
    bundle = ModelBundle(
        name="taxi",
        keras_file="bundle/model.keras",
        keras_version=2,
        saved_model="bundle/saved_model/1",
        signature=Signature(key="serving_default", inputs=(), outputs=()),
        sha256="0" * 64,
        seed=1,
        data=dict(data),
    )
    return convert.Conversion(
        run=cast(Run, SimpleNamespace(path=folder.joinpath)), bundle=bundle, progress=Progress(quiet=True)
    )


@pytest.mark.parametrize("name", recipes.names())
def test_raw_features_rule_out_integers_throughout(name: str, tmp_path: Path) -> None:
    why = convert.why_not(job(tmp_path, features="{}"), recipes.load(name))
    if name in INTEGERS_THROUGHOUT:
        assert why is not None
        # Before the missing data, which would not help; with the way out.
        assert "raw features" in why
        assert "int8_dense_only" in why
        assert "\n" not in why
    else:
        assert why is None or "give --calibration" in why or "give labelled samples" in why
    without = convert.why_not(job(tmp_path), recipes.load(name))
    assert without is None or "raw features" not in without


def test_a_refused_recipe_converts_nothing(tmp_path: Path) -> None:
    asked = job(tmp_path, features="{}")
    with pytest.raises(UsageError, match="recipe int8 cannot hold raw features"):
        convert.convert(asked, ["float32", "int8"])
    assert not asked.run.path("artifacts").exists()


def test_the_quantizer_is_not_imported_before_it_is_used() -> None:
    code = "import converters.aeq, sys; from converters import recipes; recipes.load('int8_dense_only')\n"
    code += "sys.exit(any(m.split('.')[0] in ('ai_edge_quantizer', 'tensorflow') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def tensor(index: int, dtype: str, *, scaled: bool) -> FlatTensor:
    return FlatTensor(
        index=index,
        name=f"t{index}",
        shape=(2, 2),
        dtype=dtype,
        data_bytes=0,
        scales=(0.1,) if scaled else (),
        zero_points=(0,) if scaled else (),
        channel_axis=0,
        sparse=False,
        variable=False,
    )


def dense(ops: list[tuple[str, tuple[int, ...], int]], other: list[str] | None = None) -> FlatModel:
    """Tensors 0–3 are float, 4–7 int8."""
    graph = FlatGraph(
        tensors=tuple(tensor(i, "INT8" if i > 3 else "FLOAT32", scaled=i > 3) for i in range(8)),
        ops=tuple(FlatOp(name=n, version=1, inputs=i, outputs=(o,)) for n, i, o in ops),
        inputs=(0,),
        outputs=(3,),
    )
    return FlatModel(
        size_bytes=0,
        description="",
        graphs=(graph,),
        other_ops=tuple(FlatOp(name=n, version=1, inputs=(), outputs=()) for n in other or []),
        signatures=(),
        metadata={},
    )


GOOD = [("QUANTIZE", (0,), 4), ("FULLY_CONNECTED", (4, 5, -1), 6), ("DEQUANTIZE", (6,), 2), ("SOFTMAX", (2,), 3)]


def test_only_dense_layers_may_be_quantized_and_all_of_them_must() -> None:
    assert labels.only(dense(GOOD), "FULLY_CONNECTED", "INT8") == []
    broken = {
        "FULLY_CONNECTED has 't1' in FLOAT32": [*GOOD, ("FULLY_CONNECTED", (4, 1), 6)],
        "FULLY_CONNECTED has 't2' in FLOAT32": [("FULLY_CONNECTED", (4, 5), 2)],
        "SOFTMAX has 't6' quantized (INT8)": [*GOOD, ("SOFTMAX", (6,), 3)],
        "GATHER has 't7' quantized (INT8)": [*GOOD, ("GATHER", (0,), 7)],
        "has no FULLY_CONNECTED": [("SOFTMAX", (0,), 3)],
    }
    for message, ops in broken.items():
        found = labels.only(dense(ops), "FULLY_CONNECTED", "INT8")
        assert len(found) == 1, (message, found)
        assert message in found[0]
    hidden = labels.only(dense(GOOD, ["FULLY_CONNECTED", "ADD"]), "FULLY_CONNECTED", "INT8")
    assert hidden == ["FULLY_CONNECTED in a subgraph is not judged"]


@pytest.mark.parametrize("dtype", ["FLOAT32", "INT8"])
def test_text_is_no_broken_promise_but_quantized_bytes_are(dtype: str) -> None:
    def edges(scaled: bool) -> FlatModel:
        given = (tensor(0, "UINT8", scaled=scaled), tensor(1, dtype, scaled=False))
        graph = FlatGraph(tensors=given, ops=(), inputs=(0,), outputs=(1,))
        return dataclasses.replace(dense([]), graphs=(graph,))

    assert labels.io(edges(False), dtype) == []
    assert labels.io(edges(True), dtype) == [f"input 't0' is UINT8, not {dtype}"]


@dataclasses.dataclass(frozen=True)
class Taxi:
    """A model with a raw feature in it: its SavedModel, what it answers, samples and its embedding table."""

    folder: Path
    signature: Signature
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    table: np.ndarray


@pytest.fixture(scope="module")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Taxi:
    """Latitude in buckets far narrower than an eighth bit, embedded, beside a number, through two dense layers."""
    import tensorflow as tf

    rng = np.random.default_rng(7)
    table = rng.normal(size=(len(EDGES) + 1, 8)).astype(np.float32)
    first, second = (rng.normal(size=s).astype(np.float32) for s in ((9, 16), (16, 1)))

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, n) for n in ("latitude", "miles")])
        def serve(self, latitude: Any, miles: Any) -> dict[str, Any]:
            ids = tf.raw_ops.Bucketize(input=latitude, boundaries=EDGES)
            x = tf.concat([tf.gather(tf.constant(table), ids), miles[:, None]], axis=1)
            hidden = tf.nn.relu(tf.matmul(x, tf.constant(first)) + 0.1)
            return {"fare": tf.matmul(hidden, tf.constant(second)) + 0.2}

    folder = tmp_path_factory.mktemp("taxi") / "saved"
    model = Model()
    tf.saved_model.save(model, str(folder), signatures=model.serve)
    near = rng.choice([-0.6, -0.2, 0.0005, 0.0015, 0.01, 0.7], 300)
    inputs = {"latitude": near.astype(np.float32), "miles": rng.random(300, dtype=np.float32)}
    outputs = {k: v.numpy() for k, v in model.serve(**inputs).items()}
    signature = Signature(
        key="serving_default",
        inputs=tuple(TensorSpec(name=n, shape=(None,), dtype="float32") for n in inputs),
        outputs=(TensorSpec(name="fare", shape=(None, 1), dtype="float32"),),
    )
    return Taxi(folder, signature, inputs, outputs, table)


slow = pytest.mark.slow
deprecated = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


@slow
@deprecated
def test_raw_features_stay_exact_and_dense_layers_are_int8(taxi: Taxi, tmp_path: Path) -> None:
    data = tflite.convert(taxi.folder, taxi.signature.key, RECIPE, taxi.inputs)
    path = tmp_path / "int8_dense_only.tflite"
    path.write_bytes(data)
    model = flatbuffer.read(path)
    counts = model.op_counts()
    assert (counts["FULLY_CONNECTED"], counts["BUCKETIZE"], counts["GATHER"]) == (2, 1, 1)
    assert {model.tensors[i].dtype for i in model.inputs + model.outputs} == {"FLOAT32"}
    for op in model.ops:
        dtypes = {model.tensors[i].dtype for i in (*op.inputs[:2], *op.outputs)}
        if op.name == "FULLY_CONNECTED":
            assert dtypes == {"INT8"}
        elif op.name not in ("QUANTIZE", "DEQUANTIZE"):
            assert dtypes <= {"FLOAT32", "INT32"}, op
    assert taxi.table.tobytes() in data, "the embedding table is as it was"
    evidence = gate.Evidence(inputs=taxi.inputs, reference=taxi.outputs, signature=taxi.signature, real=True)
    verdict = gate.judge(path, RECIPE, evidence)
    assert [c for c in verdict.gate.checks if not c.passed] == []
    assert verdict.runtime_floor


@slow
@deprecated
def test_what_is_refused_is_wrong_indeed(taxi: Taxi, tmp_path: Path) -> None:
    """With the refusal out of the way the gate would catch it: buckets of a thousandth do not survive 8 bits."""
    whole = recipes.load("int8")
    path = tmp_path / "int8.tflite"
    path.write_bytes(tflite.convert(taxi.folder, taxi.signature.key, whole, taxi.inputs))
    evidence = gate.Evidence(inputs=taxi.inputs, reference=taxi.outputs, signature=taxi.signature, real=True)
    failed = {c.name for c in gate.judge(path, whole, evidence).gate.checks if not c.passed}
    assert {"xnnpack-on", "xnnpack-off"} <= failed


@slow
def test_ranges_are_the_extremes_in_whatever_order(taxi: Taxi, converted: Any) -> None:
    data = converted.file("float32").read_bytes()
    images = converted.job.calibration.inputs["image"][:20].copy()
    images[0, 0, 0] = 5.1  # seen first: an average over samples would forget it
    made = aeq.static_int8_dense(data, {"image": images})
    model = flatbuffer.parse(made)
    scales = [model.tensors[op.outputs[0]].scales for op in model.ops if op.name == "QUANTIZE"]
    assert scales == [pytest.approx((5.1 / 255,), rel=1e-3)]
    assert aeq.static_int8_dense(data, {"image": images[::-1]}) == made


@slow
@deprecated
def test_samples_go_by_name(taxi: Taxi) -> None:
    made = tflite.convert(taxi.folder, taxi.signature.key, RECIPE, taxi.inputs)
    turned = dict(reversed(taxi.inputs.items()))
    assert tflite.convert(taxi.folder, taxi.signature.key, RECIPE, turned) == made
    swapped = {"latitude": taxi.inputs["miles"], "miles": 9 * taxi.inputs["latitude"]}
    assert tflite.convert(taxi.folder, taxi.signature.key, RECIPE, swapped) != made


@slow
def test_another_process_makes_the_same_bytes(converted: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", converted.job.calibration.inputs["image"])
    code = (
        "import sys, numpy as np; from pathlib import Path; from converters import aeq\n"
        "data, images, out = map(Path, sys.argv[1:])\n"
        "out.write_bytes(aeq.static_int8_dense(data.read_bytes(), {'image': np.load(images)}))"
    )
    out = tmp_path / "again.tflite"
    command = [sys.executable, "-c", code, str(converted.file("float32")), str(tmp_path / "image.npy"), str(out)]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "PYTHONHASHSEED": "12345"})
    here = aeq.static_int8_dense(converted.file("float32").read_bytes(), dict(converted.job.calibration.inputs))
    assert out.read_bytes() == here


@slow
def test_the_quantizer_says_nothing(converted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    aeq.static_int8_dense(converted.file("float32").read_bytes(), dict(converted.job.calibration.inputs))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


@slow
def test_what_cannot_be_quantized(converted: Any) -> None:
    data = converted.file("float32").read_bytes()
    with pytest.raises(BrokenInput, match="ai-edge-quantizer gave up") as caught:
        aeq.static_int8_dense(data, {"picture": converted.job.calibration.inputs["image"]})
    assert "\n" not in str(caught.value)


@slow
@deprecated
@pytest.mark.parametrize("dense_layers", [0, 1])
def test_convolutions_stay_float(dense_layers: int, tmp_path: Path) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(3)
    kernel, last = (rng.normal(size=s).astype(np.float32) for s in ((3, 3, 1, 4), (64, 3)))

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 1], tf.float32, "image")])
        def serve(self, image: Any) -> dict[str, Any]:
            x = tf.nn.relu(tf.nn.conv2d(image, tf.constant(kernel), 1, "VALID"))
            return {"scores": tf.matmul(tf.reshape(x, [-1, 64]), tf.constant(last)) if dense_layers else x}

    model = Model()
    tf.saved_model.save(model, str(tmp_path / "saved"), signatures=model.serve)
    images = {"image": rng.random((20, 6, 6, 1), dtype=np.float32)}
    found = flatbuffer.parse(tflite.convert(tmp_path / "saved", "serving_default", RECIPE, images))
    assert found.op_counts().get("FULLY_CONNECTED", 0) == dense_layers
    kernels = {k.elements: k.dtype for k in found.weights()}
    assert kernels == {36: "FLOAT32", **({192: "INT8"} if dense_layers else {})}
    assert RECIPE.expect(found) == ([] if dense_layers else ["has no FULLY_CONNECTED, so none is INT8"])
