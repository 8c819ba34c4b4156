"""A device behind a transport: files by sha256, jobs that leave nothing, and every way in which a runner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.shell_transport import Shell
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import remote, runtimes
from devices.device import RunnerFailed
from devices.programs.portable import Portable
from devices.remote import Remote
from devices.transports.transport import CommandFailed, DeviceLost
from toolkit import store
from toolkit.errors import BrokenInput
from toolkit.records import Plan, Target

PLAN = Plan(mode="quick", processes=2, min_samples=8, min_seconds=0.02, max_seconds=5.0, warmup_min_seconds=0.01)
TARGET = Target(name="shell", platform="linux", runtime="ai-edge-litert", runtime_version="2.3.0")
X = {"x": np.arange(12, dtype=np.float32).reshape(3, 4)}


class Here:
    """A site whose program is given."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.asked = 0

    def ready(self, transport: Any) -> Any:
        self.asked += 1
        return self.program

    def readings(self, transport: Any) -> tuple[dict[str, Any], dict[str, str]]:
        return {}, {}


class Script(Portable):
    """The portable program, with a script in its stead."""

    def __init__(self, script: str) -> None:
        super().__init__("python3", None)
        self.script = script

    def words(self, folder: str) -> list[str]:
        return ["sh", "-c", self.script]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "a device's folder")


def device(shell: Shell, program: Any = None) -> Remote:
    site = Here(program or Portable(sys.executable, None))
    options = {"runtime": "ai-edge-litert", "threads": 1, "xnnpack": True}
    return Remote(target=TARGET, transport=shell, site=site, options=options)


def left(shell: Shell) -> list[str]:
    return sorted(os.listdir(f"{shell.base}/jobs"))


def test_a_job_is_done_there_and_leaves_nothing(shell: Shell) -> None:
    one = device(shell)
    assert one.answer(runtimes.PROBE, X).outputs["y"].tolist() == (X["x"] + 1).tolist()
    timed = one.time(runtimes.PROBE, None, PLAN, round=1)
    assert (timed.run.round, timed.provenance["transport"]) == (1, "shell")
    assert len(timed.run.samples_ns) >= 4
    assert left(shell) == []
    files = [path for path in shell.pushed if "/files/" in path]
    assert files == [f"{shell.base}/files/{store.sha256_file(runtimes.PROBE)}.part"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["a b", "$(touch PWNED)", "-n", "x'\"y", "a\nb", "é", ";id;"]))
