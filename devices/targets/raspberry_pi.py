"""A Raspberry Pi, or any Linux board with Python, behind ssh: ``raspberry-pi:pi@host``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from devices import emulated, runtimes, spec
from toolkit.errors import DeviceError, MissingError, UsageError

if TYPE_CHECKING:  # this file is read for ``targets list``: what only a run needs is imported by the run
    from devices.remote import Program, Remote
    from devices.transports.transport import Transport

NAME = "raspberry-pi"
OPTIONS = ("threads", "runtime", "xnnpack", "cores", "key", "known_hosts", "jump", "python")
NEEDED_BYTES = 200_000_000
"""Free space that unpacking numpy and a runtime takes, with some to spare."""

NUMPY = {(3, 9): "numpy==2.0.2", (3, 10): "numpy==2.2.6"}
"""The last release for an old Python; newer ones get the release that we have."""

_PREFLIGHT = """
import json, os, platform, shutil, struct, sys, sysconfig
base = os.path.abspath(os.path.expanduser(sys.argv[1]))
there = base
while not os.path.exists(there):
    there = os.path.dirname(there)
try:
    import numpy; own = numpy.__version__
except ImportError:
    own = None
print(json.dumps({"home": os.path.expanduser("~"), "machine": platform.machine(), "bits": 8 * struct.calcsize("P"),
    "multiarch": sysconfig.get_config_var("MULTIARCH"), "libc": platform.libc_ver(), "python": sys.version_info[:2],
    "free": shutil.disk_usage(there).free, "numpy": own, "writable": os.access(there, os.W_OK)}))
"""


def describe() -> list[dict[str, Any]]:
    """The target's rows of ``targets list``: the boards that were started here, and how to name one."""
    found = [_row(d["name"], None, True, d.get("platform", "linux")) for d in emulated.up(NAME)]
    why = None
    try:
        import importlib.util

        if importlib.util.find_spec("asyncssh") is None:
            why = "asyncssh is not installed: pip install 'edge-export[ssh]'"
    except ImportError:
        why = "asyncssh is not installed"
    return found or [_row(NAME, why or "name one: raspberry-pi:USER@HOST", False, "linux-aarch64, linux-armv7l")]


def _row(name: str, why: str | None, is_emulated: bool, platform: str) -> dict[str, Any]:
    reachable = why is None
    return {
        "name": name,
        "reachable": reachable,
        "why": why,
        "emulated": is_emulated,
        "platform": platform,
        "runtimes": [_usual(platform)] if reachable else [],
    }


def _usual(platform: str) -> str:
    litert = runtimes.NAMES[0]
    return "==".join(runtimes.OLDEST) if "armv7l" in platform else f"{litert}=={runtimes.installed(litert) or '2.3.0'}"


def open(rest: str, threads: int) -> Remote:
    """The device: ``[USER@]HOST[:PORT]``, then options behind commas.

    Options: ``threads``, ``runtime`` (NAME==VERSION), ``xnnpack`` (on, off), ``cores`` (``big``, or numbers joined by
    ``+``), ``key`` (a private key's file), ``known_hosts`` (a file), ``jump`` (a host to go through), ``python``.

    Raises:
        UsageError: no host, an unknown option or value.
        MissingError: asyncssh is not installed.
        DeviceError: it cannot be reached, or cannot run what is needed.
    """
    address, found = spec.address(NAME, rest, OPTIONS, "USER@HOST")
    xnnpack = spec.switch(NAME, found, "xnnpack")
    cores = spec.cores(NAME, found)
    match = re.fullmatch(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:@]+)(?::(?P<port>\d+))?", address)
    if match is None:
        raise UsageError(
            f"{address!r} is no host", where=f"target {NAME}", remedy="write raspberry-pi:USER@HOST[:PORT]"
        )
    if "runtime" in found:
        runtimes.parse(found["runtime"], where=f"target {NAME}")
    from devices.transports.ssh import Ssh

    # A board that was started here lets its own key in, and is known by its own file.
    ours = next((d for d in emulated.up(NAME) if d["name"] == f"{NAME}:{address}"), {})
    key = found.get("key") or ours.get("key")
    transport = Ssh(
        match["host"].strip("[]"),
        user=match["user"],
        port=int(match["port"]) if match["port"] else None,
        keys=[key] if key else [],
        known_hosts=found.get("known_hosts") or ours.get("known_hosts"),
        jump=found.get("jump"),
    )
    # How it is reached is no part of what was measured.
    decisive = {k: v for k, v in found.items() if k not in ("key", "known_hosts", "jump")}
    name = spec.canonical(f"{NAME}:{address}", decisive, ",")
    try:
        return _opened(transport, name, found, threads, xnnpack, cores)
    except BaseException:
        transport.close()
        raise


