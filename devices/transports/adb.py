"""An Android device behind the real ``adb``: always by serial, every call with a time limit."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devices.transports.transport import COMMAND_SECONDS, CommandFailed, DeviceLost, Done, TooSlow
from devices.transports.words import joined
from toolkit.errors import MissingError

BASE = "/data/local/tmp/edge-export"
"""The one folder that adb's shell may write *and* start programs in, on a phone that is not rooted."""

LIST_SECONDS = 15.0
"""Starting the server takes some seconds."""

STATES = {
    "unauthorized": "it has not allowed this computer: unlock it and accept the USB debugging question",
    "offline": "it does not answer: plug it in again, or run adb reconnect",
    "recovery": "it is in recovery mode: start Android",
    "sideload": "it is in sideload mode: start Android",
    "bootloader": "it is in its bootloader: start Android",
    "authorizing": "it is just being authorised: try again",
    "connecting": "it is just connecting: try again",
    "no permissions": "this user may not use the USB device: install android-sdk-platform-tools-common's udev rules",
}
"""What ``adb devices`` calls a device that cannot be used, and what to do."""

_END = 'c=$?; printf "@@end %s" "$c" >&2; exit "$c"'
"""What the device's shell says last, when a command has ended there."""

_LOST = re.compile(
    r"device .*not found|device offline|no devices|device unauthorized|protocol fault|error: closed|failed to read"
    r"|connection reset|cannot connect to daemon|daemon not running|failed to check server version|device still auth"
    r"|couldn't read from device|Broken pipe|daemon still not running|failed to start daemon|more than one device",
    re.IGNORECASE,
)


def program() -> str:
    """The adb there is.

    Raises:
        MissingError: none.
    """
    found = shutil.which("adb")
    if found is None:
        raise MissingError(
            "adb is not installed", where="target android", remedy="install Android's platform tools (apt install adb)"
        )
    return found


def devices() -> list[dict[str, str]]:
    """What ``adb devices -l`` lists: ``serial``, ``state`` and what else it says of each (``model``, ``product``).

    Raises:
        MissingError: no adb, or its server does not start.
    """
    try:
        done = subprocess.run(
            [program(), "devices", "-l"],
            capture_output=True,
            text=True,
            timeout=LIST_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(
            f"adb did not answer within {LIST_SECONDS:.0f} s", where="target android", remedy="run adb kill-server"
        ) from error
    if done.returncode:
        raise MissingError(
            f"adb does not work ({_last(done.stderr)})", where="target android", remedy="run adb devices by hand"
        )
    return listed(done.stdout)


def listed(text: str) -> list[dict[str, str]]:
    """Takes ``adb devices -l`` apart: ``SERIAL  STATE  key:value …``; a state may be of two words."""
    found = []
    for line in text.splitlines():
        match = re.match(r"(\S+)\s+(no permissions|\w+)(.*)", line)
        if not match or line.startswith(("List of devices", "*", "adb server")):
            continue
        row = {"serial": match[1], "state": match[2]}
        row.update(re.findall(r"(\w+):(\S*)", match[3]))
        found.append(row)
    return found


class Adb:
    """A :class:`devices.transports.transport.Transport`.

    Args:
        serial: as ``adb devices`` lists it.

    Raises:
        MissingError: adb is not installed.
    """

    name = "adb"

    def __init__(self, serial: str) -> None:
        self.where = f"android:{serial}"
        self.base = BASE
        self._serial = serial
        self._adb = program()

    def must_be_there(self) -> None:
        """Says why the device cannot be used, if it cannot.

        Raises:
            DeviceLost: it is not listed, or not ready.
        """
        if self.state() != "device":
            self._must_be_there("connect", "")

    def run(self, words: Sequence[str], *, seconds: float = COMMAND_SECONDS, stdin: bytes = b"") -> Done:
        """See :class:`devices.transports.transport.Transport`."""
        # -n keeps adb from our stdin; -T from a terminal on the device, which would mix the streams.
        options = ["-T"] if stdin else ["-n", "-T"]
        done = self._call(["shell", *options, f"{joined(words)}; {_END}"], seconds, "run", stdin)
        said, mark, code = done.stderr.rpartition("@@end ")
        if not mark or not code.strip().isdigit():
            # adb's own exit code is no proof: a cut connection may look like a command that ended well.
            self._must_be_there("run", done.stderr, always=True)
        number = int(code)
        return Done(128 - number if number > 128 else number, done.stdout, said)

    def push(self, files: Mapping[str, Path], *, seconds: float) -> None:
        """See :class:`devices.transports.transport.Transport`."""
        for remote, local in files.items():
            done = self._call(["push", str(local.resolve()), remote], seconds, "push")
            if done.code:
                self._failed("push", done)

    def pull(self, remote: Sequence[str], folder: Path, *, seconds: float) -> list[str]:
        """See :class:`devices.transports.transport.Transport`."""
        found = []
        for path in remote:
            name = path.rpartition("/")[2]
            done = self._call(["pull", path, str((folder / name).resolve())], seconds, "pull")
            if not done.code:
                found.append(name)
            elif "does not exist" not in done.stderr + done.stdout and "No such file" not in done.stderr + done.stdout:
                self._failed("pull", done)
        return found

    def close(self) -> None:
        """Nothing is held: every call is a process of its own."""

    def _call(self, words: Sequence[str], seconds: float, doing: str, stdin: bytes = b"") -> Done:
        command = [self._adb, "-s", self._serial, *words]
        fed: dict[str, Any] = {"input": stdin} if stdin else {"stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, **fed)
        except subprocess.TimeoutExpired as error:
            raise TooSlow(f"did not {doing} within {seconds:.0f} s", where=self.where) from error
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        return Done(done.returncode if done.returncode >= 0 else 255, out, err)

    def _failed(self, doing: str, done: Done) -> None:
        said = _last(done.stderr + done.stdout)
        if _LOST.search(done.stderr + done.stdout):
            self._must_be_there(doing, done.stderr + done.stdout, always=True)
        if self.state() != "device":
            self._must_be_there(doing, said)
        remedy = "free some space on the device" if re.search(r"no space", said, re.IGNORECASE) else ""
        raise CommandFailed(f"cannot {doing} a file ({said})", where=self.where, remedy=remedy)

    def _must_be_there(self, doing: str, said: str, *, always: bool = False) -> None:
        """Says why the device is lost; nothing where it is there after all, unless ``always``."""
        state = self.state()
        if state in STATES:
            raise DeviceLost(
                f"is {state}",
                doing=doing,
                where=self.where,
                remedy=STATES[state],
                final=state in ("unauthorized", "no permissions"),
            )
        if state != "device":
            what = "is not there (adb does not list it)"
            if doing != "connect":
                what = f"is gone while we wanted to {doing} ({_last(said) or 'adb does not list it'})"
            raise DeviceLost(what, doing=doing, where=self.where, remedy="plug it in, and look at adb devices")
        if always or _LOST.search(said):
            what = f"the connection broke ({_last(said)})"
            raise DeviceLost(what, doing=doing, where=self.where, remedy="look at adb devices")

    def state(self) -> str | None:
        """What adb says of the device; ``None`` where it does not list it."""
        try:
            return next((row["state"] for row in devices() if row["serial"] == self._serial), None)
        except MissingError:
            return None


def _last(text: str) -> str:
    """The line that says what was wrong, else the last one; adb ends a failed push with its speed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"error|failed|cannot", line, re.IGNORECASE)]
    found = (wrong or lines or [""])[-1]
    return found if len(found) <= 300 else f"{found[:100]} … {found[-180:]}"
