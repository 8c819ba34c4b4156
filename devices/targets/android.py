"""An Android device behind the real adb: ``android:SERIAL``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices import emulated, runtimes, spec
from toolkit.errors import DeviceError, MissingError, UsageError

if TYPE_CHECKING:  # this file is read for ``targets list``: what only a run needs is imported by the run
    from devices.remote import Program, Remote
    from devices.transports.transport import Transport

NAME = "android"
OPTIONS = ("threads", "xnnpack", "cores", "benchmark", "kind", "libs")
KINDS = ("classic", "litert")
ACCELERATORS = ("cpu", "gpu")
MACHINES = {"arm64-v8a": "aarch64", "x86_64": "x86_64"}
"""Android's names of the instruction sets that the native runner is made for, and everybody else's."""

LIBRARIES = {
    "aarch64": ("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
    "x86_64": ("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
}
"""glibc, its loader first; ``libgcc_s.so.1`` and ``libstdc++.so.6`` come with them."""

SUPPORT = ("libgcc_s.so.1", "libstdc++.so.6")


def describe() -> list[dict[str, Any]]:
    """The target's rows of ``targets list``: the devices that adb lists, and why one cannot be used."""
    if shutil.which("adb") is None:
        return [_row(NAME, "adb is not installed: apt install adb, or Android's platform tools")]
    from devices.transports import adb

    ours = {d["name"]: d for d in emulated.up(NAME)}
    try:
        found = adb.devices()
    except MissingError as error:
        return [_row(NAME, error.what)]
    rows = []
    for device in found:
        name, state = f"{NAME}:{device['serial']}", device["state"]
        why = None if state == "device" else f"it is {state}: {adb.STATES.get(state, 'look at adb devices')}"
        model = device.get("model", "").replace("_", " ")
        emulator = name in ours or device["serial"].startswith("emulator-")
        rows.append({**_row(name, why), "emulated": emulator, "platform": f"android {model}".strip()})
    return rows or [_row(NAME, "no device is connected: plug one in and allow USB debugging, see adb devices")]


def _row(name: str, why: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "reachable": why is None,
        "why": why,
        "emulated": False,
        "platform": "android-aarch64",
        "runtimes": [] if why else [f"libLiteRt.so=={runtimes.installed(runtimes.NAMES[0])}"],
    }


def open(rest: str, threads: int) -> Remote:
    """The device: ``SERIAL`` or ``SERIAL/gpu``, then options behind commas.

    Options: ``threads``, ``xnnpack`` (on, off), ``cores`` (``big``, or numbers joined by ``+``), and what runs there:
    ``benchmark`` (the file of Google's ``benchmark_model`` for this device; ``kind``: classic or litert) or ``libs`` (a
    folder with glibc for its architecture: experimental, see docs/devices.md).

    Raises:
        UsageError: no serial, an unknown option or value.
        MissingError: no adb, or nothing that could run there.
        DeviceError: no such device, or it does not let us in.
    """
    address, found = spec.address(NAME, rest, OPTIONS, "SERIAL")
    serial, _, accelerator = address.partition("/")
    if accelerator and accelerator not in ACCELERATORS:
        raise UsageError(
            f"unknown accelerator {accelerator!r}",
            where=f"target {NAME}",
            remedy=f"there are: {', '.join(ACCELERATORS)}",
        )
    xnnpack, cores = spec.switch(NAME, found, "xnnpack"), spec.cores(NAME, found)
    if found.get("kind", KINDS[0]) not in KINDS:
        raise UsageError(
            f"kind={found['kind']}", where=f"target {NAME}", remedy=f"write kind={' or kind='.join(KINDS)}"
        )
    if "benchmark" in found and "libs" in found:
        raise UsageError("benchmark and libs exclude each other", where=f"target {NAME}", remedy="give one of them")
    from devices.remote import Remote
    from devices.transports.adb import Adb
    from toolkit.records import Target

    transport = Adb(serial)
    transport.must_be_there()
    own = spec.threads(NAME, found["threads"]) if "threads" in found else threads
    phone = Phone(f"{NAME}:{serial}", accelerator or "cpu", found)
    runtime, version = phone.look(transport)
    readings, _ = phone.readings(transport)
    decisive = {k: v for k, v in found.items() if k not in ("benchmark", "libs")}
    options = {"threads": own, "xnnpack": xnnpack, "affinity": spec.affinity(cores, readings)}
    target = Target(
        name=spec.canonical(f"{NAME}:{address}", decisive, ","),
        platform=f"android-{phone.machine}",
        runtime=runtime,
        runtime_version=version,
        delegate="xnnpack" if xnnpack and not accelerator else None,
        accelerator=accelerator if accelerator == "gpu" else None,
        threads=own,
        emulated=bool(readings.get("emulated")),
    )
    return Remote(target=target, transport=transport, site=phone, options=options)


