"""A device behind ssh, by asyncssh: host keys are checked, ``~/.ssh/config`` counts, agent and key files are used."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from devices.transports.transport import COMMAND_SECONDS, CommandFailed, DeviceLost, Done, TooSlow
from devices.transports.words import joined
from toolkit.errors import MissingError

CONNECT_SECONDS = 30.0
ALIVE_SECONDS = 10
"""After three of these without an answer the connection counts as broken."""

T = TypeVar("T")

_TIMEOUTS = (asyncio.TimeoutError, concurrent.futures.TimeoutError)  # one and the same from Python 3.11 on


class _NotReached(Exception):
    """There was no connection in the first place."""


class Ssh:
    """A :class:`devices.transports.transport.Transport`; it connects when first used, and again after a break.

    asyncssh lives on an event loop in a thread of its own; every call waits for it within a time limit.

    Args:
        host, user, port: as ``~/.ssh/config`` may say otherwise.
        keys: private key files; else the agent's and the usual ones.
        known_hosts: a file instead of ``~/.ssh/known_hosts``.
        jump: ``[USER@]HOST[:PORT]`` to go through; commas chain several.
        base: the folder on the device that is ours, from the home folder.
        config: files instead of ``~/.ssh/config``.

    Raises:
        MissingError: asyncssh is not installed.
    """

    name = "ssh"

    def __init__(
        self,
        host: str,
        *,
        user: str | None = None,
        port: int | None = None,
        keys: Sequence[str] = (),
        known_hosts: str | None = None,
        jump: str | None = None,
        base: str = ".cache/edge-export",
        config: Sequence[str] = (),
    ) -> None:
        try:
            import asyncssh
        except ImportError as error:
            raise MissingError(
                "asyncssh is not installed", where=f"ssh to {host}", remedy="pip install 'edge-export[ssh]'"
            ) from error
        self._asyncssh = asyncssh
        self.where = f"{user}@{host}" if user else host
        self.base = base
        self._host = host
        self._options: dict[str, Any] = {"keepalive_interval": ALIVE_SECONDS, "connect_timeout": CONNECT_SECONDS}
        given = {"username": user, "port": port, "client_keys": list(keys) or None, "tunnel": jump}
        self._options.update({k: v for k, v in given.items() if v is not None})
        if known_hosts is not None:
            self._options["known_hosts"] = known_hosts
        if config:
            self._options["config"] = list(config)
        self._connection: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"ssh {self.where}", daemon=True)
        self._thread.start()

    def run(self, words: Sequence[str], *, seconds: float = COMMAND_SECONDS, stdin: bytes = b"") -> Done:
        """See :class:`devices.transports.transport.Transport`."""

        async def work() -> Done:
            connection = await self._connected()
            process = await connection.create_process(joined(words), encoding=None)
            try:
                found = await asyncio.wait_for(self._communicate(process, stdin), seconds)
            except asyncio.TimeoutError:
                process.close()
                raise
            return found

        return self._wait(work(), seconds, "run")

    async def _communicate(self, process: Any, stdin: bytes) -> Done:
        out, err = await process.communicate(stdin)
        status = process.exit_status
        if process.exit_signal is not None:
            code = -_number(process.exit_signal[0])
        elif status is None or status < 0:
            raise self._asyncssh.ConnectionLost("the connection ended before the command")
        else:
            code = 128 - status if status > 128 else status
        return Done(code, (out or b"").decode("utf-8", "replace"), (err or b"").decode("utf-8", "replace"))

    def push(self, files: Mapping[str, Path], *, seconds: float) -> None:
        """See :class:`devices.transports.transport.Transport`."""

        async def work() -> None:
            connection = await self._connected()
            async with connection.start_sftp_client() as sftp:
                for remote, local in files.items():
                    await sftp.put(str(local), remote)

        self._wait(work(), seconds, "push")

    def pull(self, remote: Sequence[str], folder: Path, *, seconds: float) -> list[str]:
        """See :class:`devices.transports.transport.Transport`."""

        async def work() -> list[str]:
            connection = await self._connected()
            found = []
            async with connection.start_sftp_client() as sftp:
                for path in remote:
                    name = path.rpartition("/")[2]
                    with contextlib.suppress(self._asyncssh.SFTPNoSuchFile):
                        await sftp.get(path, str(folder / name))
                        found.append(name)
            return found

        return self._wait(work(), seconds, "pull")

    def close(self) -> None:
        """See :class:`devices.transports.transport.Transport`."""
        if self._loop.is_closed():
            return

        async def work() -> None:
            if self._connection is not None:
                self._connection.close()
                await self._connection.wait_closed()

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(work(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _forget(self) -> None:
        """Lets a connection go that is of no use any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._loop.call_soon_threadsafe(connection.abort)

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            try:
                self._connection = await asyncio.wait_for(
                    self._asyncssh.connect(self._host, **self._options), CONNECT_SECONDS
                )
            except _TIMEOUTS as error:
                raise _NotReached(f"no answer within {CONNECT_SECONDS:.0f} s") from error
            except OSError as error:
                raise _NotReached(error.strerror or str(error)) from error
        return self._connection

    def _wait(self, work: Coroutine[Any, Any, T], seconds: float, doing: str) -> T:
        ssh = self._asyncssh
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds + CONNECT_SECONDS + 5)
        except _TIMEOUTS as error:
            future.cancel()
            raise TooSlow(f"did not {doing} within {seconds:.0f} s", where=self.where) from error
        except _NotReached as error:
            raise DeviceLost(
                f"cannot be reached ({error})",
                doing="connect",
                where=self.where,
                remedy="check its name, power and network",
            ) from error
        except ssh.HostKeyNotVerifiable as error:
            self._forget()
            raise DeviceLost(
                f"its host key is not the known one, or not known ({error})",
                doing="connect",
                where=self.where,
                remedy=f"look at the device, then: ssh-keygen -R {self._host}; ssh {self.where} once by hand",
                final=True,
            ) from error
        except ssh.PermissionDenied as error:
            raise DeviceLost(
                f"does not let us in ({error})",
                doing="connect",
                where=self.where,
                remedy=f"give key=FILE, start ssh-agent, or run ssh-copy-id {self.where}",
                final=True,
            ) from error
        except ssh.SFTPError as error:
            raise CommandFailed(f"cannot {doing} a file ({error})", where=self.where, remedy=_space(error)) from error
        except (ssh.Error, OSError, EOFError) as error:
            self._forget()
            raise DeviceLost(
                f"the connection broke ({type(error).__name__}: {error})",
                doing=doing,
                where=self.where,
                remedy="check the device's power and network",
            ) from error


def _space(error: Exception) -> str:
    return "free some space on the device" if "ailure" in str(error) or "space" in str(error) else ""


def _number(name: str) -> int:
    import signal

    found = getattr(signal, f"SIG{name}", None)
    return int(found) if found is not None else 9
