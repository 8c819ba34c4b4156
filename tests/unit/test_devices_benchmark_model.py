"""Google's ``benchmark_model`` as a runner: the flags it gets, and what comes of what it leaves."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.shell_transport import Shell

import devices.targets
from devices import harness, runtimes
from devices.device import RunnerFailed
from devices.fidelity import Fidelity
from devices.programs.benchmark_model import Google
from devices.remote import Remote
from toolkit.records import Plan, Target
from toolkit.rows import measurement_row

PLAN = Plan(mode="quick", processes=2, min_samples=64, min_seconds=1.0, max_seconds=5.0)
X = {"x": np.arange(12, dtype=np.float32).reshape(3, 4)}

# What the program does, in a shell: it notes its flags, prints its timings, and (as the model does) adds one.
FAKE = """#!/bin/sh
echo "$@" >>"$NOTES"
for flag in "$@"; do
  case "$flag" in
  --input_layer_value_files=*) given="${flag##*:}" ;;
  --output_filepath=*) out="${flag#*=}" ;;
  esac
done
[ -z "$out" ] || python3 -c "
import array, sys
a = array.array('f'); a.frombytes(open(sys.argv[1], 'rb').read())
open(sys.argv[2], 'wb').write(array.array('f', [v + 1 for v in a]).tobytes())" "$given" "$out"
cat "$SAYS"
"""


class Site:
    def __init__(self, program: Google) -> None:
        self.program = program

    def ready(self, transport: Any) -> Google:
        return self.program

    def readings(self, transport: Any) -> tuple[dict[str, Any], dict[str, str]]:
        return {}, {}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    says(tmp_path, monkeypatch, "classic_plain.txt")
    path = tmp_path / "benchmark_model"
    path.write_text(FAKE)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def says(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    golden = Path(__file__).parent.parent / "golden" / "benchmark_model" / name
    monkeypatch.setenv("SAYS", str(golden))


def device(tool: Path, folder: Path, *, gpu: bool = False, **options: Any) -> Remote:
    target = Target(name="phone", platform="android", runtime="benchmark_model", runtime_version="1")
    site = Site(Google(tool, gpu=gpu))
    return Remote(target=target, transport=Shell(folder / "device"), site=site, options={"threads": 2, **options})


def test_it_answers(tool: Path, tmp_path: Path) -> None:
    found = device(tool, tmp_path).answer(runtimes.PROBE, X)
    assert found.outputs["y"].tolist() == (X["x"] + 1).tolist()
    calls = (tmp_path / "notes").read_text().splitlines()
    assert len(calls) == 3  # a call for each sample
    assert "--input_layer=x --input_layer_shape=1,4 --input_layer_value_files=x:in0_2" in calls[2]


def test_its_figures_are_a_measurement_without_samples(tool: Path, tmp_path: Path) -> None:
    (found,) = harness.measure([("probe", runtimes.PROBE)], device(tool, tmp_path), PLAN, aa_control=False)
    row = measurement_row(found)
    assert (row["median_us"], row["max_us"], row["init_us"]) == (18301.9, 19120.0, 9412.0)
    assert (row["p90_us"], row["p90_reason"], row["interval_us"]) == (None, "not available: no samples kept", None)
    assert found.verdict == "valid", found.reasons
    assert row["memory"]["kind"] == "growth since the tool's start"
    flags = (tmp_path / "notes").read_text().splitlines()[0].split()
    assert {"--num_threads=2", "--use_xnnpack=true", "--num_runs=32", "--min_secs=0.5"} <= set(flags)
    assert all(flag.startswith("--") and "=" in flag for flag in flags)


def test_a_gpu_has_to_take_the_whole_model(tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(tmp_path, monkeypatch, "classic_gpu_all.txt")
    device(tool, tmp_path, gpu=True).time(runtimes.PROBE, None, PLAN, round=0)
    flags = (tmp_path / "notes").read_text().split()
    assert {"--use_gpu=true", "--require_full_delegation=true", "--use_xnnpack=false"} <= set(flags)


@pytest.mark.parametrize("name", ["classic_unconsumed.txt", "classic_killed.txt", "classic_no_model.txt"])
def test_what_is_no_result_is_a_failure(tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    says(tmp_path, monkeypatch, name)
    with pytest.raises(RunnerFailed) as caught:
        device(tool, tmp_path).time(runtimes.PROBE, None, PLAN, round=0)
    assert caught.value.failure.message
    assert caught.value.failure.stderr_tail


@pytest.mark.parametrize("name", ["classic_gpu_none.txt", "classic_gpu_absent.txt"])
def test_a_gpu_run_on_the_cpu_is_none(tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    says(tmp_path, monkeypatch, name)
    with pytest.raises(RunnerFailed) as caught:
        device(tool, tmp_path, gpu=True).time(runtimes.PROBE, None, PLAN, round=0)
    assert caught.value.failure.stage in ("delegate", "init")


def test_litert_s_own_program_is_timed_and_answers_nothing(
    tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(tmp_path, monkeypatch, "litert_cpu.stdout.txt")
    target = Target(name="phone", platform="android", runtime="benchmark_model", runtime_version="1")
    site = Site(Google(tool, kind="litert"))
    phone = Remote(target=target, transport=Shell(tmp_path / "device"), site=site, options={"threads": 2})
    check = Fidelity(devices.targets.open("cpu"), [("probe", runtimes.PROBE)], seed=0)
    (found,) = harness.measure([("probe", runtimes.PROBE)], phone, PLAN, aa_control=False, check=check)
    assert found.verdict != "failed", found.reasons
    assert measurement_row(found)["median_us"] is not None
    assert "gives out no answers" in found.provenance["fidelity"]["unknown"]["kernels"]
    flags = (tmp_path / "notes").read_text().splitlines()[0].split()
    assert {"--use_cpu=true", "--use_gpu=false"} <= set(flags)
    assert not any("input" in flag or "xnnpack" in flag for flag in flags)
