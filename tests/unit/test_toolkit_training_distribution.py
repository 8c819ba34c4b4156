"""Two workers on loopback: the result of one; one is killed, both are started again, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done, write_mnist

from toolkit.errors import DeviceError, UsageError
from toolkit.training import cluster, distribution

pytestmark = pytest.mark.slow

# Batches of 51 are 26 and 25, the last one of 600 is 39: never the same number for both.
WORDS = ("train", "mnist", "--epochs", "4", "--batch-size", "51", "--activation", "tanh", "--early-stopping", "4")


class Pair:
    """The same training by two processes, each with a run directory and output files of its own."""

    def __init__(self, root: Path, data: Path) -> None:
        self._root, self._data = root, data
        root.mkdir(parents=True, exist_ok=True)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *, only: tuple[int, ...] = (0, 1), wait_s: float = 120) -> None:
        addresses = _free()
        self.processes = []
        for index in only:
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            env = {**os.environ, "TF_CONFIG": json.dumps(config), cluster.WAIT_VARIABLE: str(wait_s)}
            self.processes.append(_start(self.run(index), self._data, env, "--strategy", "multi-worker"))

    def finish(self, timeout: float = 240) -> list[Done]:
        return [_finish(p, Path(str(p.args[-1])), timeout) for p in self.processes]  # type: ignore[index]

    def run(self, index: int) -> Path:
        return self._root / f"worker{index}"

    def epoch(self, index: int) -> int:
        """The last epoch that is saved."""
        return max((int(p.stem.rpartition("-")[2]) for p in self.run(index).rglob("ckpt-*.index")), default=0)


def _start(run: Path, data: Path, env: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from toolkit.cli import main; main()", *WORDS, *words]
    with open(f"{run}.out", "wb") as output, open(f"{run}.err", "wb") as errors:
        return subprocess.Popen(
            [*command, "--data-dir", str(data), "--run-dir", str(run)], stdout=output, stderr=errors, env=env
        )


def _finish(process: subprocess.Popen[bytes], run: Path, timeout: float) -> Done:
    code = process.wait(timeout)
    return Done(code, Path(f"{run}.out").read_text(), Path(f"{run}.err").read_text())


def _free() -> list[str]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in held]


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _weights(run: Path) -> list[np.ndarray]:
    import tf_keras

    return list(tf_keras.models.load_model(run / "bundle" / "model.keras", compile=False).get_weights())


def _facts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "bundle" / "training.json").read_text())
    del found["health"]  # of the process that trained: who only finishes has none
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("digits"))


@contextlib.contextmanager
def _ended(pair: Pair) -> Iterator[None]:
    try:
        yield
    finally:
        for process in pair.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_two_workers_reach_what_one_does_and_go_on_after_one_was_killed(data: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    done = _finish(_start(alone, data, dict(os.environ)), alone, 240)
    assert done.code == 0, done.err

    whole = Pair(tmp_path / "whole", data)
    with _ended(whole):
        whole.start()
        for done in whole.finish():
            assert done.code == 0, done.err
            assert "strategy multi-worker: replicas 2" in done.err

    broken = Pair(tmp_path / "broken", data)
    with _ended(broken):
        broken.start()
        # The second: killed while it saves an epoch, a worker has the one before.
        _until(lambda: broken.epoch(0) >= 2 and broken.epoch(1) >= 2, "no epoch was saved")
        survivor, victim = broken.processes
        victim.send_signal(signal.SIGKILL)
        lost = _finish(survivor, broken.run(0), 120)
        assert lost.code == DeviceError.exit_code
        assert "worker 0: another worker is gone; start every worker again with the same command" in lost.error
        assert victim.wait() == -signal.SIGKILL
        assert not (broken.run(0) / "bundle" / "model.keras").exists()
        reached = min(broken.epoch(0), broken.epoch(1))
        assert 2 <= reached < 4
        broken.start()
        for done in broken.finish():
            assert done.code == 0, done.err
            went_on = re.search(r"training goes on after epoch (\d)", done.err)
            assert went_on is not None, done.err
            assert int(went_on[1]) in (reached - 1, reached)

    expected = _weights(alone)
    for pair in (whole, broken):
        for index in (0, 1):
            assert not list(pair.run(index).rglob("ckpt-*"))
            found = _weights(pair.run(index))
            for ours, theirs in zip(found, _weights(whole.run(0)), strict=True):
                np.testing.assert_array_equal(ours, theirs)
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)
            facts = _facts(pair.run(index))
            assert facts["metrics"]["epochs"] == 4
            for name, values in _facts(alone)["history"].items():
                np.testing.assert_allclose(facts["history"][name], values, rtol=1e-4, atol=2e-5, err_msg=name)
    # Done is done: neither needs the other to say so.
    whole.start(only=(1,), wait_s=1)
    (again,) = whole.finish()
    assert again.code == 0, again.err


def test_a_worker_whose_training_was_over_finishes_alone(data: Path, tmp_path: Path) -> None:
    pair = Pair(tmp_path, data)
    with _ended(pair):
        pair.start()
        victim = pair.processes[1]
        _until(lambda: any(pair.run(1).rglob("finished")) or victim.poll() is not None, "the training was never over")
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert _finish(pair.processes[0], pair.run(0), 120).code == 0
        pair.start(only=(1,), wait_s=1)
        (done,) = pair.finish()
    assert done.code == 0, done.err
    for ours, theirs in zip(_weights(pair.run(0)), _weights(pair.run(1)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert _facts(pair.run(0)) == _facts(pair.run(1))


def test_a_worker_that_never_comes_and_a_config_that_is_none_are_one_line(data: Path, tmp_path: Path) -> None:
    pair = Pair(tmp_path, data)
    with _ended(pair):
        pair.start(only=(0,), wait_s=2)
        (done,) = pair.finish()
    assert done.code == 3
    assert "did not come within 2 s; start every worker" in done.error
    env = {**os.environ, "TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}
    done = _finish(_start(pair.run(1), data, env, "--strategy", "multi-worker"), pair.run(1), 120)
    assert done.code == UsageError.exit_code
    assert "TF_CONFIG: cannot be used (task is missing)" in done.error


def test_a_workers_latest_epoch_counts_only_if_all_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))

    def common(*epochs: list[int]) -> int:
        monkeypatch.setattr(cluster, "meet", lambda *_, **__: list(epochs))
        return distribution.common_epoch("multi-worker", epochs[1], {}, print)

    assert common([3, 4], [4, 5]) == 4
    assert common([3, 4], [5, 6]) == 0
    assert common([3], []) == 0
    assert distribution.common_epoch("mirrored", [1, 2], {}, print) == 2
    assert distribution.worker() == 1
