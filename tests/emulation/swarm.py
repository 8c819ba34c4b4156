"""Many devices in one process, to measure what a harness costs: ``python -m emulation.swarm COUNT FOLDER ABI``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from emulation.adbd import Server
from emulation.phone import PROPERTIES, Device, Here


def main() -> None:
    """Prints a serial a line, then serves until it is killed."""
    count, folder, abi = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    for number in range(count):
        properties = {**PROPERTIES, "ro.product.cpu.abi": abi}
        print(Server(Device(Here(folder / f"device-{number}"), properties)).serial)
    print("ready", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
