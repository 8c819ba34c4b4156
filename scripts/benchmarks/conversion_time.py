"""What gate, records and manifest cost: all recipes of one model, against the bare converter calls and fine-tuning.

python scripts/benchmarks/conversion_time.py RUN [--rounds 3]

RUN is a run directory of a trained Keras 2 model, e.g. left by `edge-export train mnist`; it is copied, not changed. A
round makes every legal recipe twice: once by the bare parts alone (fine-tuning steps, export of their SavedModels,
converter calls), once as `convert --all` does, in a new run directory. The first round warms TensorFlow up and does not
count. Asked: at most 1.3 times the bare parts.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

from converters import bundle as bundles
from converters import convert, keras_models, recipes, saved_model, tflite
from converters.parents import Parents, steps_of
from converters.steps import FineTuning
from toolkit.cli import stages
from toolkit.progress import Progress
from toolkit.store import Run
from toolkit.training import keras_file

ASKED = 1.3


def bare(job: convert.Conversion, names: list[str], folder: Path) -> float:
    """Seconds of the parts that nobody can do without; steps that recipes share are done once, as ours are."""
    begun = time.perf_counter()
    made: dict[tuple[str, ...], Path] = {}
    exported: dict[tuple[str, ...], Path] = {}
    layers = bundles.layers(job.bundle)
    for name in names:
        module = recipes.load(name)
        steps = steps_of(module)
        source = job.run.path(str(job.bundle.keras_file))
        chain: tuple[str, ...] = ()
        for step in steps:
            chain = (*chain, step.name)
            if chain not in made:
                assert job.training is not None
                data = FineTuning(
                    inputs=job.training.inputs, labels=job.training.labels, seed=job.seed, progress=job.progress
                )
                made[chain] = folder / f"{'+'.join(chain)}{step.suffix}"
                keras_file.save(step(source, data), made[chain])
            source = made[chain]
        parent = job.run.path(job.bundle.saved_model)
        if steps:
            if chain not in exported:
                exported[chain] = folder / f"{'+'.join(chain)}-saved-model"
                model = keras_models.load(source, 2)
                saved_model.export_to(model, exported[chain], keras_version=2, layers=layers)
            parent = exported[chain]
        decide = getattr(module, "decide", None)
        if decide is not None:  # a search, as fine-tuning is one
            changed, _ = decide(job, Parents(job))
            module = SimpleNamespace(**{**vars(module), **changed})
        needs = "calibration" in module.RECIPE.needs and job.calibration is not None
        samples = job.calibration.inputs if needs and job.calibration else None
        data_bytes = tflite.convert(parent, job.bundle.signature.key, module, samples, job.bundle.signatures)
        (folder / f"{name}.tflite").write_bytes(data_bytes)
    return time.perf_counter() - begun


def main() -> int:
    """Prints every round and the median ratio; 1 where it is above what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    quiet = Progress(quiet=True)
    ratios = []
    for round_ in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            shutil.copytree(options.run / "bundle", folder / "run" / "bundle")
            shutil.copytree(options.run / "stages", folder / "run" / "stages")
            shutil.copyfile(options.run / "run.json", folder / "run" / "run.json")
            for path in (folder / "run" / "stages").glob("*"):
                if path.stem not in ("train", "saved-model"):
                    path.unlink()
            (folder / "bare").mkdir()
            run = Run(folder / "run")
            job = stages.conversion(folder / "run", quiet, run=run)
            names = stages.choose_recipes(job, (), True)
            alone = bare(job, names, folder / "bare")
            begun = time.perf_counter()
            artifacts = convert.convert(job, names, optional=True)
            whole = time.perf_counter() - begun
        said = (
            f"{len(artifacts)} artifacts: {alone:.1f} s bare, {whole:.1f} s with gate and records, {whole / alone:.2f}x"
        )
        print(f"round {round_}: {said}" if round_ else f"warming up: {said}", flush=True)
        if round_:
            ratios.append(whole / alone)
    ratio = statistics.median(ratios)
    print(f"median {ratio:.2f}x (asked {ASKED}x: {'kept' if ratio <= ASKED else 'NOT KEPT'})")
    return 0 if ratio <= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