def _opened(
    transport: Any, called: str, found: dict[str, str], threads: int, xnnpack: bool, cores: str | None
) -> Remote:
    from devices.remote import Remote
    from toolkit.records import Target

    site = Board(found.get("python", "python3"), found.get("runtime"))
    name, version = site.look(transport)
    readings, _ = site.readings(transport)
    own = spec.threads(NAME, found["threads"]) if "threads" in found else threads
    target = Target(
        name=called,
        platform=f"linux-{site.machine}",
        runtime=name,
        runtime_version=version,
        delegate="xnnpack" if xnnpack else None,
        threads=own,
        emulated=bool(readings.get("emulated")),
    )
    options = {"runtime": name, "threads": own, "xnnpack": xnnpack, "affinity": spec.affinity(cores, readings)}
    return Remote(target=target, transport=transport, site=site, options=options)


class Board:
    """A :class:`devices.remote.Site`: Linux with glibc and Python, 64-bit or 32-bit ARM (or x86-64).

    Args:
        python: its name or path there.
        runtime: ``NAME==VERSION``; without it what fits the architecture.
    """

    def __init__(self, python: str, runtime: str | None) -> None:
        self._python = python
        self._runtime = runtime
        self.machine = "unknown"
        self._wanted: list[str] = []

    def look(self, transport: Transport) -> tuple[str, str]:
        """Preflight; returns the runtime's name and version.

        Raises:
            DeviceError: the device cannot run it, and why.
        """
        done = transport.run([self._python, "-c", _PREFLIGHT, transport.base])
        where = transport.where
        if done.code:
            said = (done.stderr.strip() or f"exit code {done.code}").splitlines()[-1]
            raise DeviceError(
                f"{self._python} does not run there ({said})",
                where=where,
                remedy="install python3, or give python=PATH",
            )
        try:
            facts = json.loads(done.stdout.strip().splitlines()[-1])
            libc, number = facts["libc"]
            glibc = tuple(int(part) for part in number.split(".")[:2]) if libc == "glibc" else None
            python = (int(facts["python"][0]), int(facts["python"][1]))
        except (ValueError, LookupError, TypeError) as error:
            raise DeviceError(f"answered nonsense to the preflight ({error})", where=where) from error
        if glibc is None:
            raise DeviceError("is no glibc system, and there is no runtime for others", where=where)
        if python < (3, 9):
            raise DeviceError(
                f"its Python is {python[0]}.{python[1]}, older than 3.9",
                where=where,
                remedy="give python=PATH of a newer one",
            )
        if not transport.base.startswith("/"):
            transport.base = f"{facts['home']}/{transport.base}"
        if not facts["writable"]:
            raise DeviceError(
                f"{transport.base} cannot be written there", where=where, remedy="give it back to this user"
            )
        # A 64-bit kernel may carry a 32-bit system: what counts is the Python that will run.
        self.machine = "armv7l" if facts["bits"] == 32 else str(facts["machine"])
        self._decide(facts, python, (glibc[0], glibc[1]), where)
        name, _, version = self._wanted[0].partition("==")
        return name, version

    def _decide(self, facts: dict[str, Any], python: tuple[int, int], glibc: tuple[int, int], where: str) -> None:
        from devices.provision import Machine

        runtime = self._runtime or _usual(self.machine)
        needs_old = runtime.startswith(runtimes.OLDEST[0])
        own = facts["numpy"]
        if needs_old and own and not own.startswith("2."):
            numpy = None
        elif self.machine == "armv7l":
            # There are no numpy wheels for 32-bit ARM but the board's distribution has one.
            raise DeviceError(
                "has no numpy below 2, which its runtime needs",
                where=where,
                remedy="run there: sudo apt install python3-numpy",
            )
        else:
            numpy = "numpy==1.26.4" if needs_old else NUMPY.get(python, f"numpy=={runtimes.installed('numpy')}")
        self._wanted = [runtime, *([numpy] if numpy else [])]
        self._machine = Machine(machine=self.machine, glibc=glibc, python=python)
        if facts["free"] < NEEDED_BYTES:
            raise DeviceError(
                f"has {facts['free'] / 1e6:.0f} MB free, {NEEDED_BYTES / 1e6:.0f} MB are needed",
                where=where,
                remedy="free some space on the device",
            )

    def ready(self, transport: Transport) -> Program:
        """See :class:`devices.remote.Site`: fetches the runtime here and unpacks it there, unless it is there."""
        from devices import provision
        from devices.programs.portable import Portable

        try:
            found = provision.wheels(self._wanted, self._machine)
        except MissingError as error:
            raise MissingError(error.what, where=f"for {transport.where}", remedy=error.remedy) from error
        return Portable(self._python, provision.unpacked(transport, self._python, found))

    def native(self) -> Program:
        """See :class:`devices.remote.Site`: LiteRT's library has no wheel for 32 bits."""
        from devices import provision
        from devices.programs import build
        from devices.programs.native import Native

        if self.machine == "armv7l":
            raise DeviceError("has 32 bits, for which there is no LiteRT", where="profile of operators")
        return Native(
            {"native": build.native(self.machine), "libLiteRt.so": provision.library(self.machine)}, path=True
        )

    def readings(self, transport: Transport) -> tuple[dict[str, Any], dict[str, str]]:
        """See :class:`devices.remote.Site`."""
        from devices import readings

        done = transport.run(["sh", "-c", readings.RASPBERRY_PI])
        return readings.parse(done.stdout, done.stderr)
