"""Raspberry Pis that are not there: a booted 64-bit machine, and 64- and 32-bit ones on this kernel, behind ssh."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done

import devices.targets
from devices import harness
from devices.device import RunnerFailed
from devices.fidelity import Fidelity
from devices.programs.portable import Portable
from devices.transports.ssh import Ssh
from devices.transports.transport import DeviceLost
from emulated.conftest import up
from toolkit.errors import DeviceError
from toolkit.records import Plan

PLAN = Plan(mode="quick", processes=2, min_samples=64, min_seconds=0.2, max_seconds=20.0, warmup_min_seconds=0.1)
WHOLE = {"how": "booted"}


@pytest.fixture
def board() -> Iterator[Any]:
    """The booted one."""
    device = devices.targets.open(up("raspberry-pi", **WHOLE)[0]["name"])
    yield device
    device.close()  # type: ignore[attr-defined]


def shell(user: str = "pi") -> Ssh:
    """As anybody there, to make things go wrong."""
    row = up("raspberry-pi", **WHOLE)[0]
    port = int(row["name"].rpartition(":")[2])
    return Ssh("127.0.0.1", user=user, port=port, keys=[row["key"]], known_hosts=row["known_hosts"])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_answers_and_times_of_every_board(number: int, tiny_models: dict[str, Any]) -> None:
    rows = up("raspberry-pi")
    if number >= len(rows):
        pytest.skip("there are fewer boards")
    row = rows[number]
    models = [("int8", tiny_models["dense"].int8), ("float32", tiny_models["dense"].float32)]
    device = devices.targets.open(row["name"])
    assert device.target.emulated
    assert device.target.platform == row["platform"]
    check = Fidelity(devices.targets.open("cpu"), models, seed=0)
    found = harness.measure(models, device, PLAN, check=check, aa_control=False, profile=True)
    for measurement in found:
        assert measurement.verdict != "failed", measurement.reasons
        assert len(measurement.runs) == 2
        assert all(run.init_us and run.init_us > 0 for run in measurement.runs)
        assert measurement.conditions.before["throttled"] == 0
        assert measurement.conditions.before["core_temperature_c"] == 48.3
        known = measurement.provenance
        if row["platform"] == "linux-aarch64":
            assert any("Fully Connected" in op["op"] for op in known["profile"]), known["profile_unknown"]
        else:
            assert "32 bits" in known["profile_unknown"]
    kernels = found[0].provenance["fidelity"]["kernels"]
    assert kernels["lsb"] is not None
    # The runtime of 32 bits has other kernels, which round otherwise now and then.
    assert set(kernels["lsb"]) <= ({"0"} if row["platform"] == "linux-aarch64" else {"0", "1"})
    assert found[1].provenance["fidelity"]["kernels"]["max_abs_error"] < 1e-5
    device.close()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_command_says_that_it_is_emulated(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    name = up("raspberry-pi", **WHOLE)[0]["name"]
    listed = {row["name"]: row for row in json.loads(edge_export("targets", "list", "--json").out)["targets"]}
    assert listed[name]["reachable"]
    assert listed[name]["emulated"]
    done = edge_export("bench", tiny_models["dense"].int8, "--target", name, "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["measurements"]
    assert (row["emulated"], row["target"], row["processes"]) == (True, name, 2)
    assert row["fidelity"]["kernels"]["passed"]


@pytest.mark.slow
def test_cloud_and_board_agree(edge_export: Callable[..., Done], tiny_models: dict[str, Any], tmp_path: Path) -> None:
    name = up("raspberry-pi", **WHOLE)[0]["name"]
    np.savez(tmp_path / "eval.npz", image=np.random.default_rng(0).random((20, 28, 28), dtype=np.float32))
    words = ("--against", tiny_models["dense"].saved_model, "--data", "eval.npz", "--target", name, "--json")
    done = edge_export("validate", tiny_models["dense"].float32, *words)
    assert done.code == 0, done.err
    (comparison,) = json.loads(done.out)["comparisons"]
    assert comparison["target"] == name
    assert comparison["max_abs_error"] < 1e-4


@pytest.mark.slow
def test_throttling_in_mid_run_is_the_verdict(board: Any, tiny_models: dict[str, Any]) -> None:
    side = shell()
    side.run(["sh", "-c", "echo 0x0 >/tmp/throttled"])
    stop = threading.Event()

    def heat() -> None:
        while not stop.is_set():
            at = side.run(["sh", "-c", "cat .cache/edge-export/jobs/*/stage"]).stdout
            if at in ("first inference", "warm-up", "measure"):
                break
        side.run(["sh", "-c", "echo 0x40004 >/tmp/throttled"])

    thread = threading.Thread(target=heat)
    thread.start()
    try:
        plan = dataclasses.replace(PLAN, processes=1, min_seconds=5.0)
        (found,) = harness.measure([("int8", tiny_models["dense"].int8)], board, plan, aa_control=False)
    finally:
        stop.set()
        thread.join()
        side.run(["rm", "-f", "/tmp/throttled"])
        side.close()
    # Where the emulator's own jumps make it worse than throttled, the reason is still among the others.
    assert found.verdict in ("throttled", "implausible")
    assert any("it is throttled" in reason for reason in found.reasons)
    assert found.conditions.before["throttled"] == 0


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(board: Any, tiny_models: dict[str, Any]) -> None:
    root = shell("root")
    stop = threading.Event()

    def jump() -> None:
        while not stop.is_set():
            root.run(["date", "-s", "2001-01-01 00:00:00"])
            root.run(["date", "-s", "2031-01-01 00:00:00"])

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        (found,) = harness.measure([("int8", tiny_models["dense"].int8)], board, PLAN, aa_control=False)
    finally:
        stop.set()
        thread.join()
        root.run(["date", "-s", f"@{int(time.time())}"])
        root.close()
    # An emulator's own jumps may make it implausible; a wall clock's would leave times that are none.
    assert found.verdict != "failed", found.reasons
    times = np.concatenate([run.samples_ns for run in found.runs])
    assert times.min() > 0
    assert times.max() < 5e9


@pytest.mark.slow
def test_a_runner_that_is_killed_there(board: Any, tiny_models: dict[str, Any]) -> None:
    side = shell()

    def kill() -> None:
        while side.run(["pkill", "-9", "-f", "portable.py"]).code and not gone.is_set():
            time.sleep(0.1)

    gone = threading.Event()
    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(RunnerFailed, match="died of SIGKILL") as caught:
            board.time(tiny_models["dense"].int8, None, dataclasses.replace(PLAN, min_seconds=20.0), round=0)
    finally:
        gone.set()
        thread.join()
    assert "memory runs out" in caught.value.failure.message
    assert side.run(["sh", "-c", "ls .cache/edge-export/jobs"]).stdout == ""
    side.close()


@pytest.mark.slow
def test_a_full_disk(tiny_models: dict[str, Any]) -> None:
    row = up("raspberry-pi", **WHOLE)[0]
    port = row["name"].rpartition(":")[2]
    spec = f"raspberry-pi:full@127.0.0.1:{port},key={row['key']},known_hosts={row['known_hosts']}"
    with pytest.raises(DeviceError, match="has 8 MB free, 200 MB are needed"):
        devices.targets.open(spec)


def test_a_stranger_is_not_let_in(tmp_path: Path) -> None:
    import asyncssh

    row = up("raspberry-pi", **WHOLE)[0]
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "key"))
    spec = f"{row['name']},key={tmp_path / 'key'},known_hosts={row['known_hosts']}"
    with pytest.raises(DeviceLost, match="does not let us in"):
        devices.targets.open(spec)


def test_another_machine_under_its_name_is_refused(tmp_path: Path) -> None:
    import asyncssh

    row = up("raspberry-pi", **WHOLE)[0]
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{row['name'].rpartition(':')[2]} {other}")
    with pytest.raises(DeviceLost, match="host key"):
        devices.targets.open(f"{row['name']},known_hosts={tmp_path / 'known'}")


@pytest.mark.slow
def test_wrong_kernels_are_caught(tiny_models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's default processor computes int8 wrongly and says nothing: as a faulty device would."""
    row = next((r for r in up("raspberry-pi", how="translated") if r["platform"] == "linux-aarch64"), None)
    if row is None:
        pytest.skip("no 64-bit board on this kernel")
    plain = Portable.words
    monkeypatch.setattr(Portable, "words", lambda self, folder: ["env", "QEMU_CPU=max", *plain(self, folder)])
    device = devices.targets.open(row["name"])
    models = [("int8", tiny_models["conv"].int8)]
    check = Fidelity(devices.targets.open("cpu"), models, seed=0)
    (found,) = harness.measure(models, device, dataclasses.replace(PLAN, processes=1), check=check, aa_control=False)
    device.close()  # type: ignore[attr-defined]
    assert found.verdict == "failed"
    assert found.failure is not None
    assert found.failure.stage == "answers"
