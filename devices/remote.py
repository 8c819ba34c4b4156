"""A device that is reached by a transport: files go there by sha256, a job has a folder of its own, and all comes back.

On the device, under the transport's base folder::

    files/SHA256         models, each checked there before it is used
    programs/KEY/NAME    what runs them
    jobs/TOKEN/          one job's plan, inputs, result; removed when it is over

A name that a user chose (of a model, of a tensor) is never a word of a command or a file's name there.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from devices import exchange
from devices.device import Answer, RunnerFailed, Timed, check_tflite
from devices.transports import ending
from devices.transports.transport import CommandFailed, DeviceLost, TooSlow, Transport, copy_seconds
from toolkit import store
from toolkit.records import Plan, Target

START_SECONDS = 120.0
"""Time a runner gets to start, load and allocate on a slow device, before its work counts."""

ANSWER_SECONDS = 1800.0

_RUN = 'cd "$1" || exit 125; shift; echo $$ >pid; exec "$@" >stdout 2>stderr'
# Another process may have got the number since: only one that works in the job's folder is ours.
_KILL = 'p=$(cat "$1/pid" 2>/dev/null) && [ "/proc/$p/cwd" -ef "$1" ] && kill -9 "$p"; rm -rf "$1"'
_SUMS = 'cd "$1" 2>/dev/null || exit 0; shift; for f in "$@"; do [ -f "$f" ] && sha256sum "$f"; done; exit 0'
_KEEP = 'cd "$1" || exit 1; shift; for f in "$@"; do chmod "$MODE" "$f.part" && mv -f "$f.part" "$f" || exit 1; done'
_numbers = itertools.count()


class Program(Protocol):
    """A runner: its files, the words that start it, what a job's folder holds, and how its result is read."""

    files: Mapping[str, Path]
    """Name on the device: file here."""

    results: tuple[str, ...]
    """What is fetched from a job's folder."""

    def words(self, folder: str) -> list[str]:
        """Starts it in the job's folder; its own files are in ``folder``."""

    def write(self, folder: Path, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray] | None, model: Path) -> None:
        """Writes what the job needs into ``folder``; ``job["model"]`` is the model's path on the device."""

    def read(self, folder: Path, *, where: str, stderr: str, model: Path) -> dict[str, Any]:
        """The result in ``folder``, as :func:`devices.exchange.read_result` gives it."""


class Site(Protocol):
    """What is special about a kind of device."""

    def ready(self, transport: Transport) -> Program:
        """Makes it ready, once a session, and says what runs there.

        Raises:
            DeviceError, MissingError: it cannot be.
        """

    def native(self) -> Program:
        """The native runner for it.

        Raises:
            DeviceError, MissingError: there is none.
        """

    def readings(self, transport: Transport) -> tuple[dict[str, Any], dict[str, str]]:
        """See :meth:`devices.device.Device.conditions`."""


