"""devicectl: its command lines, its documents, and the target that drives a phone through it.

The documents are made up, after those of Xcode 15 and 27 in other projects' tests; ``xcrun`` is a program of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import phone

import devices.runners
from devices import harness, targets
from devices.device import RunnerFailed
from devices.ios import devicectl
from devices.targets import ios
from toolkit.errors import BrokenInput, DeviceError, MissingError, UsageError
from toolkit.records import Plan

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
PLAN = Plan(mode="quick", processes=2, min_samples=8, min_seconds=0.1, max_seconds=1.0)


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Mac with one phone connected."""
    folder = tmp_path / "mac"
    for name, value in phone.mac(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("DEVELOPMENT_TEAM", "ABCDE12345")
    return folder


def test_command_lines() -> None:
    container = ["--device", "U", "--domain-type", "appDataContainer", "--domain-identifier", "org.x"]
    assert devicectl.list_devices() == ["xcrun", "devicectl", "list", "devices"]
    assert devicectl.details("U") == ["xcrun", "devicectl", "device", "info", "details", "--device", "U"]
    assert devicectl.install("U", Path("a b.app"))[2:] == ["device", "install", "app", "--device", "U", "a b.app"]
    pushed = devicectl.copy_to("U", "org.x", Path("-rf"), "Documents/plans")
    assert pushed[2:] == ["device", "copy", "to", *container, "--source", "./-rf", "--destination", "Documents/plans"]
    pulled = devicectl.copy_from("U", "org.x", "Documents/plans", Path("/tmp/$(id)"))
    assert pulled[4:] == ["from", *container, "--source", "Documents/plans", "--destination", "/tmp/$(id)"]
    launched = devicectl.launch("U", "org.x", ["--job", "7"])
    start = ["device", "process", "launch", "--console", "--terminate-existing", "--device", "U", "org.x"]
    assert launched[2:] == [*start, "--", "--job", "7"]


@pytest.mark.parametrize("value", ["", "-rf", "--all"])
def test_values_that_would_be_options(value: str) -> None:
    for make in (lambda: devicectl.details(value), lambda: devicectl.launch("U", value)):
        with pytest.raises(UsageError, match="is none"):
            make()


@pytest.mark.parametrize("newer", [False, True])
def test_devices_are_read_in_both_shapes(newer: bool) -> None:
    (found,) = devicectl.parse_devices(phone.devices(newer=newer)["result"])
    assert (found.udid, found.identifier, found.model) == (phone.UDID, phone.IDENTIFIER, "iPhone16,1")
    assert (found.name, found.os_version, found.connected) == ("Sample iPhone", "17.5", True)
    (away,) = devicectl.parse_devices(phone.devices(newer=newer, tunnel="unavailable")["result"])
    assert away.connected is False


@pytest.mark.parametrize("result", [{}, {"devices": None}, {"devices": [1, {}, {"hardwareProperties": 3}]}])
def test_documents_that_name_no_device(result: dict[str, Any]) -> None:
    assert devicectl.parse_devices(result) == []
    with pytest.raises(BrokenInput, match="no iPhone or iPad"):
        devicectl.parse_details(result)


def test_options_go_before_the_apps_arguments(mac: Path) -> None:
    assert [d.udid for d in devicectl.devices()] == [phone.UDID]
    assert devicectl.Phone(phone.UDID, "org.x").details().os_version == "17.5"
    listed, detailed = phone.said(mac)
    assert listed[:5] == ["devicectl", "list", "devices", "--timeout", "15"]
    assert listed[5] == "--json-output"
    assert detailed[:6] == ["devicectl", "device", "info", "details", "--timeout", "15"]
    assert detailed[-2:] == ["--device", phone.UDID]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
        ('{"info": {"outcome": "failed"}, "result": {}}', "outcome 'failed'"),
        ('{"info": {"outcome": "success"}, "result": 1}', "outcome 'success'"),
    ],
)
def test_documents_that_cannot_be_read(document: str, said: str, mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_JSON", document)
    with pytest.raises(DeviceError, match="wrote no JSON that can be read") as caught:
        devicectl.devices()
    assert said in str(caught.value)


def test_a_command_that_fails_says_why(mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "devicectl list devices")
    with pytest.raises(RunnerFailed) as caught:
        devicectl.devices()
    assert "devicectl list devices ended with 1: ERROR: The device is locked." in str(caught.value)
    assert "unlock the phone" in str(caught.value)
    assert caught.value.failure.stage == "devicectl"


def test_a_command_that_hangs_is_ended(mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_HANG", "1")
    monkeypatch.setattr(devicectl, "_GRACE", 0.5)
    with pytest.raises(DeviceError, match="did not end in 1 s"):
        devicectl.run(devicectl.list_devices(), seconds=1.0)


def test_without_xcrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="xcrun is not here; install Xcode 15"):
        devicectl.devices()


def test_the_target_away_from_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert ios.describe() == {
        "name": "ios",
        "reachable": False,
        "why": "needs macOS with Xcode 15+; edge-export ios bundle writes what a Mac needs",
        "emulated": False,
        "platform": "ios-arm64",
        "runtimes": [],
    }
    for spec in ("ios", f"ios:{phone.UDID}", f"ios:{phone.UDID}/metal", f"ios:{phone.UDID}/coreml"):
        with pytest.raises(MissingError, match="run edge-export ios bundle here") as caught:
            targets.open(spec)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ios:U/gpu", "unknown delegate 'gpu'"),
        ("ios:U/", "unknown delegate ''"),
        ("ios:-rf", "is no UDID"),
        ("ios:a b", "is no UDID"),
    ],
)
def test_specs_that_mean_nothing(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        targets.open(spec)


def test_the_target_on_a_mac(mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ios.describe()
    assert (found["reachable"], found["why"]) == (True, None)
    with pytest.raises(UsageError, match="which phone is not said"):
        targets.open("ios")
    device = targets.open(f"ios:{phone.UDID}/metal", threads=2)
    assert (device.target.name, device.target.accelerator) == (f"ios:{phone.UDID}/metal", "gpu")
    assert (device.target.delegate, device.target.threads) == ("metal", 2)
    monkeypatch.setenv("FAKE_FAIL", "devicectl list devices")
    assert "is locked" in ios.describe()["why"]
    monkeypatch.delenv("DEVELOPMENT_TEAM")
    with pytest.raises(MissingError, match="set DEVELOPMENT_TEAM"):
        targets.open(f"ios:{phone.UDID}")


def test_a_phone_is_measured_by_the_harness(mac: Path) -> None:
    """The way there and back is real; the times are made up by the phone's stand-in, the outputs are a runtime's."""
    device = targets.open(f"ios:{phone.UDID}")
    (found,) = harness.measure([("a", PROBE)], device, PLAN, aa_control=False)
    assert (found.verdict, found.failure) == ("valid", None)
    assert [r.round for r in found.runs] == [0, 1]
    assert found.delegated_ops == (1, 1)
    assert found.provenance["runtime_version"] == "2.17.0"
    assert found.conditions.after["thermal_state"] == "nominal"
    launched = [c[c.index("--") + 1 :] for c in phone.said(mac) if "launch" in c]
    assert len({name for _, name in launched}) == 2, "a job of its own for each process"


def test_a_phone_answers(mac: Path) -> None:
    x = np.random.default_rng(0).random((11, 4), dtype=np.float32)
    device = targets.open(f"ios:{phone.UDID}")
    for given in (x, x[:, np.newaxis]):
        found = device.answer(PROBE, {"x": given})
        assert np.array_equal(found.outputs["y"], given + 1)
    assert found.delegated_ops == (1, 1)
    with pytest.raises(BrokenInput, match="the model takes: x"):
        device.answer(PROBE, {"z": x})
    with pytest.raises(UsageError, match="main signature only"):
        device.answer(PROBE, {"x": x}, signature="other")


def test_an_app_that_dies_and_a_phone_that_is_locked(mac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = targets.open(f"ios:{phone.UDID}")
    monkeypatch.setenv("FAKE_FAIL", "devicectl device process launch")
    with pytest.raises(RunnerFailed, match="is locked"):
        device.time(PROBE, None, PLAN, round=0)
    monkeypatch.setenv("FAKE_FAIL", "devicectl device copy to")
    (found,) = harness.measure([("a", PROBE)], device, PLAN, aa_control=False)
    assert found.verdict == "failed"
    assert found.failure is not None
    assert "The device is locked" in json.dumps(found.failure.message)
