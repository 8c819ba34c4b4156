"""Two models, two files or two sets of samples taken for one another: refused, whatever the numbers say."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.report_records import artifact

from devices import validate
from toolkit.cli import stages
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import ModelBundle, Signature
from toolkit.store import Run, sha256_bytes, write_json


def bundle(sha256: str) -> ModelBundle:
    return ModelBundle(
        name="m",
        keras_file=None,
        keras_version=None,
        saved_model="bundle/saved_model/1",
        signature=Signature(key="serving_default", inputs=(), outputs=()),
        sha256=sha256,
        seed=0,
    )


def test_a_run_that_holds_another_model_takes_no_second_one(tmp_path: Path) -> None:
    source = tmp_path / "mine.keras"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.0"}))
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    write_json(tmp_path / "run" / "bundle" / "bundle.json", bundle("another digest"))
    with pytest.raises(UsageError, match="holds another model"):
        stages.open_run(source, tmp_path / "run")
    write_json(tmp_path / "run" / "bundle" / "bundle.json", bundle(sha256_bytes(source.read_bytes())))
    assert stages.open_run(source, tmp_path / "run").root == tmp_path / "run"


@pytest.mark.parametrize(("content", "said"), [(b"other", "not the file that went through"), (None, "is gone")])
def test_a_file_that_is_not_the_one_that_passed_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    run = Run(tmp_path)
    made = replace(artifact("int8"), path="int8.tflite", sha256=sha256_bytes(b"passed"))
    (tmp_path / "int8.tflite").write_bytes(b"passed")
    assert stages.passed_files(run, [made]) == [("int8", tmp_path / "int8.tflite")]
    if content is None:
        (tmp_path / "int8.tflite").unlink()
    else:
        (tmp_path / "int8.tflite").write_bytes(content)
    with pytest.raises(BrokenInput, match=said):
        stages.passed_files(run, [made])


@pytest.mark.parametrize(("share", "passed"), [(0.5, False), (1.0, True)])
def test_equal_accuracy_on_other_samples_is_not_agreement(share: float, passed: bool) -> None:
    labels = np.zeros(10_000, np.int64)
    right, wrong = np.array([0.9, 0.1], np.float32), np.array([0.1, 0.9], np.float32)
    cloud = np.where((np.arange(10_000) % 2 == 0)[:, None], right, wrong)
    edge = cloud if share == 1 else cloud[::-1]
    found = validate.compare(
        recipe="a", target="cpu", against="b", edge={"y": edge}, cloud={"y": cloud}, labels=labels, budget=0.1
    )
    assert found.difference == 0
    assert found.passed == passed
    assert passed or "not one model" in found.verdict
