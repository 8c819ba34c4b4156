"""Keras files of both generations, as users bring them; saved once per session, for slow tests only."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done, call

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has them ignore Ctrl-C, and what they start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before anything imports it: Keras 3 asks once which backend it has.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Where the command is called: a folder of its own; a module may have one for all of its tests."""
    return tmp_path


@pytest.fixture
def edge_export(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], workplace: Path
) -> Callable[..., Done]:
    """The command."""
    monkeypatch.chdir(workplace)
    return lambda *words: call(monkeypatch, capfd, *words)


@dataclass(frozen=True)
class SavedKeras:
    """A Keras file, inputs that fit the model (by name), and what the model itself answered."""

    path: Path
    keras_version: int
    inputs: Mapping[str, np.ndarray]
    outputs: list[np.ndarray]


def _models(keras: Any, anonymous: bool) -> dict[str, Any]:
    """The same models in either generation; ``anonymous`` has no name that its author chose."""
    layers, model_of = keras.layers, keras.Model
    given = keras.Input((6, 5), **({} if anonymous else {"name": "image"}))
    hidden = layers.Dense(8, activation="relu")(layers.Flatten()(given))
    single = model_of(given, layers.Dense(3, activation="softmax", name="probabilities")(hidden))
    if anonymous:
        return {"anonymous": keras.Sequential([keras.Input((4,)), layers.Dense(3)])}
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    double = layers.Dense(2, name="double")(both)
    score = layers.Dense(1, activation="sigmoid", name="score")(both)
    sub = keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(4)], name="sub")
    outer = keras.Input((4,), name="features")
    norm = layers.BatchNormalization()(sub(outer))
    return {
        "single": single,
        "several": model_of([left, right], [double, score]),
        "dictionary": model_of({"left": left, "right": right}, {"twice": double, "chance": score}),
        "nested": model_of(outer, layers.Dropout(0.5)(norm)),
    }


def _lambdas(keras: Any) -> dict[str, Any]:
    layers = keras.layers
    given = keras.Input((4,), name="features")
    plain = keras.Model(given, layers.Lambda(lambda x: x * 2.0, name="twice")(layers.Dense(3)(given)))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Lambda(lambda x: x + 1.0, name="one_more")])
    outer = keras.Input((4,), name="features")
    return {"lambda": plain, "nested_lambda": keras.Model(outer, layers.Dense(2)(inner(outer)))}


def _answered(model: Any, path: Path, version: int) -> SavedKeras:
    rng = np.random.default_rng(3)
    names = list(model.input_names) if version == 2 else [t.name for t in model.inputs]
    inputs = {
        n: rng.random((5, *t.shape[1:]), dtype=np.float32) for n, t in zip(names, list(model.inputs), strict=True)
    }
    # By keyword for a dict, in order else: as the author of the model would call it.
    feed = inputs if path.stem == "dictionary" else list(inputs.values())
    answer = model(feed if len(inputs) > 1 else next(iter(inputs.values())), training=False)
    listed = [answer[k] for k in sorted(answer)] if isinstance(answer, dict) else answer
    listed = list(listed) if isinstance(listed, (list, tuple)) else [listed]
    return SavedKeras(path, version, inputs, [np.asarray(a) for a in listed])


@pytest.fixture(scope="session")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SavedKeras]:
    """By ``<model>-k2``, ``<model>-k3``, ``<model>-k2-h5``, ``<model>-k3-h5``."""
    found: dict[str, SavedKeras] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's own: h5 is legacy, and the like
        import keras
        import tf_keras

        for version, library in ((2, tf_keras), (3, keras)):
            folder = tmp_path_factory.mktemp(f"keras{version}")
            library.utils.set_random_seed(11)
            models = {**_models(library, True), **_models(library, False), **_lambdas(library)}
            for name, model in models.items():
                for ending in ("keras", "h5"):
                    path = folder / f"{name}.{ending}"
                    model.save(path)
                    key = f"{name}-k{version}" + ("-h5" if ending == "h5" else "")
                    found[key] = _answered(model, path, version)
            weights = folder / "only.weights.h5"
            models["single"].save_weights(weights)
            found[f"weights-k{version}"] = SavedKeras(weights, version, {}, [])
    return found


PROTOTYPES = np.random.default_rng(99).random((10, 28, 28)).astype(np.float32)


def made_up_digits(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 ``[n, 28, 28]`` in 0..1 of ten classes that a small network tells apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    images = 0.6 * PROTOTYPES[labels] + 0.4 * rng.random((n, 28, 28))
    return images.astype(np.float32), labels


@dataclass(frozen=True)
class Converted:
    """A run directory with a trained model and what every recipe made of it."""

    job: Any
    artifacts: dict[str, Any]

    def file(self, recipe: str) -> Path:
        return self.job.run.path(self.artifacts[recipe].path)


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """A small dense network, trained on made-up digits and converted by every recipe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's and TFMOT's own
        import tf_keras
        from fakes import dense

        from converters import bundle, convert
        from toolkit.datasets._dataset import Split
        from toolkit.progress import Progress
        from toolkit.store import Run

        images, labels = made_up_digits(600, 1)
        tf_keras.utils.set_random_seed(5)
        image = tf_keras.Input((28, 28), name="image")
        hidden = tf_keras.layers.Dense(32, activation="relu")(tf_keras.layers.Flatten()(image))
        model = tf_keras.Model(image, tf_keras.layers.Dense(10, activation="softmax", name="probabilities")(hidden))
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(images, labels, epochs=6, verbose=0)
        run = Run(tmp_path_factory.mktemp("converted") / "run")
        keras_file = run.path("bundle", "model.keras")
        keras_file.parent.mkdir()
        model.save(keras_file)
        quiet = Progress(quiet=True)
        made = bundle.create(run, name="small", keras_file=keras_file, keras_version=2, seed=5, progress=quiet)
        train = Split(inputs={"image": images}, labels=labels, digest="train")
        calibration = Split(inputs={"image": images[:100]}, labels=labels[:100], digest="calibration")
        job = convert.Conversion(run=run, bundle=made, calibration=calibration, training=train, seed=5, progress=quiet)
        found = convert.convert(job, dense.NAMES)
    return Converted(job, {a.recipe: a for a in found})


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Files of every kind in the legality table, made when asked for (``fakes.kinds.Zoo``)."""
    from fakes import kinds

    return kinds.Zoo(tmp_path_factory.mktemp("kinds"))
