"""Wall time of scripts/demo after set-up, in a run directory that is not there yet, and of running it again.

Asked: under 5 minutes for eight recipes and a quick bench. The second run shows what resuming costs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEMO = Path(__file__).parents[1] / "demo"
ASKED_SECONDS = 300


def seconds(run_dir: Path) -> float:
    """Wall time of one demo."""
    start = time.perf_counter()
    subprocess.run(
        [str(DEMO), "--run-dir", str(run_dir)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - start


def main() -> None:
    """Prints both times."""
    with tempfile.TemporaryDirectory() as folder:
        first, again = seconds(Path(folder, "run")), seconds(Path(folder, "run"))
    print(f"scripts/demo: {first:.0f} s (asked: under {ASKED_SECONDS} s); the same command again: {again:.1f} s")
    sys.exit(0 if first < ASKED_SECONDS else 1)


if __name__ == "__main__":
    main()
