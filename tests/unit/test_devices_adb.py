"""The real adb against a device of our own that speaks its protocol: what goes right, and all that goes wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from emulation import machines
from emulation.adbd import Server
from emulation.phone import DATA, PROPERTIES, Device, Faults, Here

import devices.targets
from devices import harness, runtimes
from devices.fleet import lost
from devices.targets import android
from devices.transports import adb
from devices.transports.adb import Adb
from devices.transports.transport import CommandFailed, DeviceLost, TooSlow
from toolkit.errors import MissingError, UsageError
from toolkit.records import Plan

pytestmark = pytest.mark.skipif(shutil.which("adb") is None, reason="adb is not installed")

X = {"x": np.arange(12, dtype=np.float32).reshape(3, 4)}
PLAN = Plan(mode="quick", processes=2, min_samples=8, min_seconds=0.02, max_seconds=5.0, warmup_min_seconds=0.01)


@pytest.fixture(scope="module", autouse=True)
def own_server() -> Iterator[None]:
    """An adb server of our own: the user's must not see our devices."""
    port = str(machines.free_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        yield
        subprocess.run(["adb", "kill-server"], capture_output=True, timeout=20)


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Server]:
    served = Server(Device(Here(tmp_path / "phone")))
    connect(served)
    yield served
    subprocess.run(["adb", "disconnect", served.serial], capture_output=True, timeout=20)
    served.unplug()


def connect(server: Server) -> None:
    for _ in range(50):
        done = subprocess.run(["adb", "connect", server.serial], capture_output=True, text=True, timeout=30)
        states = {row["serial"]: row["state"] for row in adb.devices()}
        if states.get(server.serial) in ("device", "unauthorized"):
            return
        time.sleep(0.1)
    raise AssertionError(done.stdout + done.stderr)


