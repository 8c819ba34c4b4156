"""A device as the real ``adb`` sees it: the ADB wire protocol over loopback, several at once, and its faults.

Protocol: AOSP packages/modules/adb, protocol.txt, SYNC.TXT and shell_protocol.h.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from emulation.phone import Device

VERSION = 0x01000001
MOST = 256 * 1024
TOKEN, PUBLIC_KEY = 1, 3


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
        finally:
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

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
            if stream.closed and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()

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
        failed, done = "", 0
        taken = bytearray()
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
            taken += data
        try:
            if not failed:
                real = self._device.behind.real(path)
                real.write_bytes(taken)
                os.chmod(real, int(mode) & 0o777)
        except OSError as error:
            failed = f"couldn't create file: {error.strerror}"
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
