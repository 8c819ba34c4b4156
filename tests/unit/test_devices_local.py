"""The local transport and the exchange of files, against a runner program that crashes, hangs and writes rubbish."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from devices import exchange
from devices.device import Answer, RunnerFailed, Timed
from devices.transports import ending, local
from toolkit.errors import BrokenInput, DeviceError, MissingError
from toolkit.records import Plan

RUNNER = Path(__file__).parent.parent / "fakes" / "runner.py"
COMMAND = local.Command(python=Path(sys.executable), files=(RUNNER,))
PLAN = Plan(mode="quick", processes=2, min_samples=65, min_seconds=1.0, max_seconds=4.0, warmup_max_seconds=1.0)


@pytest.fixture(autouse=True)
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def answer(what: str, *, timeout: float = 60.0, signature: str | None = None) -> Answer:
    job = {"job": "answer", "model": f"/models/{what}", "signature": signature}
    return local.answer(COMMAND, job, {"x": np.zeros((3, 4), np.float32)}, timeout=timeout)


def timed(what: str) -> Timed:
    return local.time(COMMAND, {"job": "time", "model": f"/models/{what}"}, None, PLAN, round=3, start_seconds=60)


def test_an_answer_comes_back_raw_and_real(own_tmp: Path) -> None:
    found = answer("good")
    assert found.raw["y"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.outputs["y"].tolist() == [[0.5, 1.0], [1.5, 2.0], [2.5, 3.0]]  # (q + 1) / 2
    assert found.outputs["y"].dtype == np.float32
    assert found.delegated_ops == (1, 2)
    assert found.provenance["runtime"] == "fake"
    assert len(found.provenance["runner_sha256"]) == 64
    assert list(own_tmp.iterdir()) == []


def test_a_timing_comes_back() -> None:
    found = timed("good")
    assert (found.run.round, found.run.batch_k, found.run.samples_ns) == (3, 2, (1000.0, 1001.0))
    assert found.run.memory is not None
    assert (found.run.memory.bytes, found.run.memory.kind) == (1000, "ru_maxrss")
    assert found.delegated_ops is None
    assert found.provenance["delegation_unknown"] == "a fake has no delegate"
    assert found.run.started_at.startswith("20")


def test_a_crash_names_signal_stage_and_last_words(own_tmp: Path) -> None:
    with pytest.raises(RunnerFailed) as caught:
        answer("segv")
    failure = caught.value.failure
    assert str(caught.value) == "/models/segv: the runner died of SIGSEGV in stage 'infer'"
    assert failure.stage == "infer"
    assert failure.stderr_tail.endswith("the last words")
    assert len(failure.stderr_tail) <= ending.STDERR_TAIL
    assert list(own_tmp.iterdir()) == []


def test_an_odd_exit_code_is_told() -> None:
    with pytest.raises(RunnerFailed, match="ended with exit code 7"):
        answer("exit-7")


def test_a_hanging_runner_is_killed_with_its_children(own_tmp: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(RunnerFailed, match="did not end in 5 s"):
        answer("hang", timeout=5.0, signature=str(tmp_path / "pids"))
    assert time.monotonic() - began < 60
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    _wait(lambda: not any(map(_alive, pids)))  # a killed grandchild dies when the kernel next schedules it
    assert list(own_tmp.iterdir()) == []


@pytest.mark.parametrize("what", ["rubbish", "no-status", "half", "truncated", "no-arrays", "short", "silent"])
def test_an_unreadable_answer_is_a_failure(what: str, own_tmp: Path) -> None:
    with pytest.raises(RunnerFailed, match="the runner's result cannot be read") as caught:
        answer(what)
    assert caught.value.failure.stage == "result"
    assert list(own_tmp.iterdir()) == []


@pytest.mark.parametrize("what", ["rubbish", "no-status", "half", "nan-times", "no-times", "silent"])
def test_an_unreadable_timing_is_a_failure(what: str) -> None:
    with pytest.raises(RunnerFailed, match="the runner's result cannot be read"):
        timed(what)


@pytest.mark.parametrize(
    ("what", "error"), [("input", BrokenInput), ("missing", MissingError), ("device", DeviceError)]
)
def test_a_runner_says_whose_fault_it_is(what: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"no good: {what}"):
        answer(what)


def test_a_python_that_is_not_there() -> None:
    command = local.Command(python=Path("/nowhere/python"), files=(RUNNER,))
    with pytest.raises(MissingError, match="/nowhere/python: the runner cannot be started"):
        local.answer(command, {"job": "answer", "model": "m"}, {"x": np.zeros((1, 1))}, timeout=5)


def test_names_of_inputs_are_no_file_names(tmp_path: Path) -> None:
    names = ["file", "a/b", "serving_default_x:0"]
    plan = exchange.write_job(tmp_path, {"job": "answer"}, {n: np.zeros((1, 2)) for n in names})
    assert all(f'"{name}"' in plan.read_text() for name in names)
    with np.load(tmp_path / "inputs.npz") as stored:
        assert stored.files == ["i0", "i1", "i2"]


def test_objects_are_no_inputs(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="Python objects"):
        exchange.write_job(tmp_path, {}, {"x": np.array([None])})


def test_a_process_takes_its_share_of_the_plan() -> None:
    job = exchange.time_job(PLAN)
    assert (job["min_samples"], job["min_seconds"], job["max_seconds"]) == (33, 0.5, 2.0)


def test_workspaces_of_the_dead_are_swept(own_tmp: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, mine = own_tmp / f"edge-export-job-{gone.pid}-x", own_tmp / f"edge-export-job-{os.getpid()}-y"
    left.mkdir()
    mine.mkdir()
    with local.workspace():
        assert not left.exists()
        assert mine.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a process asks Linux to be ended with its parent")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_survives_its_parent(number: int, tmp_path: Path, own_tmp: Path) -> None:
    pids = tmp_path / "pids"
    # The real runner's first act, then the fake's hanging.
    runner = tmp_path / "dying.py"
    job = Path(exchange.__file__).parent / "runners"
    runner.write_text(
        f"import os, sys, time; sys.path.insert(0, {str(job)!r})\n"
        "from job import end_with_parent\n"
        "end_with_parent()\n"
        f"open({str(pids)!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    code = (
        "import sys, tempfile, numpy as np; from pathlib import Path; from devices.transports import local\n"
        f"tempfile.tempdir = {str(own_tmp)!r}\n"
        f"command = local.Command(python=Path(sys.executable), files=(Path({str(runner)!r}),))\n"
        "local.answer(command, {'job': 'answer', 'model': 'm'}, {'x': np.zeros((1, 1))}, timeout=600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: pids.exists() and pids.read_text() != "")
        parent.send_signal(number)
        parent.wait(60)
        _wait(lambda: not _alive(int(pids.read_text())))
    finally:
        parent.kill()
        parent.wait()
    if number == signal.SIGINT:
        assert list(own_tmp.iterdir()) == []


def _wait(done: object, seconds: float = 60.0) -> None:
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)


def _alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
