"""The GPU target where there is none: what is missing is said; and what its runner reads in the accelerator's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import devices.targets
from devices.runners import compiled
from devices.targets import gpu
from toolkit.errors import MissingError, UsageError

PARTLY = """INFO: [delegate_webgpu.cc:342] Create WebGPU environment
I0000 00:00:1795619200.616328   31912 environment.cc:532] Selected adapter: SwiftShader Device (Subzero), type=CPU
ERROR: Following operations are not supported by GPU delegate:
BUCKETIZE: Operation is not supported.
GATHER: Only support 1D indices
42 operations will run on the GPU, and the remaining 25 operations will run on the CPU.
"""


def runner(said: str, fully: bool, total: int = 67) -> Any:
    """A compiled model that was heard to say this, without an accelerator behind it."""
    made = compiled.Compiled.__new__(compiled.Compiled)
    made.said, made.total, made.warm_init_us = said, total, 12.5
    made._model = SimpleNamespace(is_fully_accelerated=lambda: fully)
    made._plan = {"precision": "fp16"}
    return made


def test_what_was_left_behind_is_read() -> None:
    found = runner(PARTLY, False).delegation()
    assert found["delegated_ops"] == [42, 67]
    assert found["ops_left"] == ["BUCKETIZE", "GATHER"]


def test_a_whole_model_is_a_whole_model() -> None:
    assert runner("Selected adapter: A", True).delegation()["delegated_ops"] == [67, 67]
    unknown = runner("Selected adapter: A", False).delegation()
    assert unknown["delegated_ops"] is None
    assert unknown["delegation_unknown"]


@pytest.mark.parametrize(
    ("adapter", "software"),
    [
        ("SwiftShader Device (Subzero), arch=swiftshader", True),
        ("llvmpipe (LLVM 15.0.6, 256 bits)", True),
        ("NVIDIA GeForce RTX 4090, arch=ada, backend=Vulkan, adapterType=Discrete GPU", False),
    ],
)
def test_software_is_told_by_its_name(adapter: str, software: bool) -> None:
    found = runner(f"x] Selected adapter: {adapter}\n", True).facts()
    assert (found["adapter"], found["software"]) == (adapter, software)
    assert (found["precision"], found["warm_init_us"]) == ("fp16", 12.5)


@pytest.mark.parametrize("to_file", [True, False])
def test_native_words_are_heard_and_passed_on(tmp_path: Path, to_file: bool) -> None:
    code = (
        "import os, sys; from devices.runners.compiled import Overheard\n"
        "os.write(2, b'before\\n'); o = Overheard()\n"
        "with o: os.write(2, b'during\\n')\n"
        "os.write(2, b'after\\n'); print(repr(o.text))"
    )
    errors = tmp_path / "stderr"
    with open(errors, "wb") as stream:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=stream if to_file else subprocess.PIPE,
            timeout=60,
        )
    assert done.stdout.decode().strip() == repr("during\n")
    said = errors.read_bytes() if to_file else done.stderr
    assert said == b"before\nduring\nafter\n"


def test_without_a_driver_the_target_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path))
    monkeypatch.setattr(gpu, "_drivers", list)
    row = gpu.describe()
    assert row["reachable"] is False
    assert "Vulkan" in row["why"]
    with pytest.raises(MissingError, match="Vulkan") as caught:
        devices.targets.open("gpu")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("spec", "said"), [("gpu:precision=int8", "precision=int8"), ("gpu:threads=2", "unknown option")]
)
def test_wrong_texts_are_told(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        devices.targets.open(spec)