class Remote:
    """A :class:`devices.device.Device` behind a transport.

    Args:
        target: what it is called in records.
        transport: the way to it.
        site: what is special about it.
        options: that every job's plan has, e.g. ``runtime`` and ``affinity``.
    """

    def __init__(self, *, target: Target, transport: Transport, site: Site, options: Mapping[str, Any]) -> None:
        self.target = target
        self.transport = transport
        self._site = site
        self._options = dict(options)
        self._program: Program | None = None
        self._checked: set[str] = set()
        self._left: list[str] = []

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64, signature: str | None = None
    ) -> Answer:
        """See :meth:`devices.device.Device.answer`."""
        job = {"job": "answer", "batch": batch, "signature": signature}
        n = max((len(array) for array in inputs.values() if array.ndim), default=0)
        try:
            with self._done(model, job, inputs, ANSWER_SECONDS) as (folder, result):
                return exchange.read_answer(folder, result, self._provenance(), where=str(model), n=n)
        except RunnerFailed as error:
            # A kernel that crashes once resized still answers one by one.
            if batch > 1 and error.failure.stage == "batch":
                return self.answer(model, inputs, batch=1, signature=signature)
            raise

    def time(
        self,
        model: Path,
        inputs: Mapping[str, np.ndarray] | None,
        plan: Plan,
        *,
        round: int,
        signature: str | None = None,
    ) -> Timed:
        """See :meth:`devices.device.Device.time`."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        job = {"job": "time", "signature": signature, **exchange.time_job(plan)}
        seconds = START_SECONDS + plan.warmup_max_seconds + 3 * plan.max_seconds / plan.processes
        with self._done(model, job, inputs, seconds) as (_, result):
            return exchange.read_timed(result, self._provenance(), where=str(model), round=round, at=at)

    def profile(self, model: Path) -> list[dict[str, Any]]:
        """Which operator takes how long there; see :mod:`devices.profile`.

        Raises:
            DeviceError, MissingError: the native runner cannot be had there.
        """
        from devices import profile

        program = self._site.native()
        with self._done(model, profile.JOB, None, profile.SECONDS, program) as (_, result):
            found: list[dict[str, Any]] = result["profile"]
            return found

    def conditions(self) -> tuple[dict[str, Any], dict[str, str]]:
        """See :meth:`devices.device.Device.conditions`."""
        return self._site.readings(self.transport)

    def close(self) -> None:
        """Ends the connection; the files stay for the next time, jobs do not."""
        self.transport.close()

    @contextlib.contextmanager
    def _done(
        self,
        model: Path,
        job: Mapping[str, Any],
        inputs: Mapping[str, np.ndarray] | None,
        seconds: float,
        other: Program | None = None,
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Runs one job there; the folder that its files came back to, and its result."""
        check_tflite(model)
        with alone(self.transport.where), tempfile.TemporaryDirectory(prefix="edge-export-") as temporary:
            given, taken = Path(temporary, "given"), Path(temporary, "taken")
            given.mkdir()
            taken.mkdir()
            program, start = self._started(other)
            digest = store.sha256_file(model)
            self._have(f"{self.transport.base}/files", {digest: model})
            there = {"model": f"../../files/{digest}", "die_with_parent": True}  # as seen from the job's folder
            program.write(given, {**self._options, **job, **there}, inputs, model)
            where = str(model)
            stderr = self._run(program.words(start), given, taken, program.results, seconds, where)
            yield taken, program.read(taken, where=where, stderr=stderr, model=model)

    def _run(
        self, words: Sequence[str], given: Path, taken: Path, results: Sequence[str], seconds: float, where: str
    ) -> str:
        """One job in a folder of its own; returns the end of its stderr, or raises how it ended."""
        transport, folder = self.transport, f"{self.transport.base}/jobs/{_token()}"
        for lost in list(self._left):
            transport.run(["sh", "-c", _KILL, "sh", lost])
            self._left.remove(lost)
        must(transport, ["mkdir", "-p", folder], "make a folder")
        try:
            files = {f"{folder}/{path.name}": path for path in sorted(given.iterdir())}
            transport.push(files, seconds=copy_seconds(sum(path.stat().st_size for path in files.values())))
            try:
                done = transport.run(["sh", "-c", _RUN, "sh", folder, *words], seconds=seconds)
            except TooSlow as error:
                self._fetch(folder, ("stage", "stderr"), taken)
                raise ending.overdue(seconds, taken, _text(taken / "stderr"), where=where) from error
            self._fetch(folder, (*results, "stage", "stderr"), taken)
            stderr = _text(taken / "stderr") or done.stderr
            failed = ending.failure(done.code, taken, stderr, where=where)
            if failed is not None:
                raise failed
            return stderr
        finally:
            try:
                transport.run(["sh", "-c", _KILL, "sh", folder])
            except (DeviceLost, TooSlow):
                self._left.append(folder)  # for when it is back

    def _fetch(self, folder: str, names: Sequence[str], taken: Path) -> None:
        self.transport.pull([f"{folder}/{name}" for name in names], taken, seconds=ANSWER_SECONDS)

    def _started(self, other: Program | None) -> tuple[Program, str]:
        """The program and its folder there; the first time in a session everything is looked at."""
        if self._program is None:
            sweep(self.transport)
            self._program = self._site.ready(self.transport)
        program = other or self._program
        files = program.files
        key = store.key_of({name: store.sha256_file(path) for name, path in files.items()})[:16]
        folder = f"{self.transport.base}/programs/{key}"
        self._have(folder, files)
        return program, folder

    def _have(self, folder: str, files: Mapping[str, Path]) -> list[str]:
        """Makes sure that these files are in ``folder`` there, in this very content; returns their paths."""
        return have(self.transport, folder, files, self._checked)

    def _provenance(self) -> dict[str, Any]:
        assert self._program is not None
        digest = store.key_of([store.sha256_file(path) for path in self._program.files.values()])
        return {"runner_sha256": digest, "transport": self.transport.name}


