"""The workers that TF_CONFIG names, and how they find each other before TensorFlow starts.

TensorFlow waits for a missing worker without end, and neither Ctrl-C nor a taken port is heard of meanwhile (2.21). So
all workers first report to worker 0, on the very ports that TensorFlow will use: who is missing, and who was started
with other options or data, is said in one line. One JSON object a line goes each way, then an empty line of thanks.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.errors import MissingError, UsageError

WAIT_S = 300.0
"""How long workers wait for each other, unless :data:`WAIT_VARIABLE` says otherwise."""

WAIT_VARIABLE = "EDGE_EXPORT_WORKERS_WAIT_S"

_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
_LONGEST = 1 << 20
_TALK_S = 5.0
"""Somebody who connects and says nothing must not keep the others waiting for longer."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Addresses ``host:port`` of all workers (a chief is the first), and which one this process is."""

    addresses: tuple[str, ...]
    index: int
    chief: bool = False

    @property
    def leader(self) -> str:
        """TensorFlow's name of worker 0."""
        return f"/job:{'chief' if self.chief else 'worker'}/replica:0/task:0"


def read() -> Cluster | None:
    """What TF_CONFIG says; ``None`` if it is not set or names no workers.

    Raises:
        UsageError: it is malformed, or names tasks that synchronous training has no use for.
    """
    try:
        found = _object(json.loads(os.environ.get("TF_CONFIG", "").strip() or "{}"), "it")
        jobs = _object(found.get("cluster", {}), "cluster")
        for job, there in jobs.items():
            if job not in ("chief", "worker"):
                raise ValueError(f"cluster has {job!r}, and only chief and worker take part")
            if not isinstance(there, list):
                raise ValueError(f"cluster.{job} is no list")
        addresses = [_address(a) for a in (*jobs.get("chief", ()), *jobs.get("worker", ()))]
        chiefs = len(jobs.get("chief", ()))
        if not addresses:
            return None
        if chiefs > 1 or len(set(addresses)) < len(addresses):
            raise ValueError("cluster has two chiefs" if chiefs > 1 else "cluster has one address twice")
        task = _object(found.get("task"), "task")
        kind, index = task.get("type"), task.get("index")
        if not isinstance(kind, str) or kind not in jobs:
            raise ValueError(f"task.type is {kind!r}, and cluster has {' and '.join(jobs)}")
        if type(index) is not int or not 0 <= index < len(jobs[kind]):
            raise ValueError(f"task.index is {index!r}, and cluster.{kind} has {len(jobs[kind])}")
    except ValueError as error:
        raise UsageError(f"cannot be used ({error})", where="TF_CONFIG", remedy=f"write {_EXAMPLE}") from None
    return Cluster(addresses=tuple(addresses), index=index + (chiefs if kind == "worker" else 0), chief=chiefs > 0)


def need() -> Cluster:
    """As :func:`read`, where there must be one."""
    found = read()
    if found is None:
        raise UsageError("--strategy multi-worker finds no workers in TF_CONFIG", remedy=f"set it to {_EXAMPLE}")
    return found


def wait_s() -> float:
    """Seconds to wait for the others."""
    text = os.environ.get(WAIT_VARIABLE, "")
    try:
        found = float(text or WAIT_S)
    except ValueError:
        found = 0.0
    if not 0 < found < 1e7:
        raise UsageError(f"{text!r} is no number of seconds", where=WAIT_VARIABLE, remedy="give one above 0")
    return found


def meet(
    cluster: Cluster,
    same: Mapping[str, Any],
    mine: Any,
    *,
    seconds: float,
    waiting: Callable[[str], None] = lambda _: None,
) -> list[Any]:
    """Waits until every worker is there; returns what each one brought, by number.

    Args:
        cluster: who they are.
        same: JSON values by name that must be equal for all.
        mine: a JSON value for the others.
        seconds: to wait.
        waiting: told, once, if somebody is not there yet.

    Raises:
        MissingError: a worker did not come in time, or the port is taken.
        UsageError: a worker was started with something else, or twice.
    """
    if len(cluster.addresses) == 1:
        return [mine]
    hello = {"index": cluster.index, "same": {"list of workers": cluster.addresses, **same}, "brings": mine}
    hello = json.loads(json.dumps(hello))
    deadline = time.monotonic() + seconds
    said: list[str] = []

    def once(line: str) -> None:
        if not said:
            said.append(line)
            waiting(line)

    with _listening(cluster.addresses[cluster.index]) as listener:
        if cluster.index:
            answer = _report(cluster, hello, deadline, seconds, once)
        else:
            answer = _gather(cluster, hello, listener, deadline, seconds, once)
    if "missing" in answer:
        raise MissingError(
            answer["missing"], where="TF_CONFIG", remedy="start every worker, and let them reach each other's ports"
        )
    if "wrong" in answer:
        raise UsageError(answer["wrong"], where="TF_CONFIG", remedy="start all with the same command and data")
    return list(answer["brought"])


