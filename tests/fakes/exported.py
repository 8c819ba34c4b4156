"""A digit model trained on blobs for a moment and converted, with everything on the way kept to look at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters import bundle, convert
from fakes import blobs
from toolkit.datasets._dataset import Dataset
from toolkit.progress import Progress
from toolkit.records import Artifact
from toolkit.store import Run
from toolkit.training import fit
from toolkit.training.options import TrainingOptions

QUIET = Progress(quiet=True)


def train(folder: Path, *, data: Dataset | None = None, **options: Any) -> fit.Trained:
    """Trains on blobs, five passes unless ``options`` say otherwise."""
    return fit.train(
        "mnist",
        data or blobs.dataset(),
        TrainingOptions(**{"variant": "one-hidden", "epochs": 5, **options}),
        out=folder / "bundle" / "model.keras",
        logs=folder / "logs",
        progress=QUIET,
    )


def load(trained: fit.Trained) -> Any:
    """The model as anybody loads it: without custom objects."""
    import tf_keras

    return tf_keras.models.load_model(trained.keras_file, compile=False)


@dataclass(frozen=True)
class Exported:
    """``trained``, what each recipe made of it, and where it lies."""

    trained: fit.Trained
    artifacts: dict[str, Artifact]
    run: Run

    def why(self, recipe: str) -> str:
        """Checks of the gate that failed."""
        return "; ".join(f"{c.name}: {c.detail}" for c in self.artifacts[recipe].gate.checks if not c.passed)


def export(folder: Path, *recipes: str, **options: Any) -> Exported:
    """Trains and converts."""
    run, data = Run(folder), blobs.dataset()
    (folder / "bundle").mkdir(parents=True, exist_ok=True)
    trained = train(folder, data=data, **options)
    made = bundle.create(run, name="blobs", keras_file=trained.keras_file, keras_version=2, seed=0, progress=QUIET)
    job = convert.Conversion(
        run=run, bundle=made, calibration=data.calibration(), training=data.train(), seed=0, progress=QUIET
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's and TFMOT's own
        return Exported(trained, {a.recipe: a for a in convert.convert(job, recipes)}, run)
