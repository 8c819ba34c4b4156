"""TF_CONFIG in every shape, and workers that meet, or say in one line why they do not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from toolkit.errors import EdgeExportError, MissingError, UsageError
from toolkit.training import cluster
from toolkit.training.cluster import Cluster

TWO = ["127.0.0.1:2222", "127.0.0.1:2223"]


def _config(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))


def test_the_workers_of_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.read() is None
    for empty in ("", "  ", "{}", {"cluster": {}}, {"cluster": {"worker": []}, "task": None}):
        _config(monkeypatch, empty)
        assert cluster.read() is None
    _config(monkeypatch, {"cluster": {"worker": TWO}, "task": {"type": "worker", "index": 1}, "environment": "cloud"})
    assert cluster.need() == Cluster(addresses=tuple(TWO), index=1)
    assert cluster.need().leader == "/job:worker/replica:0/task:0"


def test_a_chief_is_the_first_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"worker": TWO, "chief": ["[::1]:2221"]}
    for task, index in (({"type": "chief", "index": 0}, 0), ({"type": "worker", "index": 1}, 2)):
        _config(monkeypatch, {"cluster": jobs, "task": task})
        assert cluster.need() == Cluster(addresses=("[::1]:2221", *TWO), index=index, chief=True)
        assert cluster.need().leader == "/job:chief/replica:0/task:0"


WORKER = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{", "Expecting property name"),
        ("no json", "Expecting value"),
        ("[]", "it is no object"),
        ("null", "it is missing"),
        ("3", "it is no object"),
        ({"cluster": []}, "cluster is no object"),
        ({"cluster": None}, "cluster is missing"),
        ({"cluster": {"worker": "127.0.0.1:1"}, "task": WORKER}, "cluster.worker is no list"),
        ({"cluster": {"worker": {"0": "127.0.0.1:1"}}, "task": WORKER}, "cluster.worker is no list"),
        ({"cluster": {"worker": [7]}, "task": WORKER}, "7 is no HOST:PORT"),
        ({"cluster": {"worker": ["host"]}, "task": WORKER}, "'host' is no HOST:PORT"),
        ({"cluster": {"worker": [":1"]}, "task": WORKER}, "':1' is no HOST:PORT"),
        ({"cluster": {"worker": ["h:x"]}, "task": WORKER}, "'h:x' is no HOST:PORT"),
        ({"cluster": {"worker": ["h:0"]}, "task": WORKER}, "'h:0' is no HOST:PORT"),
        ({"cluster": {"worker": ["h:65536"]}, "task": WORKER}, "'h:65536' is no HOST:PORT"),
        ({"cluster": {"worker": ["h:²"]}, "task": WORKER}, "is no HOST:PORT"),
        ({"cluster": {"worker": ["h:1", "h:1"]}, "task": WORKER}, "one address twice"),
        ({"cluster": {"worker": TWO, "chief": ["a:1", "b:1"]}, "task": WORKER}, "two chiefs"),
        ({"cluster": {"worker": TWO, "ps": ["a:1"]}, "task": WORKER}, "cluster has 'ps'"),
        ({"cluster": {"worker": TWO}}, "task is missing"),
        ({"cluster": {"worker": TWO}, "task": 0}, "task is no object"),
        ({"cluster": {"worker": TWO}, "task": {"index": 0}}, "task.type is None"),
        ({"cluster": {"worker": TWO}, "task": {"type": "chief", "index": 0}}, "task.type is 'chief'"),
        ({"cluster": {"worker": TWO}, "task": {"type": ["worker"], "index": 0}}, "task.type is ['worker']"),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker"}}, "task.index is None"),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker", "index": "0"}}, "task.index is '0'"),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker", "index": True}}, "task.index is True"),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker", "index": -1}}, "task.index is -1"),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker", "index": 2}}, "cluster.worker has 2"),
    ],
)
def test_a_malformed_config_is_one_line(config: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _config(monkeypatch, config)
    with pytest.raises(UsageError) as found:
        cluster.read()
    assert says in found.value.what
    assert found.value.where == "TF_CONFIG"
    assert '"index": 0' in found.value.remedy


def test_no_workers_at_all_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UsageError, match="finds no workers in TF_CONFIG"):
        cluster.need()


def test_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cluster.WAIT_VARIABLE, raising=False)
    assert cluster.wait_s() == cluster.WAIT_S
    monkeypatch.setenv(cluster.WAIT_VARIABLE, "1.5")
    assert cluster.wait_s() == 1.5
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(cluster.WAIT_VARIABLE, wrong)
        with pytest.raises(UsageError, match="no number of seconds"):
            cluster.wait_s()


def _free(count: int) -> list[str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return [f"127.0.0.1:{port}" for port in ports]


class _Meeting(threading.Thread):
    """One worker, in a thread."""

    def __init__(self, addresses: list[str], index: int, *, same: Any = None, seconds: float = 20) -> None:
        super().__init__(daemon=True)
        self._given = Cluster(addresses=tuple(addresses), index=index), same or {"data": "a"}, [index, index * 10]
        self._seconds = seconds
        self.found: list[Any] | None = None
        self.error: EdgeExportError | None = None
        self.said: list[str] = []
        self.start()

    def run(self) -> None:
        try:
            self.found = cluster.meet(*self._given, seconds=self._seconds, waiting=self.said.append)
        except EdgeExportError as error:
            self.error = error


def _joined(workers: list[_Meeting]) -> list[_Meeting]:
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()
    return workers


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_all_learn_what_each_has_brought_whoever_comes_first(order: tuple[int, ...]) -> None:
    addresses = _free(3)
    workers = []
    for index in order:
        workers.append(_Meeting(addresses, index))
        time.sleep(0.8)
    for worker in _joined(workers):
        assert worker.error is None
        assert worker.found == [[0, 0], [1, 10], [2, 20]]
        assert len(worker.said) <= 1
    assert workers[0].said


def test_one_worker_waits_for_nobody() -> None:
    assert cluster.meet(Cluster(addresses=("h:1",), index=0), {}, [4], seconds=0.1) == [[4]]


@pytest.mark.parametrize("present", [(0, 1), (1, 2)])
def test_who_is_missing_is_said_by_everybody(present: tuple[int, ...]) -> None:
    addresses = _free(3)
    (absent,) = {0, 1, 2} - set(present)
    for worker in _joined([_Meeting(addresses, index, seconds=1.5) for index in present]):
        assert isinstance(worker.error, MissingError)
        assert f"worker {absent} ({addresses[absent]}) did not come within 1.5 s" in worker.error.what
    assert len(str(worker.error).splitlines()) == 1


def test_a_worker_with_other_data_is_named() -> None:
    addresses = _free(2)
    workers = [_Meeting(addresses, 0), _Meeting(addresses, 1, same={"data": "b"})]
    for worker in _joined(workers):
        assert isinstance(worker.error, UsageError)
        assert "worker 1 was started with another data than worker 0" in worker.error.what


def test_a_worker_with_another_list_of_workers_is_named() -> None:
    addresses = _free(3)
    workers = [_Meeting(addresses[:2], 0), _Meeting([addresses[0], addresses[2]], 1)]
    for worker in _joined(workers):
        assert worker.error is not None
        assert "another list of workers" in worker.error.what


def test_a_worker_that_was_interrupted_may_come_again_and_strangers_are_sent_away() -> None:
    addresses = _free(3)
    host, _, port = addresses[0].rpartition(":")
    leader = _Meeting(addresses, 0)
    for said in (b"GET / HTTP/1.1\r\n\r\n", b'{"index": 5}\n', b'{"index": true}\n', b"[1]\n", b"\xff\n"):
        for _ in range(50):
            try:
                with socket.create_connection((host, int(port))) as stranger:
                    stranger.sendall(said)
                break
            except OSError:
                time.sleep(0.1)
    # Reports and is gone, as after Ctrl-C.
    with socket.create_connection((host, int(port))) as first:
        hello = {"index": 1, "same": {"list of workers": addresses, "data": "a"}, "brings": "what is gone"}
        first.sendall(json.dumps(hello).encode() + b"\n")
        time.sleep(0.2)
    for worker in _joined([leader, _Meeting(addresses, 1), _Meeting(addresses, 2)]):
        assert worker.error is None
        assert worker.found == [[0, 0], [1, 10], [2, 20]]


def test_one_number_given_to_two_processes_is_found() -> None:
    addresses = _free(3)
    host, _, port = addresses[0].rpartition(":")
    leader = _Meeting(addresses, 0)
    second = _Meeting(addresses, 1)
    time.sleep(1)
    hello = {"index": 1, "same": {"list of workers": addresses, "data": "a"}, "brings": None}
    with socket.create_connection((host, int(port))) as twin:
        twin.sendall(json.dumps(hello).encode() + b"\n")
        answer = json.loads(twin.makefile().readline())
        twin.sendall(b"\n")
    assert answer == {"wrong": "worker 1 was started twice"}
    for worker in _joined([leader, second]):
        assert isinstance(worker.error, UsageError)


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        worker = _Meeting([f"127.0.0.1:{port}", "127.0.0.1:1"], 0)
        _joined([worker])
    assert isinstance(worker.error, MissingError)
    assert f"port {port} cannot be used (Address already in use)" in worker.error.what


def test_ctrl_c_ends_the_waiting_at_once() -> None:
    addresses = _free(2)
    code = (
        "import sys; from toolkit.training import cluster\n"
        f"given = cluster.Cluster(addresses={tuple(addresses)!r}, index=int(sys.argv[1]))\n"
        "cluster.meet(given, {}, 0, seconds=60, waiting=lambda line: print(line, flush=True))"
    )
    for index in (0, 1):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(index)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "waiting up to 60 s for worker" in process.stdout.readline()
        process.send_signal(2)
        _, errors = process.communicate(timeout=10)
        assert errors.rstrip().endswith("KeyboardInterrupt")
