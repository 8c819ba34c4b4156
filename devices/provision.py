"""A Python runtime for a device without Internet: wheels for its architecture are fetched here and unpacked there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devices.remote import alone, have, must
from devices.transports.transport import CommandFailed, Transport
from toolkit import store
from toolkit.errors import MissingError

FETCH_SECONDS = 600.0
UNPACK_SECONDS = 600.0

_UNPACK = """
import sys, zipfile, os, shutil
folder, mark, *wheels = sys.argv[1:]
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
for wheel in wheels:
    zipfile.ZipFile(wheel).extractall(folder)
open(os.path.join(folder, "complete.part"), "w").write(mark)
os.replace(os.path.join(folder, "complete.part"), os.path.join(folder, "complete"))
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What decides which wheels fit: ``aarch64``, ``(2, 36)``, ``(3, 11)``."""

    machine: str
    glibc: tuple[int, int]
    python: tuple[int, int]

    def platforms(self) -> list[str]:
        """pip's names for every system that this one can stand in for, the newest first."""
        newest, found = self.glibc[1], []
        for minor in range(newest, 16, -1):
            found.append(f"manylinux_2_{minor}_{self.machine}")
        return [*found, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]


def wheels(requirements: Sequence[str], machine: Machine) -> list[Path]:
    """The wheels, from the user's cache or by pip.

    Args:
        requirements: exact, ``NAME==VERSION``, or what ``pip`` may choose from.
        machine: that they are for.

    Raises:
        MissingError: pip does not get them.
    """
    folder = store.cache_dir() / "wheels" / store.key_of([*requirements, machine.platforms(), machine.python])[:16]
    with alone(f"fetching {folder.name}"):
        return _fetched(folder, requirements, machine)


def _fetched(folder: Path, requirements: Sequence[str], machine: Machine) -> list[Path]:
    record = folder / "complete.json"
    if record.is_file():
        found = [folder / name for name in store.read_json(record)["wheels"]]
        if all(path.is_file() for path in found):
            return found
    with store.disk_errors(folder):
        store.remove(folder)
        folder.mkdir(parents=True, exist_ok=True)
    version = "".join(map(str, machine.python))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--only-binary=:all:", "--no-deps", "--dest", str(folder), "--implementation", "cp"]
    command += [
        "--python-version",
        f"{machine.python[0]}.{machine.python[1]}",
        "--abi",
        f"cp{version}",
        "--abi",
        "abi3",
    ]
    command += ["--abi", "none", *(word for name in machine.platforms() for word in ("--platform", name))]
    what = f"{', '.join(requirements)} for {machine.machine}, Python {machine.python[0]}.{machine.python[1]}"
    try:
        done = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, timeout=FETCH_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"pip cannot fetch {what} ({error})", remedy="check the network") from error
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != len(requirements):
        said = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["no reason given"]
        store.remove(folder)
        raise MissingError(
            f"pip cannot fetch {what} ({said[-1].removeprefix('ERROR: ')[:200]})",
            remedy="check the network, or name another with runtime=NAME==VERSION",
        )
    store.write_json(record, {"wheels": [path.name for path in found]})
    return found


def unpacked(transport: Transport, python: str, found: Sequence[Path]) -> str:
    """The folder on the device that holds the wheels' packages; it is made unless it is there.

    Raises:
        CommandFailed: they do not go there.
    """
    key = store.key_of([store.sha256_file(path) for path in found])
    folder = f"{transport.base}/packages/{key[:16]}"
    there = transport.run(["cat", f"{folder}/complete"])
    if there.code == 0 and there.stdout.strip() == key:
        return folder
    names = {f"{store.sha256_file(path)}.whl": path for path in found}
    paths = have(transport, f"{transport.base}/files", names, set())
    done = transport.run([python, "-c", _UNPACK, folder, key, *paths], seconds=UNPACK_SECONDS)
    if done.code:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1]
        full = "No space" in said
        raise CommandFailed(
            f"cannot unpack the runtime ({said})",
            where=transport.where,
            remedy="free some space on the device" if full else "",
        )
    must(transport, ["rm", "-f", *paths], "remove the wheels")
    return folder


def library(machine: str) -> Path:
    """LiteRT's C library for a machine, out of the wheel of the release that is installed here.

    Raises:
        MissingError: pip does not get the wheel, or it holds no library.
    """
    import os
    import zipfile

    from devices import runtimes

    version = runtimes.installed(runtimes.NAMES[0]) or "2.3.0"
    found = wheels([f"{runtimes.NAMES[0]}=={version}"], Machine(machine=machine, glibc=(2, 27), python=_ours()))[0]
    made = store.cache_dir() / "native" / f"{store.sha256_file(found)[:16]}-{machine}" / "libLiteRt.so"
    with alone(f"unpacking {made.parent.name}"):
        if made.is_file():
            return made
        with store.disk_errors(made):
            made.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(found) as wheel:
                data = wheel.read("ai_edge_litert/libLiteRt.so")
        except (KeyError, zipfile.BadZipFile) as error:
            raise MissingError(f"{found.name} holds no libLiteRt.so ({error})", remedy="try another release") from error
        part = made.with_name(f"libLiteRt.so.{os.getpid()}.part")
        part.write_bytes(data)
        os.replace(part, made)
        return made


def _ours() -> tuple[int, int]:
    return sys.version_info[0], sys.version_info[1]
