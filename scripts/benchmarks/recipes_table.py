"""Every legal recipe of a real network: bytes, latency and noise, beside its float32 file in one session.

python scripts/benchmarks/recipes_table.py mobilenet-v2 [--side 224] [--samples 100] [--folder DIR] [--skip RECIPE]
python scripts/benchmarks/recipes_table.py mobilenet-v3-small

Networks of keras.applications with random weights; the statistics of their batch normalisations are set from the data,
or nothing would reach their outputs. The data are made-up pictures: smooth random fields in three colours. SQNR is that
of the outputs on pictures that calibrated nothing. Recipes that fine-tune need labels that mean something, and are left
out. Asked of the best recipe: at most 0.5 of float32's time for MobileNetV2, 0.8 for MobileNetV3-Small; and that each
recipe which is slower than float32 carries the warning of more delegate partitions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import devices.targets
from converters import judging

ASKED = {"mobilenet-v2": 0.5, "mobilenet-v3-small": 0.8}
HELD_OUT = 16


def pictures(count: int, side: int, seed: int) -> np.ndarray:
    """Smooth random fields with some texture, float32 ``[count, side, side, 3]`` in -1..1."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    found = np.empty((count, side, side, 3), np.float32)
    for picture in found:
        for colour in range(3):
            field = sum(
                weight * gaussian_filter(rng.normal(size=(side, side)), sigma) * sigma
                for sigma, weight in ((1, 0.3), (4, 0.6), (16, 1.0))
            )
            picture[..., colour] = np.tanh(field / np.abs(field).std() / 2)
    return found


def network(name: str, side: int, data: np.ndarray, path: Path) -> None:
    """Writes the network, its batch normalisations as they are on ``data``."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    shape = (side, side, 3)
    if name == "mobilenet-v2":
        model = tf_keras.applications.MobileNetV2(input_shape=shape, weights=None, classes=100)
    else:
        model = tf_keras.applications.MobileNetV3Small(
            input_shape=shape, weights=None, classes=100, include_preprocessing=False, dropout_rate=0.0
        )
    norms = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0  # the statistics become those of the one batch that is seen
    model(data, training=True)
    for layer in norms:
        layer.momentum = 0.99
    model.save(path)


def run(*words: object) -> Any:
    """What a command prints as JSON; what it says goes on to the terminal."""
    done = subprocess.run(
        [sys.executable, "-c", "from toolkit.cli import main; main()", *map(str, words), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if not done.stdout:
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)


def main() -> int:
    """Prints the table; 1 where the best recipe is slower than asked, or a slow one carries no warning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=sorted(ASKED))
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="keep everything here, and take up what is there")
    parser.add_argument("--skip", action="append", default=[], help="a recipe to leave out; repeatable")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    keras_file, data = folder / f"{options.network}.keras", folder / "calibration.npz"
    inputs = pictures(options.samples + HELD_OUT, options.side, seed=1)
    if not keras_file.exists():
        network(options.network, options.side, inputs[: min(64, options.samples)], keras_file)
        np.savez(data, picture=inputs[: options.samples])
    legal = [
        row["name"]
        for row in run("recipes", "list")["recipes"]
        if "fine-tuning" not in row["needs"] and row["name"] not in options.skip
    ]
    # One by one, for a recipe that cannot be had of this network must not end the others.
    said = run("convert", keras_file, "--recipe", "float32", "--calibration", data, "--run-dir", folder / "run")
    rows = run("recipes", "list", "--model", folder / "run")["recipes"]
    ruled_out = {r["name"] for r in rows if not r["legal"] and "give --calibration" not in r["why"]}
    artifacts = {a["recipe"]: a for a in said["artifacts"]}
    notes = list(said["warnings"])
    for name in legal:
        if name in ruled_out or name == "float32":
            continue
        words = ("--recipe", "float32", "--recipe", name, "--calibration", data, "--run-dir", folder / "run")
        try:
            made = run("convert", keras_file, *words)
        except SystemExit:
            print(f"{name}: not to be had of this network", flush=True)
            continue
        artifacts.update({a["recipe"]: a for a in made["artifacts"]})
        notes += made["warnings"]
    files = [folder / "run" / a["path"] for a in artifacts.values()]
    measured = {m["recipe"]: m for m in run("bench", *files, "--run-dir", folder / "bench")["measurements"]}
    held_out = {artifacts["float32"]["signature"]["inputs"][0]["name"]: inputs[options.samples :]}
    target = devices.targets.open("cpu")
    judge = judging.Judge(
        inputs=held_out, reference=target.answer(folder / "run" / artifacts["float32"]["path"], held_out).outputs
    )
    base = measured["float32"]
    print(
        f"\n{options.network}, {options.side} x {options.side}, {artifacts['float32']['size_bytes']:,} bytes in float32"
    )
    print(f"{'recipe':<30}{'bytes ×':>9}{'time ×':>9}{'interval':>16}{'SQNR dB':>9}{'partitions':>12}  gate, warning")
    slow, best, proved = [], (9.9, ""), (9.9, "")
    for name, artifact in artifacts.items():
        path = folder / "run" / artifact["path"]
        timing = measured.get(path.stem) or measured[name]
        ratio = timing["median_us"] / base["median_us"] if timing["median_us"] else float("nan")
        low, high = (v / base["median_us"] for v in timing["interval_us"] or (0, 0))
        noise = judge.sqnr_db(target.answer(path, held_out).outputs)
        warned = any(f"recipe {name} will be slow" in w for w in notes)
        gate = "passed" if artifact["gate"]["passed"] else "FAILED"
        parts = artifact["data"].get("partitions")
        share = artifact["size_bytes"] / artifacts["float32"]["size_bytes"]
        print(
            f"{name:<30}{share:>9.3f}{ratio:>9.2f}{f'{low:.2f}…{high:.2f}':>16}{noise:>9.1f}{parts!s:>12}  {gate}"
            f"{', warned of partitions' if warned else ''}"
        )
        best = min(best, (ratio, name))
        if gate == "passed":
            proved = min(proved, (ratio, name))
            if low > 1.05 and not warned and name != "float32":
                slow.append(name)
    print(f"fastest: {best[1]}, {best[0]:.2f} of float32 (asked {ASKED[options.network]})")
    print(f"fastest that passed its gate: {proved[1]}, {proved[0]:.2f} (made-up weights amplify every rounding)")
    print(f"slower than float32 without a warning: {', '.join(slow) or 'none'}")
    return 0 if best[0] <= ASKED[options.network] and not slow else 1


if __name__ == "__main__":
    sys.exit(main())
