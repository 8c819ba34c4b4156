"""SavedModels of Keras models: names, structures, parity, for both generations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import keras_models, saved_model
from toolkit.errors import BrokenInput

pytestmark = pytest.mark.slow

NAMES = {
    "single": (["image"], ["probabilities"]),
    "several": (["left", "right"], ["double", "score"]),
    "dictionary": (["left", "right"], ["chance", "twice"]),
}


def exported(saved: Any, folder: Path) -> tuple[Any, saved_model.Loaded]:
    model = keras_models.load(saved.path, saved.keras_version)
    path = saved_model.export(model, folder, keras_version=saved.keras_version)
    assert path.parent == folder
    assert path.name.isdigit(), "TF Serving takes numbered versions only"
    assert [p.name for p in folder.iterdir()] == [path.name], "nothing else is left beside it"
    return model, saved_model.Loaded(path)


@pytest.mark.parametrize("form", ["k2", "k3", "k2-h5", "k3-h5"])
@pytest.mark.parametrize("name", [*NAMES, "nested", "anonymous"])
def test_export_keeps_names_and_answers(keras_files: dict[str, Any], tmp_path: Path, name: str, form: str) -> None:
    saved = keras_files[f"{name}-{form}"]
    model, loaded = exported(saved, tmp_path / "saved_model")
    inputs = [t.name for t in loaded.signature.inputs]
    outputs = [t.name for t in loaded.signature.outputs]
    assert loaded.key == "serving_default"
    assert all(t.shape[0] is None for t in loaded.signature.inputs), "any number of samples"
    if name in NAMES:
        assert (inputs, sorted(outputs)) == NAMES[name]
    feed = dict(zip(inputs, saved.inputs.values(), strict=True)) if len(inputs) == 1 else saved.inputs
    found = loaded(feed)
    # The file's own answers are in the order of its outputs; a dict's by name, as the signature's are.
    for expected, observed in zip(saved.outputs, (found[n] for n in sorted(found)), strict=True):
        assert np.allclose(expected, observed, atol=1e-5)
    own = saved_model.call(model, feed, keras_version=saved.keras_version)
    assert all(np.allclose(own[n], found[n], atol=1e-5) for n in found)


@pytest.mark.parametrize("form", ["k2", "k3"])
def test_outputs_of_one_shape_are_not_mixed_up(keras_files: dict[str, Any], tmp_path: Path, form: str) -> None:
    saved = keras_files[f"several-{form}"]
    _, loaded = exported(saved, tmp_path / "saved_model")
    swapped = {"left": saved.inputs["left"] * 0 + 1, "right": saved.inputs["right"]}
    assert not np.allclose(loaded(swapped)["double"], loaded(saved.inputs)["double"])
    assert loaded(saved.inputs)["double"].shape == (5, 2)
    assert loaded(saved.inputs)["score"].shape == (5, 1)


def test_batches_of_any_size_give_all_rows(keras_files: dict[str, Any], tmp_path: Path) -> None:
    saved = keras_files["single-k2"]
    _, loaded = exported(saved, tmp_path / "saved_model")
    whole = loaded(saved.inputs)["probabilities"]
    assert len(whole) == 5
    assert np.allclose(loaded(saved.inputs, batch=2)["probabilities"], whole, atol=1e-6)


def test_a_second_export_is_a_version_of_its_own(keras_files: dict[str, Any], tmp_path: Path) -> None:
    saved = keras_files["single-k2"]
    model, _ = exported(saved, tmp_path / "saved_model")
    again = saved_model.export(model, tmp_path / "saved_model", keras_version=2)
    versions = sorted((tmp_path / "saved_model").iterdir())
    assert versions[1:] == [again], "also within the same second, and newer than the first"


def test_an_interrupted_export_leaves_nothing(keras_files: dict[str, Any], tmp_path: Path) -> None:
    saved = keras_files["single-k2"]
    model = keras_models.load(saved.path, 2)
    model.call = None  # fails while it is traced
    with pytest.raises(TypeError):
        saved_model.export(model, tmp_path / "saved_model", keras_version=2)
    assert list((tmp_path / "saved_model").iterdir()) == []


def test_a_damaged_saved_model_says_so(keras_files: dict[str, Any], tmp_path: Path) -> None:
    saved = keras_files["single-k3"]
    model = keras_models.load(saved.path, 3)
    good = saved_model.export(model, tmp_path, keras_version=3)
    graph = good / "saved_model.pb"
    whole = graph.read_bytes()
    for content in (whole[: len(whole) // 2], b"rubbish", b""):
        graph.write_bytes(content)
        with pytest.raises(BrokenInput, match="SavedModel") as caught:
            saved_model.Loaded(good)
        assert caught.value.where == str(good)
    graph.write_bytes(whole)
    for part in (good / "variables").iterdir():
        part.unlink()
    with pytest.raises(BrokenInput, match="cannot load this SavedModel"):
        saved_model.Loaded(good)


def test_a_signature_that_is_not_there(keras_files: dict[str, Any], tmp_path: Path) -> None:
    exported(keras_files["single-k2"], tmp_path)
    with pytest.raises(BrokenInput, match=r"no signature 'train'.*it has: serving_default"):
        saved_model.Loaded(next(tmp_path.iterdir()), "train")


def test_a_module_without_signatures_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "m"))
    with pytest.raises(BrokenInput, match=r"no signature 'serving_default'.*it has: none"):
        saved_model.Loaded(tmp_path / "m")