def test_what_a_model_is_called_never_reaches_the_device(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir(exist_ok=True)
    model = folder / f"{name}.tflite"
    model.write_bytes(runtimes.PROBE.read_bytes())
    shell = Shell(tmp_path / "device")
    assert device(shell).answer(model, X).outputs["y"].shape == (3, 4)
    assert not any(name in command for command in shell.commands)
    assert not list(tmp_path.rglob("PWNED"))


def test_a_stale_file_of_the_same_name_and_size_is_replaced(shell: Shell) -> None:
    device(shell).answer(runtimes.PROBE, X)
    kept = Path(shell.base, "files", store.sha256_file(runtimes.PROBE))
    data = bytearray(kept.read_bytes())
    data[-9] ^= 1
    kept.write_bytes(bytes(data))
    program = next(Path(shell.base, "programs").iterdir()) / "portable.py"
    program.write_text("raise SystemExit(9)".ljust(program.stat().st_size))
    shell.pushed.clear()
    assert device(shell).answer(runtimes.PROBE, X).outputs["y"].shape == (3, 4)
    assert {path.rpartition("/")[2] for path in shell.pushed} >= {f"{kept.name}.part", "portable.py.part"}
    assert kept.read_bytes() == runtimes.PROBE.read_bytes()


def test_what_is_there_is_not_pushed_again(shell: Shell) -> None:
    device(shell).answer(runtimes.PROBE, X)
    shell.pushed.clear()
    device(shell).answer(runtimes.PROBE, X)
    assert {path.rpartition("/")[2] for path in shell.pushed} == {"plan.json", "inputs.npz"}


def test_a_file_that_does_not_arrive_whole_is_an_error(shell: Shell) -> None:
    shell.cut = (".part", 3)
    with pytest.raises(CommandFailed, match="did not arrive whole"):
        device(shell).answer(runtimes.PROBE, X)
    assert not list(Path(shell.base).rglob("*.part"))


def test_a_full_disk_is_said(shell: Shell) -> None:
    shell.room = 100
    with pytest.raises(CommandFailed, match="No space left"):
        device(shell).answer(runtimes.PROBE, X)


@pytest.mark.parametrize(
    ("script", "stage", "message"),
    [
        ("echo -n infer >stage; echo last words >&2; kill -SEGV $$", "infer", "died of SIGSEGV in stage 'infer'"),
        ("echo -n load >stage; kill -KILL $$", "load", "when memory runs out"),
        ("exit 7", "start", "ended with exit code 7"),
        ("exit 0", "result", "cannot be read"),
        ("echo '{' >result.json", "result", "cannot be read"),
        ("exec ./nowhere", "start", "ended with exit code 127"),
    ],
)
def test_how_a_runner_ended_is_in_the_record(shell: Shell, script: str, stage: str, message: str) -> None:
    with pytest.raises(RunnerFailed, match=r"cannot|died|ended") as caught:
        device(shell, Script(script)).answer(runtimes.PROBE, X)
    assert caught.value.failure.stage == stage
    assert message in caught.value.failure.message
    if "SEGV" in script:
        assert caught.value.failure.stderr_tail == "last words"
    assert left(shell) == []


def test_a_runner_that_never_returns_is_killed_there(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 1.0)
    program = Script("echo -n warm-up >stage; exec sleep 271828")
    with pytest.raises(RunnerFailed, match="did not end in 1 s") as caught:
        device(shell, program).answer(runtimes.PROBE, X)
    assert caught.value.failure.stage == "warm-up"
    running = subprocess.run(["pgrep", "-f", "sleep 271828"], capture_output=True, text=True).stdout.split()
    assert running == []
    assert left(shell) == []


def test_truncated_outputs_are_an_error(shell: Shell) -> None:
    shell.cut = ("outputs.npz", 20)
    with pytest.raises(RunnerFailed, match="cannot be read"):
        device(shell).answer(runtimes.PROBE, X)


@pytest.mark.parametrize("doing", ["push", "run", "pull"])
def test_a_lost_device_is_told_apart(shell: Shell, doing: str) -> None:
    shell.lost_at = doing
    with pytest.raises(DeviceLost) as caught:
        device(shell).answer(runtimes.PROBE, X)
    assert caught.value.doing == doing


def test_bad_inputs_are_the_users(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="missing x"):
        device(shell).answer(runtimes.PROBE, {"z": X["x"]})
    (tmp_path / "empty.tflite").touch()
    with pytest.raises(BrokenInput, match="is empty"):
        device(shell).answer(tmp_path / "empty.tflite", X)
    assert left(shell) == []


def test_jobs_of_dead_processes_go_and_those_of_others_stay(shell: Shell) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    ours = remote._owner()
    for name in (f"{ours}-{dead.pid}-0", f"{ours}-{os.getpid()}-99", f"00000000-{dead.pid}-0", "something else"):
        Path(shell.base, "jobs", name).mkdir(parents=True)
    device(shell).answer(runtimes.PROBE, X)
    assert left(shell) == sorted([f"{ours}-{os.getpid()}-99", f"00000000-{dead.pid}-0", "something else"])


def test_one_job_at_a_time_whoever_asks(tmp_path: Path) -> None:
    code = (
        "import time; from devices.remote import alone\nwith alone('x'):\n    print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        entered = threading.Event()

        def wait() -> None:
            with remote.alone("x"):
                entered.set()

        threading.Thread(target=wait, daemon=True).start()
        with remote.alone("another device"):
            pass
        assert not entered.wait(0.5)
        other.send_signal(signal.SIGKILL)  # a dead process's hold is free
        assert entered.wait(20)
    finally:
        other.kill()
        other.communicate()
