"""A small autoencoder whose encoder is shared: image -> reconstruction, and image -> code of the layer ``code``."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIGNATURES = {"encode": "code"}


@dataclass(frozen=True)
class Trained:
    """A run directory with the model, and what every recipe made of it."""

    job: Any
    artifacts: dict[str, Any]

    def file(self, recipe: str) -> Path:
        return self.job.run.path(self.artifacts[recipe].path)

    @property
    def saved_model(self) -> Path:
        return self.job.run.path(self.job.bundle.saved_model)


def images(n: int, seed: int = 1) -> np.ndarray:
    """Pictures float32 ``[n, 28, 28]`` in 0..1: two smooth bumps each, which eight numbers can describe."""
    rng = np.random.default_rng(seed)
    grid = np.arange(28, dtype=np.float32)
    found = np.zeros((n, 28, 28), np.float32)
    for _ in range(2):
        x, y = rng.uniform(6, 22, (2, n, 1, 1))
        found += np.exp(-((grid[None, :, None] - y) ** 2 + (grid[None, None, :] - x) ** 2) / 30)
    return np.clip(found, 0, 1).astype(np.float32)


def build(library: Any) -> Any:
    """784-32-8-32-784 in either generation of Keras."""
    layers = library.layers
    image = library.Input((28, 28), name="image")
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(image))
    code = layers.Dense(8, activation="relu", name="code")(hidden)
    wide = layers.Dense(784, activation="sigmoid")(layers.Dense(32, activation="relu")(code))
    return library.Model(image, layers.Reshape((28, 28), name="reconstruction")(wide))


def trained(folder: Path, recipes: list[str]) -> Trained:
    """The model, trained for seconds, with both signatures and converted by ``recipes``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's and TFMOT's own
        import tf_keras

        from converters import bundle, convert
        from toolkit.datasets._dataset import Split
        from toolkit.progress import Progress
        from toolkit.store import Run

        pictures = images(600)
        tf_keras.utils.set_random_seed(5)
        model = build(tf_keras)
        model.compile("adam", "mse")
        model.fit(pictures, pictures, epochs=6, verbose=0)
        run = Run(folder / "run")
        keras_file = run.path("bundle", "model.keras")
        keras_file.parent.mkdir()
        model.save(keras_file)
        quiet = Progress(quiet=True)
        made = bundle.create(
            run, name="auto", keras_file=keras_file, keras_version=2, seed=5, signatures=SIGNATURES, progress=quiet
        )
        train = Split(inputs={"image": pictures}, labels=pictures, digest="train")
        calibration = Split(inputs={"image": pictures[:100]}, labels=pictures[:100], digest="calibration")
        job = convert.Conversion(run=run, bundle=made, calibration=calibration, training=train, seed=5, progress=quiet)
        found = convert.convert(job, recipes)
    return Trained(job, {a.recipe: a for a in found})
