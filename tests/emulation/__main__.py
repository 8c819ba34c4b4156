"""``scripts/emulate up [raspberry-pi|android|gpu]…`` and ``down``: emulated devices that ``targets list`` shows."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from devices import emulated
from emulation import adbd, machines, rootfs
from emulation import phone as handset
from toolkit import store

KINDS = ("raspberry-pi", "android", "gpu")
PROGRAMS = {
    "raspberry-pi": (
        "mmdebstrap",
        "cpio",
        "qemu-system-aarch64",
        "qemu-aarch64-static",
        "ssh-keygen",
        "update-binfmts",
    ),
    "android": ("mmdebstrap", "qemu-aarch64-static", "adb", "update-binfmts"),
    "gpu": (),
}
PACKAGES = (
    "mmdebstrap cpio qemu-system-arm qemu-system-data ipxe-qemu qemu-user-static binfmt-support openssh-client adb "
    "chromium-common libvulkan1"
)
DRIVERS = ("/usr/lib/chromium/vk_swiftshader_icd.json", "/usr/share/vulkan/icd.d/vk_swiftshader_icd.json")
PHONES = 2


def main() -> int:
    """0 done, 2 usage, 3 something is missing on this machine."""
    parser = argparse.ArgumentParser(prog="scripts/emulate", description=__doc__)
    parser.add_argument("what", choices=["up", "down", "phones"])
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: all")
    options = parser.parse_args()
    if options.what == "phones":  # the process that serves them
        return _serve()
    down()
    if options.what == "down":
        print("nothing is emulated any more", file=sys.stderr)
        return 0
    found: list[dict[str, Any]] = []
    failed = False
    for kind in options.kinds or KINDS:
        began = time.monotonic()
        try:
            lacking = why_not(kind)
            if lacking:
                raise RuntimeError(lacking)
            found += {"raspberry-pi": boards, "android": phones, "gpu": gpu}[kind](found)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            failed = True
            print(f"error: emulated {kind}: {error}", file=sys.stderr)
        else:
            print(f"emulated {kind}: up after {time.monotonic() - began:.0f} s", file=sys.stderr)
        _note(found)
    for device in found:
        print(device["name"])
    return 3 if failed else 0


def why_not(kind: str) -> str | None:
    """What is missing here to emulate it."""
    if kind == "gpu":
        return None if driver() else f"no software Vulkan driver: apt install {PACKAGES}"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux, and root to mount and to change the root folder"
    lacking = [name for name in PROGRAMS[kind] if shutil.which(name) is None]
    return f"{', '.join(lacking)} not installed: apt install {PACKAGES}" if lacking else None


def driver() -> str | None:
    """The manifest of a software Vulkan driver."""
    return next((path for path in DRIVERS if Path(path).is_file()), None)


def gpu(_: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A GPU in software: nothing has to run for it."""
    return [{"target": "gpu", "name": "gpu", "driver": driver(), "process_id": 0}]


