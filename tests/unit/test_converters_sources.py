"""What a path holds: found by content, refused with the reason."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import keras_models, sources
from toolkit.errors import BrokenInput, UsageError

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
LAMBDA = {"class_name": "Lambda", "config": {"name": "twice"}}
DENSE = {"class_name": "Dense", "config": {"name": "dense"}}


def keras_zip(path: Path, *layers: Any, version: Any = "3.15.1", leave_out: str = "") -> Path:
    """A file laid out as ``model.save()`` does it."""
    members = {
        "metadata.json": json.dumps({"keras_version": version, "date_saved": "today"}),
        "config.json": json.dumps({"class_name": "Sequential", "config": {"layers": list(layers)}}),
        "model.weights.h5": "weights",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name != leave_out:
                archive.writestr(name, content)
    return path


def keras_h5(path: Path, *layers: Any, version: Any = b"2.21.0", config: Any = None) -> Path:
    import h5py

    with h5py.File(path, "w") as stored:
        if version is not None:
            stored.attrs["keras_version"] = version
        stored.attrs["model_config"] = config or json.dumps({"class_name": "Sequential", "config": list(layers)})
        stored["model_weights/dense"] = np.zeros(4096)
    return path


@pytest.mark.parametrize(("version", "found"), [("3.15.1", 3), ("3.0.0", 3), ("2.21.0", 2), ("2.4", 2), (None, 2)])
def test_the_generation_is_read_from_the_file(tmp_path: Path, version: str | None, found: int) -> None:
    zipped = sources.identify(keras_zip(tmp_path / "m.keras", DENSE, version=version))
    stored = sources.identify(keras_h5(tmp_path / "m.h5", DENSE, version=version))
    assert (zipped.kind, zipped.keras_version, zipped.name) == ("keras", found, "m")
    assert (stored.kind, stored.keras_version) == ("h5", found)


def test_content_decides_and_not_the_ending(tmp_path: Path) -> None:
    assert sources.identify(keras_zip(tmp_path / "a.h5", DENSE)).kind == "keras"
    assert sources.identify(keras_h5(tmp_path / "b.keras", DENSE)).kind == "h5"
    (tmp_path / "c.keras").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(20))
    assert sources.identify(tmp_path / "c.keras").kind == "tflite"


NESTED = {"class_name": "Functional", "config": {"layers": [DENSE, {"class_name": "TimeDistributed", "config": {
    "name": "each", "layer": LAMBDA}}]}}  # fmt: skip


ACTIVATION = {"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__", "config": {
    "name": "twice", "value": "4wEA"}}}}  # fmt: skip


@pytest.mark.parametrize(
    "layers",
    [(LAMBDA,), (DENSE, LAMBDA), (NESTED,), (ACTIVATION,)],
    ids=["alone", "second", "nested", "activation"],
)
@pytest.mark.parametrize("make", [keras_zip, keras_h5])
def test_a_lambda_layer_is_refused_unless_trusted(tmp_path: Path, make: Any, layers: tuple[Any, ...]) -> None:
    path = make(tmp_path / "m", *layers)
    with pytest.raises(BrokenInput, match=r"Lambda layer \(twice\).*--unsafe"):
        sources.identify(path)
    assert sources.identify(path, unsafe=True).keras_version in (2, 3)


def test_a_layer_that_is_only_called_lambda_is_none(tmp_path: Path) -> None:
    layer = {"class_name": "Dense", "config": {"name": "Lambda", "units": 3}}
    assert sources.identify(keras_zip(tmp_path / "m.keras", layer)).kind == "keras"


@pytest.mark.parametrize("ending", ["keras", "h5", "tflite"])
@pytest.mark.parametrize("content", [b"", PNG, bytes(range(256)), b"x"], ids=["empty", "png", "bytes", "one"])
def test_garbage_of_any_name_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"m.{ending}"
    path.write_bytes(content)
    with pytest.raises(BrokenInput, match="is empty" if not content else "is not a model") as caught:
        sources.identify(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


@pytest.mark.parametrize("leave_out", ["metadata.json", "config.json", "model.weights.h5"])
def test_a_zip_without_the_parts_of_a_model_is_refused(tmp_path: Path, leave_out: str) -> None:
    with pytest.raises(BrokenInput, match=r"not a whole \.keras file"):
        sources.identify(keras_zip(tmp_path / "m.keras", DENSE, leave_out=leave_out))


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', "{", "\ufeff"])
@pytest.mark.parametrize("member", ["metadata.json", "config.json"])
def test_a_zip_with_other_json_is_refused(tmp_path: Path, member: str, text: str) -> None:
    path = keras_zip(tmp_path / "m.keras", DENSE, leave_out=member)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, text)
    with pytest.raises(BrokenInput, match=r"not a whole \.keras file"):
        sources.identify(path)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.01, 0.99), make=st.sampled_from([keras_zip, keras_h5]))
def test_truncated_anywhere(tmp_path_factory: pytest.TempPathFactory, share: float, make: Any) -> None:
    path = make(tmp_path_factory.mktemp("cut") / "m", DENSE)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(len(whole) * share))])
    with pytest.raises(BrokenInput):
        sources.identify(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bytes_are_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    # Not of an HDF5 file: its C library loops for ever on one such file in some thousand.
    path = keras_zip(tmp_path_factory.mktemp("flip") / "m", DENSE)
    changed = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=8)):
        changed[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(changed))
    try:
        found = sources.identify(path)
    except BrokenInput:
        return
    assert found.kind in ("keras", "h5", "tflite")


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "m.weights.h5", "w") as stored:
        stored["layers/dense/vars/0"] = np.zeros(4)
    with pytest.raises(BrokenInput, match="weights only"):
        sources.identify(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("config", ["{", "[]", "7"])
def test_an_h5_with_a_damaged_configuration(tmp_path: Path, config: str) -> None:
    with pytest.raises(BrokenInput, match="damaged model_config"):
        sources.identify(keras_h5(tmp_path / "m.h5", config=config))


def test_nothing_there_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        sources.identify(tmp_path / "none.keras")


def test_a_saved_model_and_the_folder_above_its_versions(tmp_path: Path) -> None:
    for version in ("9", "10", "notes"):
        (tmp_path / "model" / version).mkdir(parents=True)
        (tmp_path / "model" / version / "saved_model.pb").write_bytes(b"x")
    (tmp_path / "model" / "11").mkdir()  # not whole: no saved_model.pb
    for given_path, newest in (("model", "10"), ("model/9", "9")):
        found = sources.identify(tmp_path / given_path)
        assert (found.kind, found.path, found.name) == ("saved_model", tmp_path / "model" / newest, "model")


@pytest.mark.parametrize("content", [None, b""])
def test_a_folder_that_is_no_saved_model(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(BrokenInput, match=r"saved_model\.pb"):
        sources.identify(tmp_path)


def test_a_run_directory_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BrokenInput, match="no trained model"):
        sources.identify(tmp_path)


@pytest.mark.slow
def test_real_files_of_both_generations(keras_files: dict[str, Any]) -> None:
    for key, saved in keras_files.items():
        if key.startswith("weights"):
            with pytest.raises(BrokenInput, match="weights only"):
                sources.identify(saved.path)
        elif "lambda" in key:
            with pytest.raises(BrokenInput, match=r"\((twice|one_more)\)"):
                sources.identify(saved.path)
            assert sources.identify(saved.path, unsafe=True).keras_version == saved.keras_version
        else:
            found = sources.identify(saved.path)
            assert (found.keras_version, found.kind) == (saved.keras_version, "h5" if key.endswith("h5") else "keras")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["lambda-k2", "lambda-k3", "nested_lambda-k2", "nested_lambda-k3"])
def test_a_trusted_lambda_runs_and_an_untrusted_one_never_loads(keras_files: dict[str, Any], key: str) -> None:
    saved = keras_files[key]
    with pytest.raises(BrokenInput, match="cannot load it"):
        keras_models.load(saved.path, saved.keras_version)
    model = keras_models.load(saved.path, saved.keras_version, unsafe=True)
    assert np.allclose(model(saved.inputs["features"]), saved.outputs[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["single-k2", "single-k3"])
def test_damaged_weights_inside_a_whole_zip(keras_files: dict[str, Any], key: str, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(keras_files[key].path) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if name.endswith(".h5") else content)
    found = sources.identify(path)
    with pytest.raises(BrokenInput, match="cannot load it"):
        keras_models.load(path, found.keras_version or 0)
