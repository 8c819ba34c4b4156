"""Apple's ``xcrun devicectl``: its command lines and the documents that ``--json-output`` writes.

Command lines are lists of arguments, never a shell's text. Documents are read in both shapes there are: a dictionary
for each kind of property (Xcode 15 to 26), and one called ``properties`` (Xcode 27).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.device import RunnerFailed
from toolkit.errors import BrokenInput, DeviceError, MissingError, UsageError
from toolkit.records import Failure

TOOL = ("xcrun", "devicectl")

LIST_SECONDS = 15.0
COPY_SECONDS = 3600.0
INSTALL_SECONDS = 300.0

_GRACE = 15.0
"""What devicectl gets beyond its own ``--timeout`` before it is ended."""

_TAIL = 2048


@dataclass(frozen=True, kw_only=True)
class Found:
    """One device that devicectl knows. ``udid`` is the hardware's, ``identifier`` CoreDevice's own."""

    udid: str
    identifier: str
    name: str
    model: str
    os_version: str
    connected: bool


def list_devices() -> list[str]:
    """``devicectl list devices``."""
    return [*TOOL, "list", "devices"]


def details(device: str) -> list[str]:
    """``devicectl device info details``."""
    return [*TOOL, "device", "info", "details", "--device", _given("device", device)]


def install(device: str, app: Path) -> list[str]:
    """``devicectl device install app``."""
    return [*TOOL, "device", "install", "app", "--device", _given("device", device), _path(app)]


def copy_to(device: str, bundle_id: str, source: Path, destination: str) -> list[str]:
    """``devicectl device copy to``: a file or folder of ours into an app's data container."""
    where = _container(device, bundle_id)
    return [*TOOL, "device", "copy", "to", *where, "--source", _path(source), "--destination", destination]


def copy_from(device: str, bundle_id: str, source: str, destination: Path) -> list[str]:
    """``devicectl device copy from``: a file or folder out of an app's data container."""
    where = _container(device, bundle_id)
    return [*TOOL, "device", "copy", "from", *where, "--source", source, "--destination", _path(destination)]


def launch(device: str, bundle_id: str, arguments: Sequence[str] = ()) -> list[str]:
    """``devicectl device process launch``: starts an app anew and waits for its end (Xcode 16)."""
    start = [*TOOL, "device", "process", "launch", "--console", "--terminate-existing"]
    return [*start, "--device", _given("device", device), _given("bundle id", bundle_id), "--", *arguments]


