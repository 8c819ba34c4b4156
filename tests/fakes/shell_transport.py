"""A transport over this machine's own shell: real commands, real files, and faults at the seam."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from devices.transports.transport import CommandFailed, DeviceLost, Done, TooSlow
from devices.transports.words import joined


class Shell:
    """A :class:`devices.transports.transport.Transport` whose device is a folder.

    Args:
        base: the folder.
    """

    name = "shell"

    def __init__(self, base: Path) -> None:
        self.where = f"shell:{base}"
        self.base = str(base)
        self.lost_at: str | None = None
        self.cut: tuple[str, int] | None = None
        self.room: int | None = None
        self.commands: list[str] = []
        self.pushed: list[str] = []

    def run(self, words: Sequence[str], *, seconds: float = 60.0, stdin: bytes = b"") -> Done:
        self._maybe("run")
        line = joined(words)
        self.commands.append(line)
        try:
            done = subprocess.run(
                ["sh", "-c", line], capture_output=True, timeout=seconds, input=stdin, start_new_session=True
            )
        except subprocess.TimeoutExpired as error:
            raise TooSlow(f"did not run within {seconds:.0f} s", where=self.where) from error
        code = 128 - done.returncode if done.returncode > 128 else done.returncode
        return Done(code, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def push(self, files: Mapping[str, Path], *, seconds: float) -> None:
        self._maybe("push")
        for remote, local in files.items():
            self.pushed.append(remote)
            data = local.read_bytes()
            if self.room is not None and len(data) > self.room:
                Path(remote).write_bytes(data[: self.room])
                raise CommandFailed("cannot push a file (No space left on device)", where=self.where)
            if self.cut and remote.endswith(self.cut[0]):
                data = data[: -self.cut[1]]
            Path(remote).write_bytes(data)

    def pull(self, remote: Sequence[str], folder: Path, *, seconds: float) -> list[str]:
        self._maybe("pull")
        found = []
        for path in map(Path, remote):
            if path.is_file():
                shutil.copy(path, folder / path.name)
                if self.cut and path.name.endswith(self.cut[0]):
                    data = path.read_bytes()
                    (folder / path.name).write_bytes(data[: -self.cut[1]])
                found.append(path.name)
        return found

    def close(self) -> None:
        pass

    def _maybe(self, doing: str) -> None:
        if self.lost_at == doing:
            raise DeviceLost("is gone", doing=doing, where=self.where)
