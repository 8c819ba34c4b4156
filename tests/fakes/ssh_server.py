"""A real ssh server on the loopback, in this process: commands run in a shell of this machine, files are its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import asyncssh


class SshServer:
    """Serves until stopped. ``home`` is where commands run.

    Args:
        folder: for keys and the home folder.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.key = folder / "id"
        self.stranger = folder / "stranger"
        self.known_hosts = folder / "known_hosts"
        self.jumped: list[tuple[str, int]] = []
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._links: list[Any] = []
        self._children: list[subprocess.Popen[bytes]] = []
        own = asyncssh.generate_private_key("ssh-ed25519")
        own.write_private_key(str(self.key))
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(self.stranger))
        self._allowed = own.export_public_key().decode()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.start()
        self.know()

    def know(self, key: Any = None) -> None:
        """Writes the known_hosts file, with this key or the right one."""
        text = (key or self._host_key).export_public_key().decode()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {text}")

    def start(self) -> None:
        outer = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, connection: Any) -> None:
                outer._links.append(connection)

            def connection_requested(self, host: str, port: int, _host: str, _port: int) -> bool:
                outer.jumped.append((host, port))
                return True

        async def listen() -> Any:
            return await asyncssh.listen(
                "127.0.0.1",
                self.port,
                server_factory=Server,
                server_host_keys=[self._host_key],
                authorized_client_keys=asyncssh.import_authorized_keys(self._allowed),
                process_factory=self._serve,
                sftp_factory=True,
                encoding=None,
            )

        self._listener = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)
        self.port = self._listener.get_port()

    async def _serve(self, process: Any) -> None:
        command = process.command
        command = command.decode() if isinstance(command, bytes) else command
        child = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home)},
            start_new_session=True,
        )
        self._children.append(child)
        out, err = await asyncio.get_running_loop().run_in_executor(None, child.communicate)
        with contextlib.suppress(OSError, asyncssh.Error):
            process.stdout.write(out)
            process.stderr.write(err)
            if child.returncode < 0:
                process.exit_with_signal(signal.Signals(-child.returncode).name[3:])
            else:
                process.exit(child.returncode)

    def drop(self) -> None:
        """Ends every connection at once, as a network does, and takes no new one."""

        def work() -> None:
            self._listener.close()
            for link in self._links:
                link.abort()
            self._links.clear()

        for child in self._children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)  # as sshd's children go with their connection
        self._children.clear()
        self._loop.call_soon_threadsafe(work)

    def stop(self) -> None:
        if self._loop.is_closed():
            return
        self.drop()

        async def rest() -> None:
            await self._listener.wait_closed()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(rest(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
