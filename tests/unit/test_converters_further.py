"""Signatures that a user's SavedModel brings: which are kept, and how files with one each are merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import bundle, convert, further, merge, recipes, saved_model, sources, tflite
from devices import targets
from toolkit import flatbuffer
from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput
from toolkit.progress import Progress
from toolkit.store import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with a main signature, a good one beside it, and three that artifacts cannot have."""
    import tensorflow as tf

    rng = np.random.default_rng(4)
    first, second = (rng.normal(size=s).astype(np.float32) for s in ((6, 40), (40, 3)))
    given = tf.TensorSpec([None, 6], tf.float32, name="x")

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = tf.Variable(first), tf.Variable(second)

        @tf.function(input_signature=[given])
        def predict(self, x: Any) -> dict[str, Any]:
            return {"score": tf.matmul(tf.nn.relu(tf.matmul(x, self.first)), self.second)}

        @tf.function(input_signature=[given])
        def embed(self, x: Any) -> dict[str, Any]:
            return {"embedding": tf.nn.relu(tf.matmul(x, self.first))}

        @tf.function(input_signature=[tf.TensorSpec([None, 40], tf.float32, name="embedding")])
        def head(self, embedding: Any) -> dict[str, Any]:
            return {"score": tf.matmul(embedding, self.second)}

        @tf.function(input_signature=[given])
        def odd(self, x: Any) -> dict[str, Any]:
            return {"y": tf.math.erf(tf.matmul(x, self.first))}

    folder, model = tmp_path_factory.mktemp("users") / "saved", Model()
    signatures = {
        "serving_default": model.predict,
        "serve": model.predict,
        "embed": model.embed,
        "head": model.head,
        "odd": model.odd,
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


def test_what_can_be_kept_is_kept_and_the_rest_is_said(users: Path, tmp_path: Path) -> None:
    warned: list[str] = []

    class Told(Progress):
        def warn(self, message: str) -> None:
            warned.append(message)

    run = Run(tmp_path / "run")
    for _ in range(2):  # the second time from the record
        made = bundle.adopt(run, sources.identify(users), progress=Told(quiet=True))
    assert (made.signature.key, [s.key for s in made.signatures]) == ("serving_default", ["embed"])
    assert made.left_out["serve"] == "it answers as serving_default does"
    assert made.left_out["head"] == "no samples fit its input 'embedding', which serving_default has not"
    assert "Erf" in made.left_out["odd"]
    assert len(warned) == 6
    assert all("\n" not in line for line in warned)
    inputs = {"x": np.random.default_rng(0).random((120, 6), dtype=np.float32)}
    calibration = Split(inputs=inputs, labels=None, digest="x")
    job = convert.Conversion(run=run, bundle=made, calibration=calibration, progress=Progress(quiet=True))
    artifacts = convert.convert(job, ["float32", "float16", "int8", "int16x8", "int8_dense_only"])
    reference = saved_model.Loaded(run.path(made.saved_model), "embed")(inputs)["embedding"]
    for artifact in artifacts:
        assert artifact.gate.passed, artifact
        assert [s.key for s in artifact.signatures] == ["embed"]
        found = targets.open("cpu").answer(run.path(artifact.path), inputs, signature="embed").outputs["embedding"]
        assert np.abs(found - reference).max() < 0.03 * np.abs(reference).max(), artifact.recipe


def test_made_up_samples_tell_equal_signatures(users: Path) -> None:
    kept, left_out = further.choose(saved_model.Loaded(users, "embed"))
    assert {s.key for s in kept} == {"serve", "serving_default"}, "to embed they are news, though they are alike"
    assert set(left_out) == {"head", "odd"}


def test_a_recipe_that_a_further_signature_rules_out_names_it(users: Path) -> None:
    odd = saved_model.Loaded(users, "odd").signature
    with pytest.raises(BrokenInput, match="recipe float32, signature 'odd': the model needs Erf"):
        tflite.convert(users, "serving_default", recipes.load("float32"), None, [odd])


def loop(steps: int, name: str) -> bytes:
    """A file whose only signature adds 1 in a WHILE of ``steps`` turns, which has subgraphs of its own."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, 2], tf.float32, name="x")])
    def run(x: Any) -> dict[str, Any]:
        turned = tf.while_loop(lambda i, _: i < steps, lambda i, v: (i + 1, v * 2.0 + 1.0), [tf.constant(0), x])
        return {"y": turned[1]}

    module = tf.Module()
    module.run = run
    converter = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()], module)
    data = bytearray(converter.convert())
    found = flatbuffer.parse(bytes(data))
    assert found.op_counts()["WHILE"] == 1
    at = data.find(b"serving_default")
    assert len(name) == len("serving_default")
    data[at : at + len(name)] = name.encode()
    return bytes(data)


def test_calls_of_other_subgraphs_are_renumbered(tmp_path: Path) -> None:
    names = ["serving_default", "another_of_them", "and_a_third_one"]
    parts = [loop(steps, name) for steps, name in zip((2, 5, 7), names, strict=True)]
    path = tmp_path / "loops.tflite"
    path.write_bytes(merge.merge(parts[0], parts[1:]))
    model = flatbuffer.read(path)
    assert [s.key for s in model.signatures] == names
    assert len(model.graphs) == 3
    assert len(model.other_ops) == len(model.every_op()) - sum(len(g.ops) for g in model.graphs) > 6
    for steps, name in zip((2, 5, 7), names, strict=True):
        for target in ("cpu", "cpu:xnnpack=off"):
            found = targets.open(target).answer(path, {"x": np.zeros((1, 2), np.float32)}, signature=name)
            assert found.outputs["y"].tolist() == [[2**steps - 1] * 2], name


def test_what_keeps_state_is_not_merged() -> None:
    import tensorflow as tf

    class Counter(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = tf.Variable([0.0, 0.0])

        @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, name="x")])
        def run(self, x: Any) -> dict[str, Any]:
            return {"y": self.total.assign_add(x)}

    counter = Counter()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([counter.run.get_concrete_function()], counter)
    converter.experimental_enable_resource_variables = True
    with pytest.raises(BrokenInput, match=r"keeps state between calls \(.*VAR_HANDLE"):
        merge.merge(loop(2, "serving_default"), [converter.convert()])


def test_constants_stay_aligned_and_the_newest_floor_is_kept(users: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    module = recipes.load("float32")
    parts = [tflite.convert(users, key, module, None) for key in ("serving_default", "embed")]
    whole = merge.merge(parts[0], parts[1:])
    model = schema.Model.GetRootAs(whole, 0)
    starts = []
    for i in range(model.BuffersLength()):
        if model.Buffers(i).DataLength() >= 16:
            table = model.Buffers(i)._tab
            starts.append(table.Vector(table.Offset(4)))
    assert len(starts) >= 2
    assert all(start % 16 == 0 for start in starts)
    floors = [flatbuffer.parse(data).metadata["min_runtime_version"] for data in (*parts, whole)]
    assert floors[2] == max(floors[:2])
    assert whole == merge.merge(parts[0], parts[1:]), "the same bytes every time"
