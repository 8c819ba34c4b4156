"""What the harness itself costs a device: its own CPU seconds for 10 simulated devices and for 200.

PYTHONPATH=tests:. python scripts/benchmarks/fleet_cost.py [--few 10] [--many 200]

Every device is a process-less adbd of our own behind the real adb; what runs on it is the native runner, whose time is
the device's and not counted. Counted is this process with the adb clients that it starts. Asked: at most 1.2 times as
much a device for 200 as for 10.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devices import runtimes
from devices.fleet import Member
from devices.targets import android
from toolkit.cli import fleets
from toolkit.progress import Progress
from toolkit.records import Plan
from toolkit.store import Run

PLAN = Plan(mode="quick", processes=2, min_samples=64, min_seconds=0.02, max_seconds=5.0, warmup_min_seconds=0.01)


def cpu_seconds() -> float:
    """Of this process and of all that it started and that has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def libraries(folder: Path) -> Path:
    """This machine's glibc in a folder."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    folder.mkdir()
    machine = os.uname().machine
    for name in (*android.LIBRARIES[machine], *android.SUPPORT):
        line = next(x for x in listed.splitlines() if x.split()[0] == name and ("x86-64" in x or machine != "x86_64"))
        shutil.copy(line.rpartition("=> ")[2], folder / name)
    return folder


def fleet(count: int, folder: Path, libs: Path) -> float:
    """CPU seconds of the harness a device."""
    abi = {v: k for k, v in android.MACHINES.items()}[os.uname().machine]
    words = [sys.executable, "-m", "emulation.swarm", str(count), str(folder), abi]
    swarm = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert swarm.stdout is not None
    serials = []
    for line in swarm.stdout:
        if line.strip() == "ready":
            break
        serials.append(line.strip())
    try:
        for serial in serials:
            subprocess.run(["adb", "connect", serial], capture_output=True, timeout=60, check=True)
        members = [Member(name=s, target=f"android:{s},libs={libs}", labels=()) for s in serials]
        run = Run(folder / "run")
        before, began = cpu_seconds(), time.monotonic()
        found = fleets.bench(
            run,
            [("probe", runtimes.PROBE)],
            members,
            threads=1,
            plan=PLAN,
            seed=0,
            parallel=32,
            progress=Progress(quiet=True),
        )
        used, took = cpu_seconds() - before, time.monotonic() - began
    finally:
        for serial in serials:
            subprocess.run(["adb", "disconnect", serial], capture_output=True, timeout=60)
        swarm.kill()
        swarm.communicate()
    failed = [m for m in found if m.verdict == "failed"]
    for measurement in failed[:3]:
        print(f"  {measurement.target.name}: {measurement.reasons}")
    print(f"{count:>5} devices: {used:7.1f} CPU s, {used / count:.3f} a device, {took:.0f} s, {len(failed)} failed")
    return used / count


def main() -> int:
    """1 where the cost a device grows beyond what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=200)
    options = parser.parse_args()
    os.environ["ANDROID_ADB_SERVER_PORT"] = "15037"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        libs = libraries(folder / "libs")
        fleet(2, folder / "warm", libs)  # what is made once: the runner, the library, the wheels
        few = fleet(options.few, folder / "few", libs)
        many = fleet(options.many, folder / "many", libs)
    subprocess.run(["adb", "kill-server"], capture_output=True, timeout=60)
    print(f"ratio {many / few:.2f} (asked: at most 1.2)")
    return 0 if many <= 1.2 * few else 1


if __name__ == "__main__":
    sys.exit(main())