def run(command: Sequence[str], *, seconds: float, document: bool = False) -> dict[str, Any]:
    """Runs a devicectl command; returns its JSON document's ``result`` if one is asked for, else ``{}``.

    Args:
        command: as the functions above make it.
        seconds: its ``--timeout``.
        document: whether to ask for ``--json-output``.

    Raises:
        MissingError: no xcrun here.
        DeviceError: it failed or hung, with the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="edge-export-devicectl-") as folder:
        output = Path(folder) / "output.json"
        options = ["--timeout", str(max(5, round(seconds)))]
        if document:
            options += ["--json-output", str(output)]
        # Options behind the subcommand's words, before anything that is the app's.
        at = next((i for i, word in enumerate(command) if word.startswith("-")), len(command))
        full = [*command[:at], *options, *command[at:]]
        what = " ".join(command[1:at])
        try:
            done = subprocess.run(
                full, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + _GRACE, check=False
            )
        except FileNotFoundError as error:
            raise MissingError("xcrun is not here", remedy="install Xcode 15 or newer on a Mac") from error
        except OSError as error:
            raise MissingError(f"xcrun cannot be started ({error.strerror})", remedy="check the Xcode here") from error
        except subprocess.TimeoutExpired as error:
            raise DeviceError(
                f"{what} did not end in {seconds:.0f} s", remedy="unlock the phone and connect it by cable"
            ) from error
        if done.returncode:
            said = (done.stderr or done.stdout)[-_TAIL:].decode("utf-8", "replace").strip()
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            first = next((line for line in lines if line.upper().startswith("ERROR")), lines[0] if lines else "no word")
            message = f"{what} ended with {done.returncode}: {first[:300]}"
            raise RunnerFailed(
                Failure(stage="devicectl", message=message, stderr_tail=said),
                remedy="unlock the phone, trust this Mac, switch on Developer Mode",
            )
        return _result(output, what) if document else {}


def devices() -> list[Found]:
    """The iPhones and iPads that are paired with this Mac; raises as :func:`run`."""
    return parse_devices(run(list_devices(), seconds=LIST_SECONDS, document=True))


def parse_devices(result: Mapping[str, Any]) -> list[Found]:
    """The physical iPhones and iPads in the ``result`` of ``list devices``; what is no device is left out."""
    rows = result.get("devices")
    found = [_device(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [device for device in found if device is not None]


def parse_details(result: Mapping[str, Any]) -> Found:
    """The device in the ``result`` of ``device info details``.

    Raises:
        BrokenInput: it describes no iPhone or iPad.
    """
    found = _device(dict(result))
    if found is None:
        raise BrokenInput("devicectl describes no iPhone or iPad", remedy="see xcrun devicectl list devices")
    return found


class Phone:
    """One phone with the runner app, through devicectl.

    Args:
        device: UDID, CoreDevice identifier or name.
        bundle_id: of the runner app.
    """

    def __init__(self, device: str, bundle_id: str) -> None:
        self.device = device
        self.bundle_id = bundle_id

    def install(self, app: Path) -> None:
        """Installs an app that is built and signed."""
        run(install(self.device, app), seconds=INSTALL_SECONDS)

    def details(self) -> Found:
        """What the phone is."""
        return parse_details(run(details(self.device), seconds=LIST_SECONDS, document=True))

    def push(self, source: Path, destination: str) -> None:
        """Copies into the app's container."""
        run(copy_to(self.device, self.bundle_id, source, destination), seconds=COPY_SECONDS)

    def pull(self, source: str, destination: Path) -> None:
        """Copies out of the app's container."""
        run(copy_from(self.device, self.bundle_id, source, destination), seconds=COPY_SECONDS)

    def launch(self, arguments: Iterable[str], *, seconds: float) -> None:
        """Runs the app in a fresh process to its end."""
        run(launch(self.device, self.bundle_id, list(arguments)), seconds=seconds)


def _result(output: Path, what: str) -> dict[str, Any]:
    try:
        document = json.loads(output.read_text(encoding="utf-8"))
        outcome, result = document["info"]["outcome"], document["result"]
        if outcome != "success" or not isinstance(result, dict):
            raise ValueError(f"outcome {outcome!r}")
        return result
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise DeviceError(f"{what} wrote no JSON that can be read ({why})", remedy="update Xcode") from error


def _device(row: Mapping[str, Any]) -> Found | None:
    newer = _part(row, "properties")
    hardware = {**_part(newer, "hardware"), **_part(row, "hardwareProperties")}
    state = {**_part(newer, "state"), **_part(row, "deviceProperties")}
    connection = {**_part(newer, "connection"), **_part(row, "connectionProperties")}
    udid = hardware.get("udid")
    if not isinstance(udid, str) or hardware.get("platform", "iOS") not in ("iOS", "iPadOS"):
        return None
    # Xcode 27 lists simulators beside the real ones.
    if hardware.get("reality", "physical") != "physical":
        return None
    tunnel = connection.get("tunnelState", connection.get("state"))
    return Found(
        udid=udid,
        identifier=str(row.get("identifier", udid)),
        name=str(state.get("name", "")),
        model=str(hardware.get("productType", "unknown")),
        os_version=str(state.get("osVersionNumber", "unknown")),
        # A paired phone's tunnel is opened by the first command; only "unavailable" is out of reach.
        connected=connection.get("pairingState") == "paired" and tunnel != "unavailable",
    )


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def _container(device: str, bundle_id: str) -> list[str]:
    return [
        "--device",
        _given("device", device),
        "--domain-type",
        "appDataContainer",
        "--domain-identifier",
        _given("bundle id", bundle_id),
    ]


def _given(what: str, value: str) -> str:
    """A value that cannot be taken for an option."""
    if not value or value.startswith("-"):
        raise UsageError(f"{what} {value!r} is none", remedy="see xcrun devicectl list devices")
    return value


def _path(path: Path) -> str:
    """A path that cannot be taken for an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text
