"""Every recipe on a real small network: it passes its gate, and its label fits no other recipe's file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import dense, kinds

from converters import labels, recipes
from toolkit import flatbuffer
from toolkit.store import sha256_file

pytestmark = pytest.mark.slow
NAMES = dense.NAMES

FLOATS = {"float32", "pruned", "pruned_constant", "pruned_2_4", "pruned_16x1", "clustered", "compacted"}
INTEGERS = {"int8", "pruned_int8", "qat_int8", "pqat_int8", "cqat_int8", "pcqat_int8", "compacted_int8"}
SPARSE = {"pruned", "pruned_constant"}

ALSO_TRUE = {
    # A float or an int8 file stays one whatever was done to its weights before; zeros and clusters are kept alike.
    *((plain, other) for plain in ("float32", "compacted") for other in FLOATS),
    *((plain, other) for plain in ("int8", "qat_int8", "compacted_int8") for other in INTEGERS),
    *((zeros, other) for zeros in ("pruned_int8", "pqat_int8") for other in ("pruned_int8", "pqat_int8", "pcqat_int8")),
    ("cqat_int8", "pcqat_int8"),
    # Where no layer has to stay in float, all of them are integers, and of a dense network all layers are dense.
    *(("int8_mixed", "int8_float_io"), ("int8_float_io", "int8_mixed"), ("int8_mixed", "int8_dense_only")),
    # That units are gone, no file can tell.
    *((f"compacted_{kind}", kind) for kind in ("dynamic_range", "dynamic_int4")),
    *((kind, f"compacted_{kind}") for kind in ("dynamic_range", "dynamic_int4")),
    *(("compacted_int4", "dynamic_int4"), ("dynamic_int4", "compacted_int4")),
    # The same promise by another schedule, and by another pattern that has as many zeros.
    *((label, other) for label in SPARSE for other in (*SPARSE, "pruned_16x1")),
}
"""(recipe, file of another recipe) where the label would not lie."""


@pytest.mark.parametrize("name", NAMES)
def test_it_converts_and_passes_its_gate(converted: Any, name: str) -> None:
    artifact = converted.artifacts[name]
    assert [f"{c.name}: {c.detail}" for c in artifact.gate.checks if not c.passed] == []
    assert artifact.gate.passed
    assert {"label", "builtin", "names", "xnnpack-on", "xnnpack-off", "xnnpack-agree", "runtime-floor"} == {
        c.name for c in artifact.gate.checks
    }
    assert artifact.path == f"artifacts/{name}.tflite"
    assert artifact.sha256 == sha256_file(converted.file(name))
    assert artifact.size_bytes == converted.file(name).stat().st_size
    assert artifact.parent_sha256 == converted.job.bundle.sha256
    needs_data = "calibration" in recipes.load(name).RECIPE.needs
    assert artifact.calibration_digest == ("calibration" if needs_data else None)
    assert artifact.runtime_floor
    assert artifact.ops["FULLY_CONNECTED"] == 2


PROMISED = {
    "float16": ("FLOAT32", "FLOAT16", {"FLOAT32"}),
    "dynamic_range": ("FLOAT32", "INT8", {"FLOAT32"}),
    "int8_float_io": ("FLOAT32", "INT8", {"INT8", "FLOAT32"}),
    "int8_mixed": ("FLOAT32", "INT8", {"INT8", "FLOAT32"}),
    "int8_dense_only": ("FLOAT32", "INT8", {"INT8", "FLOAT32"}),
    "int16x8": ("FLOAT32", "INT8", {"INT16", "FLOAT32"}),
    "dynamic_int4": ("FLOAT32", "INT4", {"FLOAT32"}),
    "weight_only_int8": ("FLOAT32", "INT8", {"FLOAT32"}),
    **{name: ("INT8", "INT8", {"INT8"}) for name in INTEGERS},
    "compacted_dynamic_range": ("FLOAT32", "INT8", {"FLOAT32"}),
    "compacted_int4": ("FLOAT32", "INT4", {"FLOAT32"}),
    **{name: ("FLOAT32", "FLOAT32", {"FLOAT32"}) for name in FLOATS},
}


@pytest.mark.parametrize("name", NAMES)
def test_it_carries_the_promised_types(converted: Any, name: str) -> None:
    edge, kernel, inside = PROMISED[name]
    model = flatbuffer.read(converted.file(name))
    assert {model.tensors[i].dtype for i in model.inputs + model.outputs} == {edge}
    kernels = {k.elements: k.dtype for k in model.weights()}
    assert (784 * 32 in kernels) != name.startswith("compacted")
    assert kernels[max(kernels)] == kernel
    if not name.endswith("dynamic_range"):  # which leaves a kernel of 320 elements in float
        assert kernels[min(kernels)] == kernel
    assert {t.dtype for t in model.activations()} == inside
    assert any(t.sparse for t in model.tensors) == (name.startswith("pruned") and name != "pruned_int8")
    recipe = recipes.load(name).RECIPE
    assert (recipe.weight_dtype, recipe.io_dtype) == (kernel.lower(), edge.lower())


@pytest.mark.parametrize("name", NAMES)
def test_its_kernels_are_of_the_kinds_that_the_legality_table_is_asked_about(converted: Any, name: str) -> None:
    assert kinds.unpromised(recipes.load(name), converted.file(name)) == []


@pytest.mark.parametrize("file", NAMES)
@pytest.mark.parametrize("label", NAMES)
def test_the_label_cannot_lie(converted: Any, label: str, file: str) -> None:
    wrong = recipes.load(label).expect(flatbuffer.read(converted.file(file)))
    if label == file or (label, file) in ALSO_TRUE:
        assert wrong == []
    else:
        assert wrong, f"{label} accepts the file of {file}"
        assert all("\n" not in line for line in wrong)


def test_the_promised_zeros_are_counted(converted: Any) -> None:
    pruned, plain = (flatbuffer.read(converted.file(n)) for n in ("pruned_int8", "int8"))
    shares = [k.zero_share for k in pruned.weights()]
    assert all(share is not None and share >= 0.8 for share in shares), shares
    assert labels.zeros(pruned, 0.8) == []
    assert labels.zeros(pruned, 0.95) != []
    found = labels.zeros(plain, 0.8)
    assert len(found) == 1
    assert "not 80%" in found[0]


def test_pruned_is_smaller_only_after_gzip(converted: Any) -> None:
    pruned, plain = converted.artifacts["pruned_int8"], converted.artifacts["int8"]
    assert pruned.gzip_bytes < 0.7 * plain.gzip_bytes
    assert abs(pruned.size_bytes - plain.size_bytes) < 2000


def test_the_pruned_model_still_knows_the_digits(converted: Any) -> None:
    from devices import targets

    job = converted.job
    for name in NAMES:
        scores = targets.open("cpu").answer(converted.file(name), job.training.inputs).outputs["probabilities"]
        # Of the last layer's twenty blocks four are left, which cannot tell ten classes apart.
        least = 0.3 if name == "pruned_16x1" else 0.95
        assert np.mean(scores.argmax(axis=1) == job.training.labels) > least, name


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_made_again_it_has_the_same_bytes(converted: Any) -> None:
    from converters import metadata, tflite

    job = converted.job
    for name in ("float32", "int8", "dynamic_range", "int8_dense_only"):
        saved_model = job.run.path(job.bundle.saved_model)
        data = job.calibration.inputs if recipes.load(name).RECIPE.needs else None
        again = tflite.convert(saved_model, job.bundle.signature.key, recipes.load(name), data)
        again = metadata.embed(again, metadata.contract(again, job.bundle, name))
        assert again == converted.file(name).read_bytes(), name