def libraries(folder: Path) -> Path:
    """This machine's own glibc, as a phone of its architecture would get it."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, env={"PATH": "/sbin:/usr/sbin"}).stdout
    folder.mkdir(exist_ok=True)
    machine = os.uname().machine
    for name in (*android.LIBRARIES[machine], *android.SUPPORT):
        line = next(x for x in listed.splitlines() if x.split()[0] == name and ("x86-64" in x or machine != "x86_64"))
        shutil.copy(line.rpartition("=> ")[2], folder / name)
    return folder


def ours(phone: Server, abi: str | None = None) -> None:
    names = {v: k for k, v in android.MACHINES.items()}
    phone.device.properties["ro.product.cpu.abi"] = abi or names.get(os.uname().machine, "?")


def test_a_command_is_words_a_code_and_two_streams(phone: Server) -> None:
    done = Adb(phone.serial).run(["sh", "-c", 'printf "%s|" "$@"; echo oops >&2; exit 3', "sh", "a b", "$(id)", "'"])
    assert done == (3, "a b|$(id)|'|", "oops\n")
    assert Adb(phone.serial).run(["sh", "-c", "kill -SEGV $$"]).code == -11
    assert Adb(phone.serial).run(["cat"], stdin=b"given").stdout == "given"


def test_files_come_and_go(phone: Server, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    local = tmp_path / "-it's $(a)\nfile"
    local.write_bytes(data)
    one = Adb(phone.serial)
    one.push({f"{DATA}/there": local}, seconds=20)
    taken = tmp_path / "taken"
    taken.mkdir()
    assert one.pull([f"{DATA}/nowhere", f"{DATA}/there"], taken, seconds=20) == ["there"]
    assert (taken / "there").read_bytes() == data


def test_a_path_that_leaves_the_devices_folder_is_refused(phone: Server, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(CommandFailed, match="Permission denied"):
        Adb(phone.serial).push({f"{DATA}/../../../etc/x": tmp_path / "x"}, seconds=20)


def test_states_are_explained(phone: Server, tmp_path: Path) -> None:
    refused = Server(Device(Here(tmp_path / "refused"), faults=Faults(refused=True)))
    connect(refused)
    with pytest.raises(DeviceLost, match="is unauthorized") as caught:
        Adb(refused.serial).run(["true"])
    assert caught.value.final
    assert "USB debugging" in caught.value.remedy
    rows = {row["name"]: row for row in android.describe()}
    assert rows[f"android:{refused.serial}"]["reachable"] is False
    assert "unlock it" in rows[f"android:{refused.serial}"]["why"]
    assert rows[f"android:{phone.serial}"]["reachable"] is True
    subprocess.run(["adb", "disconnect", refused.serial], capture_output=True, timeout=20)
    refused.unplug()


def test_what_adb_lists_is_taken_apart() -> None:
    text = (
        "* daemon not running; starting now at tcp:5037\n* daemon started successfully\nList of devices attached\n"
        "R58M12       device usb:1-1 product:a model:Pixel_8 device:b transport_id:3\n"
        "emulator-5554 offline\n"
        "0123          no permissions (user in plugdev group; are your udev rules wrong?); see [http://x]\n"
        "10.0.0.7:5555 unauthorized transport_id:9\n\n"
    )
    assert [(r["serial"], r["state"]) for r in adb.listed(text)] == [
        ("R58M12", "device"),
        ("emulator-5554", "offline"),
        ("0123", "no permissions"),
        ("10.0.0.7:5555", "unauthorized"),
    ]
    assert adb.listed(text)[0]["model"] == "Pixel_8"
    assert all(state in adb.STATES for state in ("offline", "no permissions", "unauthorized"))


def test_a_device_that_nobody_lists() -> None:
    with pytest.raises(DeviceLost, match="adb does not list it"):
        devices.targets.open("android:nobody")


def test_unplugged_while_pushing(phone: Server, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    phone.device.faults.unplug_in, phone.device.faults.after = "push", 500_000
    with pytest.raises(DeviceLost) as caught:
        Adb(phone.serial).push({f"{DATA}/big": tmp_path / "big"}, seconds=30)
    assert caught.value.doing == "push"


def test_unplugged_while_pulling(phone: Server, tmp_path: Path) -> None:
    phone.device.behind.real(f"{DATA}/big").write_bytes(os.urandom(3_000_000))
    phone.device.faults.unplug_in, phone.device.faults.after = "pull", 500_000
    with pytest.raises(DeviceLost) as caught:
        Adb(phone.serial).pull([f"{DATA}/big"], tmp_path, seconds=30)
    assert caught.value.doing == "pull"


def test_unplugged_while_running(phone: Server) -> None:
    phone.device.faults.unplug_in, phone.device.faults.after = "run", 0.5
    phone.device.faults.command = "sleep"
    with pytest.raises(DeviceLost) as caught:
        Adb(phone.serial).run(["sleep", "60"], seconds=30)
    assert caught.value.doing == "run"


def test_the_server_is_killed_in_mid_run(phone: Server) -> None:
    kill = lambda: subprocess.run(["adb", "kill-server"], capture_output=True, timeout=20)  # noqa: E731
    threading.Timer(0.5, kill).start()
    with pytest.raises(DeviceLost):
        Adb(phone.serial).run(["sleep", "60"], seconds=30)
    connect(phone)  # a new server starts by itself
    assert Adb(phone.serial).run(["echo", "back"]).stdout == "back\n"


def test_a_reboot_is_a_loss_and_then_it_is_back(phone: Server) -> None:
    one = Adb(phone.serial)
    phone.unplug()
    with pytest.raises(DeviceLost):
        one.run(["true"])
    phone.plug()
    connect(phone)
    assert one.run(["echo", "back"]).stdout == "back\n"


def test_a_full_disk(phone: Server, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(300_000))
    phone.device.faults.room = 100_000
    with pytest.raises(CommandFailed, match="No space left") as caught:
        Adb(phone.serial).push({f"{DATA}/big": tmp_path / "big"}, seconds=30)
    assert "free some space" in caught.value.remedy


def test_a_device_that_hangs(phone: Server) -> None:
    began = time.monotonic()
    with pytest.raises(TooSlow):
        Adb(phone.serial).run(["sleep", "60"], seconds=1)
    assert time.monotonic() - began < 20


def test_nothing_runs_by_itself(phone: Server) -> None:
    ours(phone)
    with pytest.raises(MissingError, match="nothing was given that could run there"):
        devices.targets.open(f"android:{phone.serial}")


def test_two_devices_of_one_model_are_told_apart_and_answer_alike(phone: Server, tmp_path: Path) -> None:
    other = Server(Device(Here(tmp_path / "other")))
    connect(other)
    libs = libraries(tmp_path / "libs")
    try:
        for server in (phone, other):
            ours(server)
            device = devices.targets.open(f"android:{server.serial},libs={libs}")
            assert device.target.emulated
            assert device.target.name == f"android:{server.serial}"
            assert device.answer(runtimes.PROBE, X).outputs["y"].tolist() == (X["x"] + 1).tolist()
            readings, _ = device.conditions()
            assert (readings["thermal_status"], readings["battery_percent"]) == (0, 87)
            assert list(server.device.behind.real(f"{DATA}/edge-export/jobs").iterdir()) == []
    finally:
        subprocess.run(["adb", "disconnect", other.serial], capture_output=True, timeout=20)
        other.unplug()


def test_a_run_in_which_the_device_is_lost_is_a_record(phone: Server, tmp_path: Path) -> None:
    ours(phone)
    device = devices.targets.open(f"android:{phone.serial},libs={libraries(tmp_path / 'libs')}")
    device.answer(runtimes.PROBE, X)
    phone.device.faults.unplug_in, phone.device.faults.after, phone.device.faults.command = "run", 0.0, "plan.txt"
    (found,) = harness.measure([("probe", runtimes.PROBE)], device, PLAN, aa_control=False)
    assert found.verdict == "failed"
    assert found.failure is not None
    assert lost(found), found.failure
    phone.plug()
    connect(phone)
    (found,) = harness.measure([("probe", runtimes.PROBE)], device, PLAN, aa_control=False)
    assert found.verdict != "failed", found.failure
    assert list(phone.device.behind.real(f"{DATA}/edge-export/jobs").iterdir()) == []


def test_a_hot_device_is_waited_for(phone: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "COOL_SECONDS", 1.0)
    monkeypatch.setattr(harness, "COOL_POLL_SECONDS", 0.2)
    ours(phone)
    device = devices.targets.open(f"android:{phone.serial},libs={libraries(tmp_path / 'libs')}")
    status = tmp_path / "phone" / ".tools" / "thermalservice.txt"
    status.write_text("Thermal Status: 3\n")
    (found,) = harness.measure([("probe", runtimes.PROBE)], device, PLAN, aa_control=False)
    assert found.verdict == "throttled"
    assert "the device says: thermal status 3, not 0" in found.reasons
    assert found.provenance["waited_to_cool_seconds"] >= 1.0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("android", "names no device"),
        ("android:X/npu", "unknown accelerator"),
        ("android:X,benchmark=a,libs=b", "exclude each other"),
        ("android:X,cores=x", "cores=x"),
        ("android:X,fast=1", "unknown option"),
    ],
)
def test_wrong_texts_are_told(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        devices.targets.open(spec)


def test_another_instruction_set_is_said(phone: Server, tmp_path: Path) -> None:
    ours(phone, "riscv64")
    with pytest.raises(Exception, match="its instruction set is riscv64"):
        devices.targets.open(f"android:{phone.serial},libs={tmp_path}")
    ours(phone)
    device = devices.targets.open(f"android:{phone.serial},libs={tmp_path}")
    with pytest.raises(MissingError, match="has no ld-linux"):
        device.answer(runtimes.PROBE, X)
    assert PROPERTIES["ro.kernel.qemu"] == "1"
