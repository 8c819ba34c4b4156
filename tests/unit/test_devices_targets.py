"""The registry of targets, their options, and the cpu target on a 520-byte model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from devices import runtimes, targets
from devices.targets import cpu
from toolkit.errors import BrokenInput, DeviceError, MissingError, UsageError
from toolkit.records import Plan

PROBE = cpu.RUNNER.with_name("probe.tflite")
PLAN = Plan(
    mode="quick", processes=2, min_samples=8, min_seconds=0.02, max_seconds=5.0, warmup_min_seconds=0.01
)  # as short as it gets: what is tested is the way there and back


def test_every_target_describes_itself() -> None:
    rows = targets.describe_all()
    # A target that stands for many devices has a row for each that is there.
    assert list(dict.fromkeys(row["name"].partition(":")[0] for row in rows)) == targets.names()
    assert {"android", "cpu", "gpu", "raspberry-pi", "saved-model"} <= set(targets.names())
    for row in rows:
        assert set(row) == {"name", "reachable", "why", "emulated", "platform", "runtimes"}
        assert row["reachable"] is (row["why"] is None)
        assert all("==" in runtime for runtime in row["runtimes"])


def test_listing_targets_imports_nothing_heavy() -> None:
    code = (
        "import sys; from devices import targets; assert targets.describe_all()\n"
        "print([m for m in ('numpy', 'ai_edge_litert', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_spec_sets_options_and_its_name() -> None:
    device = targets.open("cpu:xnnpack=off,threads=3", threads=2)
    assert device.target.name == "cpu:threads=3,xnnpack=off"
    assert (device.target.threads, device.target.delegate) == (3, None)
    plain = targets.open("cpu", threads=2).target
    assert (plain.name, plain.threads, plain.delegate, plain.runtime) == ("cpu", 2, "xnnpack", "ai-edge-litert")
    assert plain.runtime_version == runtimes.installed("ai-edge-litert") == runtimes.available()[0].split("==")[1]
    version = plain.runtime_version
    named = targets.open(f"cpu:runtime=ai-edge-litert=={version}").target
    assert (named.runtime, named.runtime_version) == ("ai-edge-litert", version)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cup", "unknown target 'cup'; did you mean cpu?"),
        ("", "unknown target ''"),
        ("cpu:thread=4", "unknown option of target cpu 'thread'; did you mean threads?"),
        ("cpu:threads=0", "threads=0 is no number from 1"),
        ("cpu:threads=x", "threads=x is no number from 1"),
        ("cpu:threads", "option 'threads' has no value"),
        ("cpu:threads=2,threads=3", "option 'threads' is given twice"),
        ("cpu:xnnpack=maybe", "write xnnpack=on or xnnpack=off"),
        ("cpu:runtime=onnx", "unknown runtime 'onnx'"),
        ("saved-model:xnnpack=on", "unknown option of target saved-model 'xnnpack'"),
    ],
)
def test_specs_that_mean_nothing(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        targets.open(spec)
    assert said in str(caught.value)


def test_a_runtime_that_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path))
    with pytest.raises(
        MissingError, match=r"runtime ai-edge-litert==0\.0\.1: is not here; edge-export doctor --fix"
    ) as e:
        targets.open("cpu:runtime=ai-edge-litert==0.0.1")
    assert "--runtime ai-edge-litert==0.0.1 makes it" in str(e.value)
    assert "scripts/bootstrap" not in str(e.value)


def test_the_cpu_answers() -> None:
    x = np.random.default_rng(0).random((70, 4), dtype=np.float32)
    found = targets.open("cpu").answer(PROBE, {"x": x}, batch=16)
    assert np.array_equal(found.outputs["y"], x + 1)
    assert found.provenance["batch"] == 16
    assert found.delegated_ops == (1, 1)
    assert found.provenance["runtime_version"] == runtimes.installed("ai-edge-litert")
    off = targets.open("cpu:xnnpack=off").answer(PROBE, {"x": x})
    assert (off.delegated_ops, off.partitions, off.provenance["ops_left"]) == ((0, 1), 0, ["ADD"])
    assert np.array_equal(off.outputs["y"], x + 1)


def test_the_cpu_times() -> None:
    found = targets.open("cpu").time(PROBE, None, PLAN, round=1)
    assert found.run.round == 1
    assert len(found.run.samples_ns) >= 4
    assert found.run.batch_k > 1
    assert all(s > 0 for s in found.run.samples_ns)
    assert found.run.memory is not None
    given = targets.open("cpu").time(PROBE, {"x": np.ones((3, 4), np.float32)}, PLAN, round=0)
    assert given.run.first_us > 0


@pytest.mark.parametrize(("name", "survives"), [("segv-in-batches", True), ("segv", False)])
def test_a_kernel_that_crashes_in_batches_answers_one_by_one(
    name: str, survives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "RUNNER_FILES", (Path(__file__).parent.parent / "fakes" / "runner.py",))
    model = tmp_path / name
    model.write_bytes(b"\0\0\0\0TFL3")
    inputs = {"x": np.zeros((3, 4), np.float32)}
    if survives:
        assert targets.open("cpu").answer(model, inputs).raw["y"].shape == (3, 2)
    else:
        with pytest.raises(DeviceError, match="SIGSEGV"):
            targets.open("cpu").answer(model, inputs)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "missing x"),
        ({"y": np.ones((1, 4))}, "missing x, unknown y"),
        ({"x": np.ones((2, 5), np.float32)}, "samples of shape [5]"),
        ({"x": np.ones((0, 4), np.float32)}, "at least 1"),
        ({"x": np.float32(1)}, "at least 1"),
        ({"x": np.array([["a"] * 4])}, "does not fit the model's float32"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict, said: str) -> None:
    with pytest.raises(BrokenInput) as caught:
        targets.open("cpu").answer(PROBE, inputs)
    assert said in str(caught.value)
    assert str(PROBE) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a TFLite model"),
        (PROBE.read_bytes()[:200], "not a valid Flatbuffer"),
        (b"\x1c\0\0\0TFL3" + bytes(range(256)), "not a valid Flatbuffer"),
        (None, "cannot be read"),
    ],
)
def test_files_that_are_no_models(content: bytes | None, said: str, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    if content is not None:
        model.write_bytes(content)
    for ask in (
        lambda: targets.open("cpu").answer(model, {"x": np.ones((1, 4), np.float32)}),
        lambda: targets.open("cpu").time(model, None, PLAN, round=0),
    ):
        with pytest.raises(BrokenInput, match=said):
            ask()


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match=r"no saved_model\.pb"):
        targets.open("saved-model").answer(tmp_path, {"x": np.ones((1, 4))})


def test_conditions_are_read_or_excused() -> None:
    readings, unknown = targets.open("cpu").conditions()
    expected = {"cpu", "cores", "affinity", "governor", "frequency_khz", "load_average", "memory_bytes", "os", "python"}
    assert expected <= set(readings) | set(unknown)
    assert not set(readings) & set(unknown)
    assert all(unknown.values())
    assert readings["cores"] >= 1
