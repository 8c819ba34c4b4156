"""The contract travels inside the file, survives every recipe, and says what a caller needs; its snippet runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import dense

from converters import metadata, packing, snippets
from devices import targets
from toolkit import flatbuffer
from toolkit.errors import BrokenInput

pytestmark = pytest.mark.slow
NAMES = dense.NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_artifact_carries_its_contract(converted: Any, name: str) -> None:
    artifact, model = converted.artifacts[name], flatbuffer.read(converted.file(name))
    inside = metadata.read(model)
    assert inside is not None
    assert inside["recipe"] == name
    assert inside["model"] == "small"
    assert inside["batch"] == "any"
    assert {**inside, "snippets": artifact.contract["snippets"]} == artifact.contract
    (main,) = inside["signatures"]
    assert main["key"] == "serving_default"
    for side in ("inputs", "outputs"):
        for found in main[side]:
            tensor = model.tensors[getattr(model, side)[found["index"]]]
            assert (found["dtype"], found["shape"]) == (tensor.dtype.lower(), list(tensor.shape))
            assert found.get("scale") == (tensor.scales[0] if tensor.scales else None)
    assert [t["name"] for t in main["inputs"]] == ["image"]
    assert [t["name"] for t in main["outputs"]] == ["probabilities"]
    record = json.loads(converted.file(name).with_suffix(".json").read_text())
    assert record["contract"]["snippets"].keys() == set(snippets.languages()) == {"kotlin", "python", "swift"}


@pytest.mark.parametrize("name", NAMES)
def test_the_python_snippet_runs_as_it_stands(
    converted: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(converted.file(name), tmp_path / f"{name}.tflite")
    monkeypatch.chdir(tmp_path)
    image = converted.job.training.inputs["image"][3:4]
    code = converted.artifacts[name].contract["snippets"]["python"]
    code = code.replace("np.zeros([1, 28, 28], np.float32)", "given")
    ran: dict[str, Any] = {"given": image}
    exec(code, ran)
    expected = targets.open("cpu:xnnpack=on").answer(converted.file(name), {"image": image}).outputs["probabilities"]
    np.testing.assert_allclose(ran["probabilities"], expected, atol=1e-6)


def test_other_languages_name_and_quantize_every_tensor(converted: Any) -> None:
    contract = converted.artifacts["int8"].contract
    given = contract["signatures"][0]["inputs"][0]
    for language in ("kotlin", "swift"):
        code = contract["snippets"][language]
        assert str(given["scale"]) in code
        assert str(given["zero_point"]) in code
        assert "784" in code
        assert code.count("{") == code.count("}")
        assert code.count("(") == code.count(")")
        assert "int8" in code
    assert '"image" to image' in contract["snippets"]["kotlin"]
    assert "toInputAt: 0" in contract["snippets"]["swift"]


def test_a_contract_put_in_again_replaces_the_first(converted: Any) -> None:
    data = converted.file("int8").read_bytes()
    changed = metadata.embed(data, {"contract": 1, "model": "other"})
    assert metadata.read(flatbuffer.parse(changed)) == {"contract": 1, "model": "other"}
    again = metadata.embed(changed, metadata.read(flatbuffer.parse(data)) or {})
    assert again == data


def test_constants_stay_aligned_and_equal(converted: Any) -> None:
    data = converted.file("float32").read_bytes()
    for buffer in packing.unpack(data).buffers:
        if buffer.data is not None and len(buffer.data) >= 16:
            assert data.find(bytes(buffer.data)) % 16 == 0


def test_names_that_are_no_variables() -> None:
    tensors = [
        {"name": n, "index": i, "shape": [None, 2], "dtype": "float32"}
        for i, n in enumerate(("1st", "run", "a/b", "in"))
    ]
    contract = {"signatures": [{"key": "serving_default", "inputs": tensors, "outputs": tensors[:1]}]}
    code = snippets.snippets(contract, "m.tflite")["python"]
    compile(code, "snippet", "exec")
    for variable in ("x_1st", "x_run", "a_b", "x_in"):
        assert f"{variable} = np.zeros([1, 2], np.float32)" in code


def test_a_contract_that_cannot_be_read(converted: Any) -> None:
    data = converted.file("int8").read_bytes()
    newer = flatbuffer.parse(metadata.embed(data, {"contract": 99}))
    with pytest.raises(BrokenInput, match="version 99"):
        metadata.read(newer, where="m.tflite")
    newer.metadata[metadata.NAME] = b"no json"
    with pytest.raises(BrokenInput, match="cannot be read"):
        metadata.read(newer, where="m.tflite")