def have(transport: Transport, folder: str, files: Mapping[str, Path], checked: set[str]) -> list[str]:
    """Makes sure that files are in a folder on a device, by sha256 and never by name or size.

    Args:
        transport: the way to the device.
        folder: there.
        files: name there, file here.
        checked: paths that were looked at in this session already; they are added to.

    Returns:
        The paths there.

    Raises:
        CommandFailed: a file cannot be written there, or comes out different.
    """
    paths = {f"{folder}/{name}": (name, local) for name, local in files.items()}
    todo = {name: local for path, (name, local) in paths.items() if path not in checked}
    if todo:
        wanted = {name: store.sha256_file(local) for name, local in todo.items()}
        there = _sums(transport, folder, list(todo))
        missing = {name: local for name, local in todo.items() if there.get(name) != wanted[name]}
        if missing:
            must(transport, ["mkdir", "-p", folder], "make a folder")
            size = sum(local.stat().st_size for local in missing.values())
            parts = {f"{folder}/{name}.part": local for name, local in missing.items()}
            try:
                transport.push(parts, seconds=copy_seconds(size))
                arrived = _sums(transport, folder, [f"{name}.part" for name in missing])
                wrong = [name for name in missing if arrived.get(f"{name}.part") != wanted[name]]
                if wrong:
                    raise CommandFailed(
                        f"{wrong[0]} did not arrive whole", where=transport.where, remedy="free some space there"
                    )
            except CommandFailed:
                with contextlib.suppress(DeviceLost, TooSlow):
                    transport.run(["rm", "-f", *parts])
                raise
            # A program must be startable; a model need not be, and does not mind.
            must(transport, ["sh", "-c", f"MODE=755; {_KEEP}", "sh", folder, *missing], "keep a file")
        checked.update(paths)
    return list(paths)


def sweep(transport: Transport) -> None:
    """Makes the jobs' folder, and removes in it what killed processes of this computer left."""
    jobs = f"{transport.base}/jobs"
    must(transport, ["mkdir", "-p", jobs], "make a folder")
    names = [name.split("-") for name in transport.run(["ls", jobs]).stdout.split()]
    dead = ["-".join(n) for n in names if len(n) == 3 and n[0] == _owner() and not store.alive(int(n[1]))]
    if dead:
        transport.run(["rm", "-rf", *(f"{jobs}/{name}" for name in dead)])


def must(transport: Transport, words: Sequence[str], doing: str) -> str:
    """Runs a command that must not fail; returns what it printed.

    Raises:
        CommandFailed: it did.
    """
    done = transport.run(words)
    if done.code:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.code}").splitlines()[-1]
        full = "no space" in said.lower()
        raise CommandFailed(
            f"cannot {doing} ({said})", where=transport.where, remedy="free some space on the device" if full else ""
        )
    return done.stdout


def _sums(transport: Transport, folder: str, names: Sequence[str]) -> dict[str, str]:
    listed = must(transport, ["sh", "-c", _SUMS, "sh", folder, *names], "take checksums")
    pairs = (line.split(None, 1) for line in listed.splitlines() if line.strip())
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}


@contextlib.contextmanager
def alone(device: str) -> Iterator[None]:
    """One job at a time on a device, whoever asks here; a dead process's hold is free."""
    import fcntl

    name = hashlib.sha256(device.encode()).hexdigest()[:16]
    path = store.cache_dir() / "locks" / f"{name}.lock"
    with store.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed below
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _owner() -> str:
    """Who we are on a device that several computers may use."""
    return hashlib.sha256(f"{os.uname().nodename}:{os.getuid()}".encode()).hexdigest()[:8]


def _token() -> str:
    return f"{_owner()}-{os.getpid()}-{next(_numbers)}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[-ending.STDERR_TAIL :]
    except OSError:
        return ""
