"""What compaction gives: bytes, latency and accuracy of the compacted artifacts beside the plain ones, in one run.

python scripts/benchmarks/compaction.py [--model deep|cnn|dnn] [--seed 0] [--full]

Trains the digits model, converts it by the plain and the compacted recipes, times all of them interleaved on `cpu`
(one thread) and compares each with the SavedModel on the 2,000 evaluation digits. Asked, at no more than 0.5 points:
for `deep` (784-128-128-128-10) the smallest artifact at most 1/20 of float32's bytes and 0.25 of its time, the fastest
at most 0.2; for `cnn` (32-64) 1/8 and 0.5.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECIPES = (
    "float32",
    "int8",
    "dynamic_range",
    "dynamic_int4",
    "compacted",
    "compacted_int8",
    "compacted_dynamic_range",
    "compacted_int4",
)
ASKED = {"deep": (1 / 20, 0.25, 0.2), "cnn": (1 / 8, 0.5, 0.5)}
BUDGET = 0.005


def exported(model: str, seed: int, full: bool, folder: Path) -> dict[str, Any]:
    """The document of one export."""
    words = ["export", "mnist", "--model", model, "--seed", str(seed), "--json", "--run-dir", str(folder / "run")]
    words += [word for recipe in RECIPES for word in ("--recipe", recipe)]
    code = "from toolkit.cli import main; main()"
    command = [sys.executable, "-c", code, *words, "--full" if full else "--quick"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    """Prints the table and whether what is asked is reached; 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="deep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="ten processes a model instead of two")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = exported(options.model, options.seed, options.full, Path(temporary))
    times = {m["recipe"]: m["median_us"] for m in found["measurements"]}
    sizes = {a["recipe"]: a["size_bytes"] for a in found["artifacts"]}
    gzips = {a["recipe"]: a["gzip_bytes"] for a in found["artifacts"]}
    compared = {c["recipe"]: c for c in found["comparisons"]}
    notes = next((a["data"]["compaction"] for a in found["artifacts"] if a["data"].get("compaction")), None)
    if notes is not None:
        reference = notes["reference"]
        print(f"units {reference['units']}, {reference['parameters']:,} parameters, held-out {reference['metric']:.4f}")
        for trial in notes["trials"]:
            said = "within" if trial["kept"] else "breaks"
            units = f"{trial['units']} {trial['parameters']:,}"
            print(f"  {trial['width']:<6} {units}: {trial['metric']:.4f}, {said} its share of the budget")
        print(f"chosen {notes['chosen']}; the control, from scratch: {notes['control']['metric']:.4f}\n")
    print(
        "| recipe | bytes | of float32 | gzip | time of float32 | accuracy, % | points (95 %) |\n"
        "|---|---|---|---|---|---|---|"
    )
    kept = []
    for recipe in RECIPES:
        if recipe not in compared:
            continue
        size, time = sizes[recipe] / sizes["float32"], times[recipe] / times["float32"]
        difference, (low, high) = compared[recipe]["difference"], compared[recipe]["interval"]
        lost = f"{100 * difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
        print(
            f"| `{recipe}` | {sizes[recipe]:,} | {size:.3f} | {gzips[recipe]:,} | {time:.2f} "
            f"| {100 * compared[recipe]['edge']:.2f} | {lost} |"
        )
        if difference >= -BUDGET:
            kept.append((size, time))
    smallest, fastest = min(kept), min(time for _, time in kept)
    said = f"smallest {smallest[0]:.3f} of the bytes in {smallest[1]:.2f} of the time; fastest {fastest:.2f}"
    print(f"\nwithin 0.5 points: {said}")
    if options.model not in ASKED:
        return 0
    size, time, fast = ASKED[options.model]
    reached = smallest[0] <= size and smallest[1] <= time and fastest <= fast
    print(f"asked {size:.3f} in {time:.2f}, fastest {fast:.2f}: {'reached' if reached else 'NOT REACHED'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
