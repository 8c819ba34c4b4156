"""Start-up: `edge-export --help`, `recipes list`, `targets list` against `python -c "import click, rich"`.

Asked: at most 2x the wall time, and no TensorFlow (the tests hold the latter). Commands alternate, so that a
drift of the machine hits both sides alike; the ratio is taken pair by pair.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "edge-export")
BARE = [sys.executable, "-c", "import click, rich"]
SIDES = {
    "--help": [COMMAND, "--help"],
    "recipes list": [COMMAND, "recipes", "list"],
    "targets list": [COMMAND, "targets", "list"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Prints a line per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="processes per side (default 30)")
    runs = parser.parse_args().runs
    for command in [BARE, *SIDES.values()]:
        seconds(command)  # fills the page cache
    print(f"{runs} processes per side, alternating; median wall time in ms")
    for name, command in SIDES.items():
        pairs = [(seconds(command), seconds(BARE)) for _ in range(runs)]
        ours, bare = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        verdict = "kept" if ratio <= 2 else "NOT KEPT"
        print(f"{name:<13} {ours:6.1f}   import click, rich {bare:6.1f}   ratio {ratio:.2f} (asked 2: {verdict})")


if __name__ == "__main__":
    main()
