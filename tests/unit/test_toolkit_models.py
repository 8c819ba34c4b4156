"""The model families: the registry, its promises, and the graphs of the digit classifiers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toolkit.datasets
import toolkit.models
from toolkit.errors import UsageError
from toolkit.models import Blueprint, Layers, Task

DIGITS = ("linear", "one-hidden", "dnn", "deep", "cnn")


def test_the_folder_is_the_registry() -> None:
    folder = Path(toolkit.models.__file__).parent
    assert toolkit.models.names() == sorted(p.stem.replace("_", "-") for p in folder.glob("[!_]*.py"))
    assert "mnist" in toolkit.models.names()


@pytest.mark.parametrize("name", toolkit.models.names())
def test_a_family_keeps_the_contract(name: str) -> None:
    family = toolkit.models.load(name)
    assert family.SUMMARY.strip()
    assert "\n" not in family.SUMMARY
    # Only the user's own model has no data set of its own.
    assert family.DATASET in ([None] if name == "user" else toolkit.datasets.names())
    assert family.DEFAULT_VARIANT in family.VARIANTS
    for variant in family.VARIANTS.values():
        assert variant.summary.strip()
        assert variant.epochs >= 1


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean mnist"):
        toolkit.models.load("mnits")
    with pytest.raises(UsageError, match="did you mean one-hidden"):
        toolkit.models.variant("mnist", "one_hidden")
    assert toolkit.models.variant("mnist", "cnn").epochs >= 1


def test_families_import_no_tensorflow() -> None:
    code = (
        "import sys, toolkit.models as m, toolkit.training.fit\n"
        "import toolkit.training.clustering, toolkit.training.pruning, toolkit.training.quantizing\n"
        "[m.load(n) for n in m.names()]\n"
        "sys.exit(', '.join(x for x in ('tensorflow', 'keras', 'tf_keras') if x in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _build(variant: str, **options: Any) -> Any:
    task = Task(kind="classification", classes=10)
    return toolkit.models.load("mnist").build(Blueprint(variant=variant, task=task, layers=Layers(**options)))


@pytest.mark.slow
@pytest.mark.parametrize("variant", DIGITS)
def test_digit_models_map_images_to_probabilities(variant: str) -> None:
    model = _build(variant)
    assert model.input_names == ["image"]
    assert model.output_names == ["probabilities"]
    assert tuple(model.inputs[0].shape) == (None, 28, 28)
    assert model.inputs[0].dtype == "float32"
    answer = model.predict(np.random.default_rng(0).random((3, 28, 28), dtype=np.float32), verbose=0)
    assert answer.shape == (3, 10)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)
    assert getattr(model, "optimizer", None) is None


@pytest.mark.slow
def test_digit_models_differ_in_depth() -> None:
    layers = {v: sum(layer.name.startswith("hidden_") for layer in _build(v).layers) for v in DIGITS}
    assert layers == {"linear": 0, "one-hidden": 1, "dnn": 2, "deep": 3, "cnn": 1}
    assert sum(layer.name.startswith("conv_") for layer in _build("cnn").layers) == 2


@pytest.mark.slow
@pytest.mark.parametrize("variant", DIGITS)
def test_names_do_not_depend_on_what_was_built_before(variant: str) -> None:
    # No session is cleared in between: an automatic name would be numbered on.
    rate = 0.0 if variant == "linear" else 0.2
    first, second = _build(variant, dropout=rate), _build(variant, dropout=rate)
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert [w.name for w in first.weights] == [w.name for w in second.weights]
    assert first.name == second.name
    assert first.get_config() == second.get_config()


@pytest.mark.slow
def test_options_reach_the_layers() -> None:
    plain, full = _build("dnn"), _build("dnn", dropout=0.25, l1=0.5, l2=0.125)
    assert [layer.rate for layer in full.layers if layer.name.startswith("dropout")] == [0.25, 0.25]
    assert not [layer for layer in plain.layers if layer.name.startswith("dropout")]
    assert not plain.losses
    kernels = [w.numpy() for w in full.weights if "kernel" in w.name]
    assert len(full.losses) == len(kernels) == 3
    for loss, kernel in zip(full.losses, kernels, strict=True):
        expected = 0.5 * np.abs(kernel.astype(np.float64)).sum() + 0.125 * (kernel.astype(np.float64) ** 2).sum()
        assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["dnn", "cnn"])
def test_shapes_are_constants_on_the_edge(variant: str, tmp_path: Path) -> None:
    import tensorflow as tf

    from toolkit import flatbuffer

    model = _build(variant)
    serve = tf.function(
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[tf.TensorSpec([None, 28, 28], tf.float32, name="image")],
    )
    tf.saved_model.save(model, str(tmp_path / "saved"), signatures=serve)
    file = tmp_path / "model.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert())
    found = {op.name for op in flatbuffer.read(file).ops}
    assert "FULLY_CONNECTED" in found
    assert not found & {"SHAPE", "PACK", "STRIDED_SLICE"}
