"""The native runner: it answers as the Python interpreter does, byte for byte, and times by the same rules."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import devices.targets
from devices import exchange, feeds, harness, runtimes
from devices.device import RunnerFailed
from devices.programs import build
from devices.programs.native import Native
from toolkit.errors import BrokenInput, MissingError

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="the native runner is for Linux and Android")


def library() -> Path:
    import ai_edge_litert

    return Path(ai_edge_litert.__file__).with_name("libLiteRt.so")


@pytest.fixture(scope="module")
def program() -> Native:
    return Native({"native": build.native(os.uname().machine), "libLiteRt.so": library()})


def run(program: Native, folder: Path, model: Path, job: dict[str, Any], inputs: Any, lib: str | None = None) -> Any:
    folder.mkdir(exist_ok=True)
    plan = exchange.time_job(
        dataclasses.replace(harness.QUICK, min_samples=8, min_seconds=0.02, warmup_min_seconds=0.01)
    )
    given = {"model": str(model.resolve()), "library": lib or str(library()), "threads": 1, "xnnpack": True, **plan}
    program.write(folder, {**given, **job}, inputs, model)
    done = subprocess.run(
        [str(program.files["native"]), "plan.txt"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (0, 1), done.stderr
    return program.read(folder, where=str(model), stderr=done.stderr, model=model)


def answered(program: Native, folder: Path, model: Path, inputs: dict[str, np.ndarray]) -> Any:
    result = run(program, folder, model, {"job": "answer"}, inputs)
    return exchange.read_answer(folder, result, {}, where=str(model), n=len(next(iter(inputs.values()))))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "conv"])
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_it_answers_as_the_interpreter(
    program: Native, tmp_path: Path, tiny_models: dict[str, Any], name: str, kind: str
) -> None:
    model = getattr(tiny_models[name], kind)
    images = {"image": np.random.default_rng(1).random((5, 28, 28), dtype=np.float32)}
    there, here = answered(program, tmp_path / "job", model, images), devices.targets.open("cpu").answer(model, images)
    for output, array in here.raw.items():
        assert there.raw[output].tobytes() == array.tobytes()
        assert there.raw[output].shape == array.shape


def test_timing_follows_the_same_rules(program: Native, tmp_path: Path) -> None:
    result = run(program, tmp_path / "job", runtimes.PROBE, {"job": "time", "seed": 3}, None)
    found = exchange.read_timed(result, {}, where="probe", round=2, at="")
    assert len(found.run.samples_ns) >= 4
    assert found.run.batch_k > 1  # an addition takes less than a millisecond
    assert found.run.batch_k * np.median(found.run.samples_ns) > 0.5e6
    assert found.run.doubling_ratio is not None
    assert found.run.doubling_ratio > 1  # 2, but for other load
    assert found.run.init_us
    assert found.run.memory is not None
    assert found.run.memory.kind == "VmHWM"
    assert found.provenance["delegation_unknown"] == "LiteRT's C API does not list operators"


def test_what_is_wrong_is_told(program: Native, tmp_path: Path) -> None:
    x = {"x": np.zeros((2, 4), np.float32)}
    with pytest.raises(BrokenInput, match="missing x"):
        answered(program, tmp_path / "a", runtimes.PROBE, {"wrong": x["x"]})
    with pytest.raises(MissingError, match="the runtime does not load"):
        run(program, tmp_path / "b", runtimes.PROBE, {"job": "answer"}, x, lib="/nowhere.so")
    with pytest.raises(RunnerFailed, match="cores cannot be had"):
        run(program, tmp_path / "c", runtimes.PROBE, {"job": "answer", "affinity": [1000]}, x)
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(runtimes.PROBE.read_bytes()[:200])
    folder = tmp_path / "d"
    folder.mkdir()
    program.write(folder, {"job": "answer", "model": str(damaged), "library": str(library())}, x, runtimes.PROBE)
    subprocess.run([str(program.files["native"]), "plan.txt"], cwd=folder, capture_output=True, timeout=60)
    with pytest.raises(BrokenInput, match="does not load"):
        program.read(folder, where="damaged", stderr="", model=runtimes.PROBE)


def test_results_that_are_cut_short_are_errors(program: Native, tmp_path: Path) -> None:
    x = {"x": np.zeros((3, 4), np.float32)}
    run(program, tmp_path / "job", runtimes.PROBE, {"job": "answer"}, x)
    outputs, result = tmp_path / "job" / "outputs.bin", tmp_path / "job" / "result.txt"
    whole = outputs.read_bytes()
    outputs.write_bytes(whole[:-3])
    with pytest.raises(RunnerFailed, match="a sample takes 16"):
        program.read(tmp_path / "job", where="x", stderr="", model=runtimes.PROBE)
    outputs.write_bytes(whole)
    result.write_text(result.read_text().replace("end 1\n", ""))
    with pytest.raises(RunnerFailed, match="cut short"):
        program.read(tmp_path / "job", where="x", stderr="", model=runtimes.PROBE)
    result.unlink()
    with pytest.raises(RunnerFailed, match="cannot be read"):
        program.read(tmp_path / "job", where="x", stderr="", model=runtimes.PROBE)


def test_seeded_inputs_are_those_of_the_python_runner() -> None:
    from devices.runners import portable

    detail = {"shape": [1, 4], "dtype": np.float32, "quantization": (0.0, 0)}
    wanted = np.concatenate([feed["x"] for feed in portable.seeded({"x": detail}, 7)])
    assert np.array_equal(feeds.seeded(runtimes.PROBE, 7)["x"], wanted)


def test_the_program_is_made_once(program: Native) -> None:
    made = program.files["native"]
    stamp = made.stat().st_mtime_ns
    assert build.native(os.uname().machine) == made
    assert made.stat().st_mtime_ns == stamp


def test_without_a_compiler_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path))
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="no compiler") as caught:
        build.native("aarch64" if os.uname().machine != "aarch64" else "x86_64")
    assert "edge-export[native]" in caught.value.remedy
