"""Debian for another architecture, unpacked and not installed (no emulated script runs), with an ssh server in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from toolkit import store

SUITE = "bookworm"
PACKAGES = {
    "arm64": ["linux-image-arm64", "toybox"],
    # There are no numpy wheels for 32-bit ARM: a Raspberry Pi OS of 32 bits has its distribution's.
    "armhf": ["libatomic1", "python3-numpy"],
}
USUAL = [
    "python3",
    "openssh-server",
    "openssh-sftp-server",
    "libstdc++6",
    "bash",
    "coreutils",
    "dash",
    "kmod",
    "sed",
    "grep",
]
MODULES = (
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
)
CPU = {"arm64": "cortex-a72", "armhf": "cortex-a7"}
"""Qemu's default, ``max``, computes int8 wrongly in silence."""

VERSION = "6"
"""Of what this file makes: another one is made anew."""

_HOSTS = "127.0.0.1 localhost raspberrypi\n"
_PASSWD = """root:x:0:0:root:/root:/bin/bash
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
pi:x:1000:1000::/home/pi:/bin/bash
full:x:1001:1001::/home/full:/bin/bash
"""
_GROUP = "root:x:0:\nnogroup:x:65534:\npi:x:1000:\nfull:x:1001:\n"
_SSHD = """UsePAM no
PasswordAuthentication no
PermitUserEnvironment no
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
Subsystem sftp internal-sftp
PidFile none
MaxStartups 100
# A session starts with an empty environment; by qemu-user its programs would run on the default processor.
SetEnv QEMU_CPU={cpu}
"""
_VCGENCMD = """#!/bin/sh
# As a Raspberry Pi's firmware answers; a test writes what it should say.
case "$1" in
get_throttled) echo "throttled=$(cat /tmp/throttled 2>/dev/null || echo 0x0)" ;;
measure_temp) echo "temp=48.3'C" ;;
*) echo "error=1 error_msg=\\"Command not registered\\"" ;;
esac
"""
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/pts /dev/shm
/bin/busybox mount -t devpts pts /dev/pts
/bin/busybox mount -t tmpfs shm /dev/shm
for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox hostname raspberrypi
/bin/busybox ip link set lo up
/bin/busybox ip link set eth0 up
/bin/busybox ip addr add 10.0.2.15/24 dev eth0
/bin/busybox mount -t tmpfs -o size=700m home /home/pi
/bin/busybox mount -t tmpfs -o size=8m full /home/full
/bin/busybox chown 1000:1000 /home/pi; /bin/busybox chown 1001:1001 /home/full
/bin/busybox mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e
"""


def keys(folder: Path) -> tuple[Path, Path]:
    """The key that lets us in, and the devices' host key; made once."""
    client, host = folder / "id_ed25519", folder / "host_ed25519"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (client, host):
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "emulated", "-f", path], check=True)
    return client, host


def mirror() -> list[str]:
    """The host's own source of packages, its main part alone."""
    wanted = "deb $(SITE) $(RELEASE) $(COMPONENT)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Identifier: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.split()[2:] == [SUITE, "main"]][:1]


def build(architecture: str, folder: Path) -> Path:
    """The unpacked system in ``folder``/rootfs-ARCHITECTURE, from the cache if it is there.

    Args:
        architecture: Debian's name, ``arm64`` or ``armhf``.
        folder: where emulated things are kept.

    Raises:
        RuntimeError: it cannot be unpacked, with the last thing that was said.
    """
    root = folder / f"rootfs-{architecture}"
    mark = root / "etc/edge-export-emulated"
    if mark.exists() and mark.read_text() == VERSION:
        return root
    client, host = keys(folder)
    shutil.rmtree(root, ignore_errors=True)
    packages = ",".join([*USUAL, "busybox-static", *PACKAGES[architecture]])
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", f"--architectures={architecture}"]
    done = subprocess.run(
        [*command, f"--include={packages}", SUITE, str(root), *mirror()],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"mmdebstrap: {[*done.stderr.strip().splitlines(), '?'][-1]}")
    _kernel(root, folder, architecture)
    _configure(root, client, host, architecture)
    for name in (
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/info",
        "var/lib/apt",
        "var/cache",
        "boot",
    ):
        shutil.rmtree(root / name, ignore_errors=True)
    mark.write_text(VERSION)
    return root


def _kernel(root: Path, folder: Path, architecture: str) -> None:
    """Takes the kernel out, and leaves of its modules those that a virtual machine needs."""
    image = next(iter((root / "boot").glob("vmlinuz-*")), None)
    if image is not None:
        shutil.copy(image, folder / f"kernel-{architecture}")
        (root / "modules").mkdir()
        for name in MODULES:
            found = next(iter((root / "lib/modules").rglob(f"{name}.ko")), None)
            if found is not None:
                shutil.copy(found, root / "modules")
    shutil.rmtree(root / "lib/modules", ignore_errors=True)


def _configure(root: Path, client: Path, host: Path, architecture: str) -> None:
    (root / "etc/passwd").write_text(_PASSWD)
    (root / "etc/group").write_text(_GROUP)
    (root / "etc/shadow").write_text("root:*:19000::::::\nsshd:*:19000::::::\npi:*:19000::::::\nfull:*:19000::::::\n")
    (root / "etc/hosts").write_text(_HOSTS)
    ssh = root / "etc/ssh"
    ssh.mkdir(exist_ok=True)
    (ssh / "sshd_config").write_text(_SSHD.format(cpu=CPU[architecture]))
    shutil.copy(client.with_suffix(".pub"), ssh / "authorized_keys")
    shutil.copy(host, ssh / "ssh_host_ed25519_key")
    os.chmod(ssh / "ssh_host_ed25519_key", 0o600)
    for name, number in (("pi", 1000), ("full", 1001)):
        (root / "home" / name).mkdir(parents=True, exist_ok=True)
        os.chown(root / "home" / name, number, number)
    # What the packages' own scripts would have linked, had they run.
    for library in (root / "usr/lib").glob("*/*/lib*.so.3"):
        if library.parent.name in ("blas", "lapack"):
            library.parent.with_name(library.name).symlink_to(f"{library.parent.name}/{library.name}")
    vcgencmd = root / "usr/bin/vcgencmd"
    vcgencmd.write_text(_VCGENCMD)
    vcgencmd.chmod(0o755)
    init = root / "init"
    init.write_text(_INIT.format(modules=" ".join(m for m in MODULES if (root / f"modules/{m}.ko").exists())))
    init.chmod(0o755)


def archive(architecture: str, folder: Path) -> Path:
    """The system as an initial RAM disk."""
    root, made = build(architecture, folder), folder / f"initrd-{architecture}"
    if not made.exists() or made.stat().st_mtime < (root / "etc/edge-export-emulated").stat().st_mtime:
        part = made.with_suffix(".part")
        with open(part, "wb") as stream:
            names = subprocess.run(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE, check=True).stdout
            subprocess.run(
                ["cpio", "--quiet", "--null", "-o", "-H", "newc"], cwd=root, input=names, stdout=stream, check=True
            )
        os.replace(part, made)
    return made


def home() -> Path:
    """Where emulated things are kept: under the user's cache."""
    return store.cache_dir() / "emulated"
