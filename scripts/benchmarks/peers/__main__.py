"""Our artifacts against peers on the same trained model: bytes, latency, accuracy, side by side in one run.

python -m venv peers && peers/bin/pip install -r scripts/benchmarks/peers/requirements.txt     # 2 GB, once
python scripts/benchmarks/peers RUN --python peers/bin/python [--rounds 5] [--seconds 2] [--recipe NAME]...

RUN is a run of `edge-export export mnist --model dnn` or `--model cnn`. Every file is timed in a fresh process of one
thread, a sample a call through the runtime's Python API with the input in place, all files in turn, in a new order each
round.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from converters import keras_models
from toolkit.cli import samples, stages
from toolkit.progress import Progress
from toolkit.store import Run

HERE = Path(__file__).parent
NAMES = {".onnx": "ONNX Runtime", ".xml": "OpenVINO", ".mnn": "MNN", ".pte": "ExecuTorch XNNPACK", ".tflite": "LiteRT"}


def plain(run: Run, job: object, path: Path) -> None:
    """The trained model as arrays: layers, kernels, biases."""
    bundle = job.bundle  # type: ignore[attr-defined]
    model = keras_models.load(run.path(bundle.keras_file), bundle.keras_version)
    layers, arrays = [], {}
    for layer in model.layers:
        kind = {
            "Reshape": "channel",  # of these models there is one alone
            "TFOpLambda": "channel",
            "Flatten": "flatten",
            "Conv2D": "conv",
            "MaxPooling2D": "pool",
            "Dense": "dense",
        }.get(type(layer).__name__)
        if kind is None:
            if type(layer).__name__ in ("InputLayer", "Dropout"):
                continue
            raise SystemExit(f"layer {layer.name} ({type(layer).__name__}) has no counterpart here")
        found = {"kind": kind}
        if kind in ("conv", "dense"):
            arrays[f"kernel_{len(layers)}"], arrays[f"bias_{len(layers)}"] = layer.get_weights()
            found["activation"] = layer.activation.__name__
        layers.append(found)
    calibration = next(iter(job.calibration.inputs.values()))  # type: ignore[attr-defined]
    np.savez(path, layers=json.dumps(layers), shape=calibration.shape[1:], calibration=calibration[:300], **arrays)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument(
        "--recipe", action="append", help="ours; repeatable.  [default: float32, int8, and compacted ones]"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    run = Run(options.run)
    job = stages.conversion(options.run, Progress(quiet=True), run=run)
    dataset = samples.dataset_of(job.bundle, Progress(quiet=True))
    assert dataset is not None
    evaluation = dataset.evaluation()
    wanted = options.recipe or ["float32", "int8", "compacted_int8", "compacted_int4"]
    own = [path for name in wanted if (path := run.path("artifacts", f"{name}.tflite")).exists()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plain(run, job, folder / "model.npz")
        subprocess.run([options.python, HERE / "build.py", folder / "model.npz", folder], check=True)
        held = folder / "evaluation.npy"
        np.save(held, next(iter(evaluation.inputs.values())).astype(np.float32))
        peers = sorted(p for p in folder.iterdir() if p.suffix in NAMES and p.suffix != ".tflite")
        files = [*own, *peers]
        times: dict[Path, list[float]] = {path: [] for path in files}
        facts: dict[Path, dict] = {}
        for round_ in range(options.rounds):
            for path in random.Random(round_).sample(files, len(files)):
                python = sys.executable if path.suffix == ".tflite" else options.python
                words = [str(word) for word in (python, HERE / "time_one.py", path, held, options.seconds)]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{path.name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}", file=sys.stderr)
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                times[path].append(found.pop("median_us"))
                facts[path] = found
        base = own[0]
        head = ("bytes", 10), ("bytes ×", 9), ("median µs", 11), ("time ×", 8), ("range", 14), ("accuracy", 10)
        print(f"{'runtime':<20}{'file':<24}" + "".join(f"{title:>{width}}" for title, width in head))
        for path in files:
            if not times[path]:
                continue
            middle = statistics.median(times[path])
            ratios = sorted(t / b for t, b in zip(times[path], times[base], strict=False))
            right = float((np.array(facts[path]["tops"]) == evaluation.labels).mean())
            size = facts[path]["bytes"]
            print(
                f"{NAMES[path.suffix]:<20}{path.stem:<24}{size:>10,}{size / facts[base]['bytes']:>9.3f}{middle:>11.2f}"
                f"{statistics.median(ratios):>8.2f}{f'{ratios[0]:.2f}…{ratios[-1]:.2f}':>14}{100 * right:>9.2f}%"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
