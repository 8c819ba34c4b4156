"""A device as the real ``adb`` sees it: the ADB wire protocol over loopback, several at once, and its faults.

Protocol: AOSP packages/modules/adb, protocol.txt, SYNC.TXT and shell_protocol.h. Behind it commands run in a root of
ARM programs (:class:`Arm`) or, for tests of the protocol alone, in a folder of this machine (:class:`Here`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = 0x01000001
MOST = 256 * 1024
TOKEN, PUBLIC_KEY = 1, 3
DATA = "/data/local/tmp"
PROPERTIES = {
    "ro.product.name": "emulated",
    "ro.product.model": "Emulated_phone",
    "ro.product.device": "emulated",
    "ro.product.manufacturer": "Edge Export",
    "ro.kernel.qemu": "1",
    "ro.build.version.release": "14",
    "ro.build.fingerprint": "edge-export/emulated/emulated:14/0/0:userdebug/test-keys",
}


@dataclass
class Faults:
    """What goes wrong; a test sets it at any time.

    Args:
        unplug_in: ``push``, ``run`` or ``pull``: the device is gone in the middle of the next one.
        after: bytes (of a copy) or seconds (of a command that matches ``command``) until it is.
        command: what a command must hold to be meant by ``unplug_in="run"``.
        room: bytes that the disk still takes.
        refused: it has not allowed this computer.
        slow_seconds: each command takes so much longer.
        cut: bytes that are missing at the end of the next file pulled whose name ends in ``cut_name``.
    """

    unplug_in: str | None = None
    after: float = 0
    command: str = ""
    room: int | None = None
    refused: bool = False
    slow_seconds: float = 0
    cut: int = 0
    cut_name: str = ""


class Here:
    """Runs commands on this machine; the device's folder is one of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def real(self, path: str) -> Path:
        """Where a path of the device lies."""
        if not path.startswith(DATA + "/") and path != DATA:
            raise PermissionError(errno.EACCES, "Permission denied")
        found = (self.root / path[len(DATA) :].lstrip("/")).resolve()
        if not found.is_relative_to(self.root.resolve()):
            raise PermissionError(errno.EACCES, "Permission denied")
        return found

    def start(self, line: str, properties: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts one line of shell."""
        line = line.replace(DATA, str(self.root.resolve()))
        env = {**os.environ, "PATH": f"{self._tools(properties)}:{os.environ['PATH']}"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["sh", "-c", line], stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd="/", start_new_session=True
        )

    def _tools(self, properties: dict[str, str]) -> Path:
        folder = self.root / ".tools"
        if not folder.exists():
            tools(folder)
        write_properties(folder, properties)
        return folder


class Arm:
    """Runs commands in a root of ARM programs, by qemu-user; its ``/data`` is a folder of its own."""

    def __init__(self, root: Path, data: Path, start: Callable[[str], list[str]]) -> None:
        self.root, self.data, self._start = root, data, start
        (data / "local/tmp").mkdir(parents=True, exist_ok=True)

    def real(self, path: str) -> Path:
        """Where a path of the device lies."""
        base, rest = (self.data, path[len("/data") :]) if path.startswith("/data") else (self.root, path)
        found = Path(os.path.realpath(f"{base}/{rest}"))
        if not found.is_relative_to(base.resolve()):
            raise PermissionError(errno.EACCES, "Permission denied")
        return found

    def start(self, line: str, properties: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts one line of shell."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._start(line), stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True
        )


def tools(folder: Path) -> None:
    """``getprop`` and ``dumpsys``, as Android has them."""
    folder.mkdir(parents=True, exist_ok=True)
    scripts = {
        "getprop": 'f="${0%/*}/properties"; [ -f "$f" ] || f=/system/properties\nsed -n "s/^$1=//p" "$f"\n',
        "dumpsys": 'f="${0%/*}/$1.txt"; [ -f "$f" ] && cat "$f" || { echo "Can\'t find service: $1" >&2; exit 20; }\n',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    (folder / "thermalservice.txt").write_text("IsStatusOverride: false\nThermalEventListeners:\nThermal Status: 0\n")
    (folder / "battery.txt").write_text(
        "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 87\n  temperature: 273\n"
    )


def write_properties(folder: Path, properties: dict[str, str]) -> None:
    """What ``getprop`` answers from."""
    part = folder / "properties.part"
    part.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    os.replace(part, folder / "properties")


@dataclass
class Device:
    """One device: what is behind it, what it says of itself, what goes wrong."""

    behind: Here | Arm
    properties: dict[str, str] = field(default_factory=lambda: dict(PROPERTIES))
    faults: Faults = field(default_factory=Faults)


class Server:
    """Serves one device on a port of the loopback until stopped."""

    def __init__(self, device: Device, port: int = 0) -> None:
        self.device = device
        self._listener: socket.socket | None = None
        self._links: list[_Link] = []
        self.port = port
        self.plug()

    @property
    def serial(self) -> str:
        """As ``adb connect`` and ``adb -s`` take it."""
        return f"127.0.0.1:{self.port}"

    def plug(self) -> None:
        """Listens (again)."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(16)
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def unplug(self) -> None:
        """Is gone: every connection ends and none is taken."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        links, self._links = self._links, []
        for link in links:
            link.end()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(taken, self)
            self._links.append(link)
            threading.Thread(target=link.serve, daemon=True).start()


class _Stream:
    """One service that the client opened: bytes in both directions, one packet at a time."""

    def __init__(self, link: _Link, local: int, remote: int) -> None:
        self.link, self.local, self.remote = link, local, remote
        self.changed = threading.Condition()
        self.received = bytearray()
        self.ready, self.closed = True, False

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.link.most):
            with self.changed:
                self.changed.wait_for(lambda: self.ready or self.closed)
                if self.closed:
                    raise BrokenPipeError
                self.ready = False
            self.link.send(b"WRTE", self.local, self.remote, data[start : start + self.link.most])

    def read(self, count: int) -> bytes:
        with self.changed:
            self.changed.wait_for(lambda: len(self.received) >= count or self.closed)
            if len(self.received) < count:
                raise EOFError
            found = bytes(self.received[:count])
            del self.received[:count]
            return found

    def feed(self, data: bytes) -> None:
        with self.changed:
            self.received += data
            self.changed.notify_all()

    def acknowledge(self) -> None:
        with self.changed:
            self.ready = True
            self.changed.notify_all()

    def gone(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class _Link:
    """One connection of an adb server."""

    def __init__(self, taken: socket.socket, server: Server) -> None:
        self._socket, self._server = taken, server
        self._sending = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self.most = 4096

    @property
    def _device(self) -> Device:
        return self._server.device

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        number = int.from_bytes(command, "little")
        head = struct.pack("<6I", number, first, second, len(data), sum(data) & 0xFFFFFFFF, number ^ 0xFFFFFFFF)
        with self._sending:
            self._socket.sendall(head + data)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def serve(self) -> None:
        try:
            while True:
                self._packet()
        except (EOFError, OSError, struct.error):
            pass
        finally:
            for stream in list(self._streams.values()):
                stream.gone()
            self.end()

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self._socket.recv(count - len(found))
            if not more:
                raise EOFError
            found += more
        return found

    def _packet(self) -> None:
        number, first, second, size, _, _ = struct.unpack("<6I", self._exactly(24))
        command = number.to_bytes(4, "little")
        data = self._exactly(size) if size else b""
        if command == b"CNXN":
            self.most = min(second, MOST)
            if self._device.faults.refused:
                self.send(b"AUTH", TOKEN, 0, os.urandom(20))
            else:
                self._greet()
        elif command == b"AUTH":
            if first != PUBLIC_KEY:
                self.send(b"AUTH", TOKEN, 0, os.urandom(20))
            # A public key waits for somebody to press a button, who never comes.
        elif command == b"OPEN":
            stream = _Stream(self, self._next, first)
            self._next += 1
            self._streams[stream.local] = stream
            service = data.rstrip(b"\0").decode()
            threading.Thread(target=self._service, args=(stream, service), daemon=True).start()
        elif (stream := self._streams.get(second)) is not None:
            if command == b"OKAY":
                stream.acknowledge()
            elif command == b"WRTE":
                stream.feed(data)
                self.send(b"OKAY", second, first)
            elif command == b"CLSE":
                self._streams.pop(second).gone()

    def _greet(self) -> None:
        p = self._device.properties
        said = ";".join(f"{key}={p[key]}" for key in ("ro.product.name", "ro.product.model", "ro.product.device"))
        self.send(b"CNXN", VERSION, MOST, f"device::{said};features=shell_v2,cmd".encode())

    def _service(self, stream: _Stream, name: str) -> None:
        kind, _, rest = name.partition(":")
        try:
            if kind.startswith(("shell", "exec")):
                self.send(b"OKAY", stream.local, stream.remote)
                self._shell(stream, rest, "v2" in kind)
            elif kind == "sync":
                self.send(b"OKAY", stream.local, stream.remote)
                self._sync(stream)
            else:
                self.send(b"CLSE", 0, stream.remote)
                return
            with stream.changed:
                stream.changed.wait_for(lambda: stream.ready or stream.closed, 10)
            self.send(b"CLSE", stream.local, stream.remote)
        except (EOFError, OSError):
            pass
        finally:
            self._streams.pop(stream.local, None)

    def _shell(self, stream: _Stream, line: str, framed: bool) -> None:
        faults = self._device.faults
        time.sleep(faults.slow_seconds)
        process = self._device.behind.start(line, self._device.properties)
        if faults.unplug_in == "run" and faults.command in line:
            faults.unplug_in = None
            threading.Timer(faults.after, self._server.unplug).start()
        threading.Thread(target=self._stdin, args=(stream, process, framed), daemon=True).start()
        pipes: dict[Any, int] = {process.stdout: 1, process.stderr: 2}
        try:
            while pipes:
                for pipe in select.select(list(pipes), [], [])[0]:
                    data = os.read(pipe.fileno(), 32768)
                    if not data:
                        del pipes[pipe]
                    else:
                        stream.write(struct.pack("<BI", pipes[pipe], len(data)) + data if framed else data)
            code = process.wait()
            if framed:
                stream.write(struct.pack("<BIB", 3, 1, code & 0xFF if code >= 0 else 128 - code))
        except (OSError, EOFError):
            # As adbd does when its client is gone.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
            raise

    def _stdin(self, stream: _Stream, process: subprocess.Popen[bytes], framed: bool) -> None:
        assert process.stdin is not None
        try:
            while True:
                if not framed:
                    process.stdin.write(stream.read(1))
                    continue
                kind, size = struct.unpack("<BI", stream.read(5))
                data = stream.read(size)
                if kind == 0:
                    process.stdin.write(data)
                    process.stdin.flush()
                elif kind == 4:
                    process.stdin.close()
                    return
        except (EOFError, OSError, ValueError):
            with contextlib.suppress(OSError):
                process.stdin.close()
            if stream.closed and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)

    def _sync(self, stream: _Stream) -> None:
        while True:
            command, size = struct.unpack("<4sI", stream.read(8))
            if command == b"QUIT":
                return
            path = stream.read(size).decode()
            handler = {b"STAT": self._stat, b"LIST": self._list, b"SEND": self._send, b"RECV": self._receive}.get(
                command
            )
            if handler is None:
                self._refuse(stream, "unknown sync command")
                return
            handler(stream, path)

    def _refuse(self, stream: _Stream, why: str) -> None:
        stream.write(b"FAIL" + struct.pack("<I", len(why)) + why.encode())

    def _stat(self, stream: _Stream, path: str) -> None:
        try:
            found = os.lstat(self._device.behind.real(path))
            stream.write(b"STAT" + struct.pack("<3I", found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime)))
        except OSError:
            stream.write(b"STAT" + struct.pack("<3I", 0, 0, 0))

    def _list(self, stream: _Stream, path: str) -> None:
        for entry in self._entries(path):
            name, found = entry.name.encode(), entry.stat(follow_symlinks=False)
            sizes = struct.pack("<4I", found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime), len(name))
            stream.write(b"DENT" + sizes + name)
        stream.write(b"DONE" + struct.pack("<4I", 0, 0, 0, 0))

    def _entries(self, path: str) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(OSError), os.scandir(self._device.behind.real(path)) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)

    def _send(self, stream: _Stream, path: str) -> None:
        faults = self._device.faults
        path, _, mode = path.rpartition(",")
        failed, target, done = "", None, 0
        try:
            real = self._device.behind.real(path)
            target = open(real, "wb")  # noqa: SIM115 - closed below
        except OSError as error:
            failed = f"couldn't create file: {error.strerror}"
        while True:
            kind, size = struct.unpack("<4sI", stream.read(8))
            if kind == b"DONE":
                break
            data = stream.read(size)
            done += len(data)
            if faults.unplug_in == "push" and done >= faults.after:
                faults.unplug_in = None
                self._server.unplug()
                raise EOFError
            if faults.room is not None and not failed:
                faults.room -= len(data)
                if faults.room < 0:
                    failed = "write failed: No space left on device"
            if target is not None and not failed:
                target.write(data)
        if target is not None:
            target.close()
            os.chmod(real, int(mode) & 0o777)
            if failed:
                os.unlink(real)
        if failed:
            self._refuse(stream, failed)
        else:
            stream.write(b"OKAY" + struct.pack("<I", 0))

    def _receive(self, stream: _Stream, path: str) -> None:
        faults = self._device.faults
        try:
            data = self._device.behind.real(path).read_bytes()
        except OSError as error:
            self._refuse(stream, f"open failed: {error.strerror}")
            return
        if faults.cut and path.endswith(faults.cut_name):
            data, faults.cut = data[: -faults.cut], 0
        for start in range(0, len(data), 65536):
            if faults.unplug_in == "pull" and start + 65536 >= faults.after:
                faults.unplug_in = None
                self._server.unplug()
                raise EOFError
            part = data[start : start + 65536]
            stream.write(b"DATA" + struct.pack("<I", len(part)) + part)
        stream.write(b"DONE" + struct.pack("<I", 0))
