"""ssh, against a real server on the loopback: keys, host keys, exit codes, signals, files, jumps, and a cut wire."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

asyncssh = pytest.importorskip("asyncssh")

from fakes.ssh_server import SshServer  # noqa: E402 - it needs asyncssh

import devices.targets  # noqa: E402
from devices import runtimes  # noqa: E402
from devices.transports.ssh import Ssh  # noqa: E402
from devices.transports.transport import CommandFailed, DeviceLost, TooSlow  # noqa: E402
from toolkit.errors import DeviceError, UsageError  # noqa: E402


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    made = SshServer(tmp_path / "device")
    yield made
    made.stop()


@pytest.fixture
def ssh(server: SshServer) -> Iterator[Ssh]:
    made = connect(server)
    yield made
    made.close()


def connect(server: SshServer, **options: object) -> Ssh:
    given = {"keys": [str(server.key)], "known_hosts": str(server.known_hosts), **options}
    return Ssh("127.0.0.1", user="pi", port=server.port, **given)  # type: ignore[arg-type]


def test_a_command_is_words_a_code_and_two_streams(ssh: Ssh) -> None:
    done = ssh.run(["sh", "-c", 'printf "%s|" "$@"; echo oops >&2; exit 3', "sh", "a b", "$(id)", "'"])
    assert done == (3, "a b|$(id)|'|", "oops\n")


def test_a_signal_is_a_negative_code(ssh: Ssh) -> None:
    assert ssh.run(["sh", "-c", "kill -SEGV $$"]).code == -11
    assert ssh.run(["sh", "-c", "sh -c 'kill -KILL $$'; exit 137"]).code == -9


def test_files_come_and_go(ssh: Ssh, server: SshServer, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    (tmp_path / "it's $(a) file").write_bytes(data)
    ssh.push({f"{server.home}/there": tmp_path / "it's $(a) file"}, seconds=20)
    assert (server.home / "there").read_bytes() == data
    taken = tmp_path / "taken"
    taken.mkdir()
    assert ssh.pull([f"{server.home}/nowhere", f"{server.home}/there"], taken, seconds=20) == ["there"]
    assert (taken / "there").read_bytes() == data


def test_a_file_that_cannot_be_written_is_the_devices_fault(ssh: Ssh, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(CommandFailed, match="cannot push a file"):
        ssh.push({"/nowhere/at/all": tmp_path / "x"}, seconds=20)


def test_a_changed_host_key_is_refused(server: SshServer) -> None:
    server.know(asyncssh.generate_private_key("ssh-ed25519"))
    ssh = connect(server)
    with pytest.raises(DeviceLost, match="host key is not the known one") as caught:
        ssh.run(["true"])
    assert caught.value.final
    assert "ssh-keygen -R" in caught.value.remedy
    ssh.close()


def test_an_unknown_host_is_refused(server: SshServer) -> None:
    server.known_hosts.write_text("")
    ssh = connect(server)
    with pytest.raises(DeviceLost, match="host key"):
        ssh.run(["true"])
    ssh.close()


def test_a_strange_key_is_not_let_in(server: SshServer) -> None:
    ssh = connect(server, keys=[str(server.stranger)])
    with pytest.raises(DeviceLost, match="does not let us in") as caught:
        ssh.run(["true"])
    assert caught.value.final
    assert "ssh-copy-id" in caught.value.remedy
    ssh.close()


def test_nobody_there(server: SshServer) -> None:
    server.stop()
    ssh = connect(server)
    with pytest.raises(DeviceLost, match="cannot be reached") as caught:
        ssh.run(["true"])
    assert (caught.value.doing, caught.value.final) == ("connect", False)
    ssh.close()


def test_a_command_that_never_returns_is_given_up(ssh: Ssh) -> None:
    began = time.monotonic()
    with pytest.raises(TooSlow, match="did not run within 1 s"):
        ssh.run(["sleep", "60"], seconds=1)
    assert time.monotonic() - began < 20
    assert ssh.run(["echo", "still here"]).stdout == "still here\n"


def test_a_connection_that_drops_in_mid_run(ssh: Ssh, server: SshServer) -> None:
    threading.Timer(0.5, server.drop).start()
    with pytest.raises(DeviceLost) as caught:
        ssh.run(["sleep", "60"], seconds=30)
    assert caught.value.doing in ("run", "connect")
    server.start()  # the device is back: the same object connects again
    assert ssh.run(["echo", "back"]).stdout == "back\n"


def test_through_another_host(server: SshServer, tmp_path: Path) -> None:
    gate = SshServer(tmp_path / "gate")
    config = tmp_path / "config"
    config.write_text(
        f"Host gate\n HostName 127.0.0.1\n Port {gate.port}\n User pi\n IdentityFile {gate.key}\n"
        f" UserKnownHostsFile {gate.known_hosts}\n"
    )
    ssh = connect(server, jump="gate", config=[str(config)])
    assert ssh.run(["echo", "through"]).stdout == "through\n"
    assert gate.jumped == [("127.0.0.1", server.port)]
    ssh.close()
    gate.stop()


def target(server: SshServer, rest: str = "") -> str:
    key, known = server.key, server.known_hosts
    return f"raspberry-pi:pi@127.0.0.1:{server.port},key={key},known_hosts={known},python={sys.executable}{rest}"


def test_a_board_is_looked_at_before_anything_is_done(server: SshServer) -> None:
    device = devices.targets.open(target(server, ",threads=2,xnnpack=off"))
    assert (
        device.target.name == f"raspberry-pi:pi@127.0.0.1:{server.port},python={sys.executable},threads=2,xnnpack=off"
    )
    assert (device.target.platform, device.target.threads) == ("linux-x86_64", 2)
    assert device.target.delegate is None
    assert device.target.runtime_version == runtimes.installed("ai-edge-litert")
    readings, _ = device.conditions()
    assert readings["cores"] >= 1
    device.close()  # type: ignore[attr-defined]


def test_a_board_without_python_says_so(server: SshServer) -> None:
    spec = target(server).replace(f"python={sys.executable}", "python=python9")
    with pytest.raises(DeviceError, match="python9 does not run there") as caught:
        devices.targets.open(spec)
    assert caught.value.exit_code == 4


@pytest.mark.slow
def test_a_board_without_anything_gets_its_runtime_from_here(server: SshServer) -> None:
    """The whole way with real wheels: fetched here, unpacked there into a folder of our own."""
    device = devices.targets.open(target(server))
    x = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
    assert device.answer(runtimes.PROBE, x).outputs["y"].tolist() == (x["x"] + 1).tolist()
    base = server.home / ".cache/edge-export"
    assert (next((base / "packages").iterdir()) / "ai_edge_litert").is_dir()
    assert list((base / "jobs").iterdir()) == []
    assert not list((base / "files").glob("*.whl"))
    device.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("raspberry-pi", "names no device"),
        ("raspberry-pi:threads=4", "names no device"),
        ("raspberry-pi:pi@host,speed=9", "unknown option of target raspberry-pi 'speed'"),
        ("raspberry-pi:pi@host:port", "is no host"),
        ("raspberry-pi:pi@host,cores=all", "cores=all"),
        ("raspberry-pi:pi@host,xnnpack=maybe", "xnnpack=maybe"),
        ("raspberry-pi:pi@host,runtime=litert", "unknown runtime"),
    ],
)
def test_wrong_texts_are_told(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        devices.targets.open(spec)
