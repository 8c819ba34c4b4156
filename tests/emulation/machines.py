"""Starts emulated machines: a whole one (qemu-system), or one architecture's programs on this kernel (qemu-user)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from emulation import rootfs

READY_SECONDS = 120.0

_NAMESPACE = """
set -e
R="$1"; F="$2"; B="$3"; shift 3
mount -t proc proc "$R/proc"
mount --bind "$F/cpuinfo" "$R/proc/cpuinfo"
mount --bind "$F/sys" "$R/sys"
mount --bind /dev "$R/dev"
mkdir -p "$R/run/sshd"
eval "$B"
exec chroot "$R" "$@"
"""


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def booted(architecture: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    """A whole machine, its own kernel and all, whose ssh server is our ``port``."""
    folder = rootfs.home()
    disk = rootfs.archive(architecture, folder)
    words = [
        "qemu-system-aarch64",
        "-M",
        "virt",
        "-cpu",
        rootfs.CPU[architecture],
        "-smp",
        "2",
        "-m",
        "2000",
        "-nographic",
    ]
    words += ["-kernel", str(folder / f"kernel-{architecture}"), "-initrd", str(disk), "-no-reboot", "-nographic"]
    # restrict: a Raspberry Pi without Internet, as most are.
    words += [
        "-netdev",
        f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device",
        "virtio-net-pci,netdev=n",
    ]
    return _started([*words, "-append", "console=ttyAMA0 quiet panic=1"], log)


def translated(architecture: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    """The architecture's own ssh server, and what it starts, on this kernel, at our ``port``."""
    root = rootfs.build(architecture, rootfs.home())
    enabled()
    return _started(inside(architecture, root, ["/usr/sbin/sshd", "-D", "-e", "-p", str(port)]), log)


def inside(
    architecture: str, root: Path, words: list[str], *, before: str = "", path: str = "/usr/sbin:/usr/bin:/sbin:/bin"
) -> list[str]:
    """Words that start a program in ``root``, with a Raspberry Pi's /proc/cpuinfo and /sys: LiteRT crashes on ours.

    ``before``: shell that runs here just before, among its mounts; ``path``: where its programs are.
    """
    fake = board(rootfs.home())
    start = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _NAMESPACE,
        "sh",
        str(root),
        str(fake),
        before,
    ]
    # The programs of mounting are ours; from here on it is the emulated machine's world.
    return [*start, *("/usr/bin/env", "-i", f"QEMU_CPU={rootfs.CPU[architecture]}", f"PATH={path}", "HOME=/"), *words]


def enabled() -> None:
    """Has this kernel start programs of ARM by qemu-user; the kernel forgets that when it restarts."""
    formats = Path("/proc/sys/fs/binfmt_misc")
    if not (formats / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(formats)], check=True)
    for name in ("qemu-aarch64", "qemu-arm"):
        if not (formats / name).exists():
            subprocess.run(["update-binfmts", "--enable", name], check=True, capture_output=True)


def board(folder: Path) -> Path:
    """What a Raspberry Pi 4 shows of its processor, as plain files."""
    made = folder / "board"
    if (made / "sys/devices/system/cpu/possible").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    part = "BogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid half thumb fastmult vfp edsp neon vfpv4\n"
    part += "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    made.mkdir(parents=True)
    cores = "".join(f"processor\t: {i}\n{part}" for i in range(4))
    (made / "cpuinfo").write_text(f"{cores}Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n")
    system = made / "sys/devices/system/cpu"
    for i in range(4):
        files = {
            "topology/core_siblings_list": "0-3",
            "topology/cluster_cpus_list": "0-3",
            "topology/package_cpus_list": "0-3",
            "topology/thread_siblings_list": str(i),
            "topology/core_cpus_list": str(i),
            "topology/physical_package_id": "0",
            "topology/core_id": str(i),
            # Of an Android phone the last two are its big cores.
            "cpufreq/cpuinfo_max_freq": "1800000" if i < 2 else "2400000",
            "cpufreq/cpuinfo_min_freq": "600000",
            "cpufreq/scaling_cur_freq": "1800000",
            "cpufreq/scaling_governor": "ondemand",
            "regs/identification/midr_el1": "0x00000000410fd083",
        }
        for name, text in files.items():
            path = system / f"cpu{i}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    zone = made / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("48300\n")
    for name in ("present", "online", "possible"):
        (system / name).write_text("0-3\n")
    (system / "kernel_max").write_text("3\n")
    return made


def wait_for_ssh(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the machine's ssh server greets.

    Raises:
        RuntimeError: it ended, or did not within :data:`READY_SECONDS`.
    """
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as probe:
                if probe.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.2)
    stop(process.pid)
    raise RuntimeError(
        f"the emulated machine did not start: {[*log.read_text(errors='replace').splitlines(), '?'][-1]}"
    )


def stop(process_id: int) -> None:
    """Ends a machine and all that runs in it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process_id, number)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.3)


def _started(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as stream:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True)