def _gather(
    cluster: Cluster,
    hello: dict[str, Any],
    listener: socket.socket,
    deadline: float,
    seconds: float,
    waiting: Callable[[str], None],
) -> dict[str, Any]:
    """Worker 0: hears everybody, then answers everybody."""
    said = {0: hello}
    lines: dict[int, _Line] = {}
    answer: dict[str, Any] = {}
    try:
        while not answer:
            for gone in [i for i, line in lines.items() if not line.alive()]:
                lines.pop(gone).close()
                del said[gone]
            if len(said) == len(cluster.addresses):
                answer = {"brought": [said[i]["brings"] for i in sorted(said)]}
                break
            absent = [f"worker {i} ({a})" for i, a in enumerate(cluster.addresses) if i not in said]
            if time.monotonic() > deadline:
                answer = {"missing": f"{', '.join(absent)} did not come within {seconds:g} s"}
                break
            line = _accepted(listener)
            if line is None:
                waiting(f"waiting up to {seconds:g} s for {', '.join(absent)}")
                continue
            other = line.read(_TALK_S)
            index = (other or {}).get("index")
            if other is None or type(index) is not int or not 0 < index < len(cluster.addresses):
                line.close()
                continue
            twice = index in lines and lines[index].alive()
            wrong = [name for name, value in hello["same"].items() if other.get("same", {}).get(name) != value]
            if index in lines and not twice:
                lines.pop(index).close()
            said[index], lines[index if not twice else -index] = other, line
            if twice:
                answer = {"wrong": f"worker {index} was started twice"}
            elif wrong:
                answer = {"wrong": f"worker {index} was started with another {' and '.join(wrong)} than worker 0"}
        for line in lines.values():
            line.write(answer)
        for index, line in lines.items():
            if not line.thanked() and "brought" in answer:
                answer = {"missing": f"worker {index} has gone again"}
    finally:
        for line in lines.values():
            line.close()
    return answer


def _report(
    cluster: Cluster, hello: dict[str, Any], deadline: float, seconds: float, waiting: Callable[[str], None]
) -> dict[str, Any]:
    """Any other worker: tells worker 0, as often as it takes, and waits for the answer."""
    host, port = _split(cluster.addresses[0])
    why = "it does not answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = _Line(socket.create_connection((host, port), timeout=min(left, _TALK_S)))
        except OSError as error:
            why = error.strerror or str(error)
            waiting(f"waiting up to {seconds:g} s for worker 0 ({cluster.addresses[0]})")
            time.sleep(min(left, 0.2))
            continue
        with contextlib.closing(line):
            line.write(hello)
            # Worker 0 gives up first, if it began first, and says who is missing.
            answer = line.read(left + _TALK_S)
            if answer is not None:
                line.thank()
                return answer
        time.sleep(min(left, 0.2))
    return {"missing": f"worker 0 ({cluster.addresses[0]}) did not come within {seconds:g} s ({why})"}


class _Line:
    """A connection on which whole lines of JSON are spoken."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk

    def write(self, value: Any) -> None:
        # Whoever has hung up meanwhile is found by what comes next.
        with contextlib.suppress(OSError):
            self._talk.sendall(json.dumps(value).encode() + b"\n")

    def thank(self) -> None:
        with contextlib.suppress(OSError):
            self._talk.sendall(b"\n")

    def thanked(self) -> bool:
        return self._line(_TALK_S) == b"\n"

    def read(self, seconds: float) -> dict[str, Any] | None:
        """The next line's object; ``None`` for anything else, a closed connection or silence."""
        try:
            found = json.loads(self._line(seconds))
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _line(self, seconds: float) -> bytes:
        data, deadline = b"", time.monotonic() + seconds
        while not data.endswith(b"\n") and len(data) < _LONGEST and (left := deadline - time.monotonic()) > 0:
            self._talk.settimeout(left)
            try:
                more = self._talk.recv(1 << 16)
            except OSError:
                break
            if not more:
                break
            data += more
        return data if data.endswith(b"\n") else b""

    def alive(self) -> bool:
        self._talk.setblocking(False)
        try:
            return bool(self._talk.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self._talk.settimeout(_TALK_S)

    def close(self) -> None:
        self._talk.close()


def _accepted(listener: socket.socket) -> _Line | None:
    listener.settimeout(0.5)
    try:
        return _Line(listener.accept()[0])
    except TimeoutError:
        return None


@contextlib.contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    """Holds this worker's port, on all interfaces as TensorFlow will."""
    port = _split(address)[1]
    both = socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=128
        )
    except OSError as error:
        raise MissingError(
            f"port {port} cannot be used ({os.strerror(error.errno) if error.errno else error})",
            where=f"TF_CONFIG, {address}",
            remedy="end the process that holds it, or give this worker another port",
        ) from None
    with listener:
        yield listener


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object" if value is not None else f"{name} is missing")
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or not _split(value)[0] or not 0 < _split(value)[1] < 1 << 16:
        raise ValueError(f"{value!r} is no HOST:PORT")
    return value


def _split(address: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port; -1 for none."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() else -1