class Phone:
    """A :class:`devices.remote.Site`: Android's shell, and one of two runners.

    Args:
        name: the target's, for messages.
        accelerator: ``cpu`` or ``gpu``.
        options: ``benchmark`` or ``libs``.
    """

    def __init__(self, name: str, accelerator: str, options: dict[str, str]) -> None:
        ours = next((d for d in emulated.up(NAME) if d["name"] == name), {})
        self._name = name
        self._accelerator = accelerator
        self._benchmark = options.get("benchmark")
        self._kind = options.get("kind", KINDS[0])
        self._libs = options.get("libs") or (None if self._benchmark else ours.get("libs"))
        self.machine = "unknown"

    def look(self, transport: Transport) -> tuple[str, str]:
        """What will run there, and its version.

        Raises:
            MissingError: neither runner can be had.
            DeviceError: the device's instruction set is none that we know.
        """
        abi = transport.run(["getprop", "ro.product.cpu.abi"]).stdout.strip()
        if self._benchmark is not None:
            if not Path(self._benchmark).is_file():
                raise MissingError(
                    "is not there", where=self._benchmark, remedy="give benchmark=FILE of benchmark_model"
                )
            self.machine = MACHINES.get(abi, abi or "unknown")
            from toolkit.store import sha256_file

            return "benchmark_model", sha256_file(Path(self._benchmark))[:12]
        if self._libs is None:
            raise MissingError(
                "nothing was given that could run there",
                where=f"target {self._name}",
                remedy="give benchmark=FILE of Google's benchmark_model, or libs=FOLDER of a glibc (docs/devices.md)",
            )
        if abi not in MACHINES:
            raise DeviceError(
                f"its instruction set is {abi or 'unknown'}, the native runner knows {', '.join(MACHINES)}",
                where=transport.where,
                remedy="give benchmark=FILE",
            )
        if self._accelerator != "cpu":
            raise MissingError(
                "the native runner reaches no GPU of Android",
                where=f"target {self._name}",
                remedy="give benchmark=FILE of Google's benchmark_model",
            )
        self.machine = MACHINES[abi]
        return "libLiteRt.so", runtimes.installed(runtimes.NAMES[0]) or "unknown"

    def ready(self, transport: Transport) -> Program:
        """See :class:`devices.remote.Site`."""
        from devices.programs import benchmark_model

        if self._benchmark is not None:
            return benchmark_model.Google(Path(self._benchmark), gpu=self._accelerator == "gpu", kind=self._kind)
        return self.native()

    def native(self) -> Program:
        """See :class:`devices.remote.Site`."""
        from devices import provision
        from devices.programs import build
        from devices.programs.native import Native

        if self._libs is None or self.machine not in LIBRARIES:
            raise MissingError("the native runner needs libs=FOLDER", where=f"target {self._name}")
        names = (*LIBRARIES[self.machine], *SUPPORT)
        files = {name: _library(Path(self._libs), self.machine, name) for name in names}
        files["libLiteRt.so"] = provision.library(self.machine)
        files["native"] = build.native(self.machine)
        return Native(files, loader=names[0])

    def readings(self, transport: Transport) -> tuple[dict[str, Any], dict[str, str]]:
        """See :class:`devices.remote.Site`."""
        from devices import readings

        done = transport.run(["sh", "-c", readings.ANDROID])
        return readings.parse(done.stdout, done.stderr)


def _library(folder: Path, machine: str, name: str) -> Path:
    """A library in a folder that holds it, or in an unpacked system of Debian's layout.

    Raises:
        MissingError: it is not there.
    """
    places = ("", f"lib/{machine}-linux-gnu", f"usr/lib/{machine}-linux-gnu", "lib")
    found = next((folder / place / name for place in places if (folder / place / name).exists()), None)
    if found is None:
        raise MissingError(f"has no {name}", where=str(folder), remedy="see docs/devices.md for how to make it")
    return found.resolve()