def boards(others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A whole 64-bit machine, and a 64-bit and a 32-bit one on this kernel."""
    folder = rootfs.home()
    key, host = rootfs.keys(folder)
    known = folder / "known_hosts"
    plans = [
        ("arm64", machines.booted, 2210),
        ("arm64", machines.translated, 2212),
        ("armhf", machines.translated, 2211),
    ]
    started, found = [], []
    for architecture, start, port in plans:
        log = folder / "logs" / f"{start.__name__}-{architecture}.log"
        started.append((start(architecture, port, log), port, log))
        name = f"raspberry-pi:pi@127.0.0.1:{port}"
        platform = "linux-armv7l" if architecture == "armhf" else "linux-aarch64"
        found.append(
            {
                "target": "raspberry-pi",
                "name": name,
                "platform": platform,
                "key": str(key),
                "known_hosts": str(known),
                "process_id": started[-1][0].pid,
                "how": start.__name__,
            }
        )
    kind, text = host.with_suffix(".pub").read_text().split()[:2]
    known.write_text("".join(f"[127.0.0.1]:{port} {kind} {text}\n" for _, _, port in plans))
    _note([*others, *found])  # so that down ends them whatever becomes of us
    try:
        for process, port, log in started:
            machines.wait_for_ssh(port, process, log)
    except RuntimeError:
        for process, _, _ in started:
            machines.stop(process.pid)
        raise
    return found


def phones(others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two Android devices of one model, as adb sees them; connected to the user's adb server."""
    folder = rootfs.home()
    root = android(rootfs.build("arm64", folder))
    machines.enabled()
    log = folder / "logs" / "phones.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "emulation", "phones"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    found = []
    for number in range(PHONES):
        serial = f"127.0.0.1:{ports()[number]}"
        _connect(serial, process)
        row = {"target": "android", "name": f"android:{serial}", "libs": str(root), "process_id": process.pid}
        found.append({**row, "serial": serial})
    return found


def _connect(serial: str, process: subprocess.Popen[bytes]) -> None:
    """Has the user's adb server list the phone as ready; what it remembers of an earlier one is forgotten."""
    said = ""
    for _ in range(50):
        for verb in ("disconnect", "connect"):
            words = ["adb", verb, serial]
            done = subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        said = (done.stdout + done.stderr).strip()
        words = ["adb", "-s", serial, "get-state"]
        state = subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        if state.stdout.strip() == "device":
            return
        time.sleep(0.2)
    machines.stop(process.pid)
    raise RuntimeError(f"adb connect {serial}: {said}")


def ports() -> list[int]:
    """Outside of 5555 to 5585, where adb itself looks for emulators."""
    return [16001 + 2 * number for number in range(PHONES)]


def android(root: Path) -> Path:
    """Gives the unpacked system what an Android shell expects: ``/system/bin`` of toybox, ``/data``."""
    tools = root / "system/bin"
    if not (tools / "dumpsys").exists():
        tools.mkdir(parents=True, exist_ok=True)
        listed = subprocess.run(["chroot", root, "/bin/toybox"], capture_output=True, text=True, check=True).stdout
        for name in listed.split():
            if not (tools / name).exists():
                (tools / name).symlink_to("/bin/toybox")
        (tools / "sh").unlink(missing_ok=True)
        (tools / "sh").symlink_to("/bin/dash")
        handset.tools(tools)
    properties = {**handset.PROPERTIES, "ro.product.cpu.abi": "arm64-v8a", "ro.soc.model": "BCM2711 (emulated)"}
    handset.write_properties(tools, properties)
    (root / "data").mkdir(exist_ok=True)
    return root


def phone(number: int) -> handset.Device:
    """One of them; its ``/data`` is its own."""
    folder = rootfs.home()
    root, data = folder / "rootfs-arm64", folder / f"phone-{number}"
    data.mkdir(parents=True, exist_ok=True)

    def start(line: str) -> list[str]:
        script = f'mount --bind "{data}" "{root}/data"\n'
        return machines.inside(
            "arm64", root, ["/system/bin/sh", "-c", f"cd /; {line}"], before=script, path="/system/bin"
        )

    return handset.Device(handset.Arm(root, data, start))


def _serve() -> int:
    for number, port in enumerate(ports()):
        adbd.Server(phone(number), port)
    print("serving", flush=True)
    while True:
        time.sleep(3600)


def down() -> None:
    """Ends everything that was started."""
    for kind in KINDS:
        for device in emulated.up(kind):
            if "serial" in device and shutil.which("adb"):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    subprocess.run(["adb", "disconnect", device["serial"]], capture_output=True, timeout=20)
            if device["process_id"]:
                machines.stop(int(device["process_id"]))
    emulated.note().unlink(missing_ok=True)


def _note(found: list[dict[str, Any]]) -> None:
    emulated.note().parent.mkdir(parents=True, exist_ok=True)
    store.write_json(emulated.note(), {"devices": found})


if __name__ == "__main__":
    sys.exit(main())
