"""Training: reproducible to the bit, blind to the evaluation split, stopped when it diverges."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import blobs

from toolkit.errors import CheckFailed, UsageError
from toolkit.progress import Progress
from toolkit.store import sha256_file
from toolkit.training import fit, keras_file
from toolkit.training.options import TrainingOptions

pytestmark = pytest.mark.slow


def _train(folder: Path, *, data: Any = None, progress: Progress | None = None, **options: Any) -> fit.Trained:
    given = TrainingOptions(**{"variant": "dnn", "epochs": 2, **options})
    return fit.train(
        "mnist",
        data or blobs.dataset(),
        given,
        out=folder / "model.keras",
        logs=folder / "logs",
        progress=progress or Progress(quiet=True),
    )


def _load(path: Path) -> Any:
    import tf_keras

    return tf_keras.models.load_model(path, compile=False)


def test_a_training_leaves_a_model_that_learned(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, said = blobs.dataset(), io.StringIO()
    capfd.readouterr()
    trained = _train(tmp_path, data=data, epochs=5, progress=Progress(stream=said))
    assert capfd.readouterr().out == ""
    assert "train mnist dnn" in said.getvalue()
    assert "accuracy" in said.getvalue()

    evaluation = data.evaluation()
    answers = _load(trained.keras_file).predict(evaluation.inputs["image"], verbose=0)
    right = answers[np.arange(len(answers)), evaluation.labels]
    assert trained.metrics["accuracy"] == float((answers.argmax(axis=1) == evaluation.labels).mean()) > 0.9
    assert trained.metrics["loss"] == pytest.approx(float(-np.log(right).mean()), rel=1e-4)
    assert trained.metrics["epochs"] == 5
    assert len(trained.history["loss"]) == len(trained.history["accuracy"]) == 5
    assert trained.history["loss"][-1] < trained.history["loss"][0]
    assert trained.versions["tf_keras"].startswith("2.")
    assert list((tmp_path / "logs").rglob("events.out.tfevents*"))
    assert not list(tmp_path.glob(".tmp-*"))


def test_the_penalty_is_not_part_of_the_evaluation_loss(tmp_path: Path) -> None:
    trained = _train(tmp_path, epochs=5, l2=0.01)
    assert trained.history["loss"][-1] > trained.metrics["loss"] + 0.1


_SCRIPT = """
import json, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from fakes import blobs
from toolkit.progress import Progress
from toolkit.training import fit
from toolkit.training.options import TrainingOptions
if {busy}:
    # A process with a past: layers were numbered, random numbers drawn, another model trained.
    import numpy, random, tensorflow, tf_keras
    random.random(), numpy.random.rand(7), tensorflow.random.uniform([3])
    other = tf_keras.Sequential([tf_keras.layers.Dense(5), tf_keras.layers.Dropout(0.5), tf_keras.layers.Dense(2)])
    other.compile("sgd", "mse")
    other.fit(numpy.zeros((8, 4)), numpy.zeros((8, 2)), verbose=0)
    tensorflow.random.set_seed(99)
options = TrainingOptions(variant={variant!r}, epochs=2, dropout=0.2, seed={seed}, early_stopping=1)
folder = Path({folder!r})
trained = fit.train("mnist", blobs.dataset(), options, out=folder / "m.keras", logs=folder / "logs",
                    progress=Progress(quiet=True))
print(json.dumps([trained.weights_sha256, trained.metrics]))
"""


def _elsewhere(folder: Path, variant: str, *, busy: bool, seed: int) -> tuple[str, dict[str, float], str]:
    """Trains in a process of its own."""
    tests = str(Path(__file__).parent.parent)
    code = _SCRIPT.format(tests=tests, busy=busy, variant=variant, seed=seed, folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    weights, metrics = json.loads(done.stdout)
    return weights, metrics, sha256_file(folder / "m.keras")


@pytest.mark.parametrize("variant", ["dnn", "cnn"])
def test_same_seed_same_weights_whatever_the_process_did_before(variant: str, tmp_path: Path) -> None:
    fresh = _elsewhere(tmp_path / "a", variant, busy=False, seed=3)
    assert _elsewhere(tmp_path / "b", variant, busy=True, seed=3) == fresh


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    assert _train(tmp_path, seed=0).weights_sha256 != _train(tmp_path, seed=1).weights_sha256


def test_evaluation_samples_have_no_say_in_training(tmp_path: Path) -> None:
    options = {"early_stopping": 1, "epochs": 6, "dropout": 0.2}
    right = _train(tmp_path / "a", **options)
    wrong = _train(tmp_path / "b", data=blobs.dataset(wrong_evaluation=True), **options)
    assert wrong.weights_sha256 == right.weights_sha256
    assert wrong.metrics["accuracy"] < 0.5 < right.metrics["accuracy"]


def test_early_stopping_watches_a_part_of_train_and_keeps_the_best_weights(tmp_path: Path) -> None:
    # Labels that cannot be learned: the loss on what was not seen soon rises.
    data = blobs.dataset()
    mixed = dataclasses.replace(data, labels=np.random.default_rng(1).integers(0, 10, len(data.labels)))
    trained = _train(tmp_path, data=mixed, epochs=60, early_stopping=2)
    watched = trained.history["val_loss"]
    assert trained.metrics["epochs"] == len(watched) < 60
    assert int(np.argmin(watched)) == len(watched) - 3

    split = mixed.train()
    _, _, (inputs, labels) = fit._held_back(split.inputs, split.labels, 0)
    assert len(labels) == round(fit.VALIDATION_SHARE * len(split.labels))
    answers = _load(trained.keras_file).predict(inputs["image"], verbose=0)
    loss = float(-np.log(answers[np.arange(len(labels)), labels]).mean())
    assert loss == pytest.approx(min(watched), rel=1e-4)


def test_held_back_samples_are_not_trained_on() -> None:
    rows = np.arange(40)
    kept, labels, (held, held_labels) = fit._held_back({"x": rows}, rows * 2, seed=4)
    assert sorted([*kept["x"], *held["x"]]) == rows.tolist()
    assert (labels == kept["x"] * 2).all()
    assert (held_labels == held["x"] * 2).all()


def test_one_sample_cannot_stop_early() -> None:
    with pytest.raises(UsageError, match="too few"):
        fit._held_back({"x": np.zeros(1)}, np.zeros(1), seed=0)


def test_divergence_is_one_clear_line_and_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    with pytest.raises(CheckFailed, match=r"loss became (nan|inf).*learning rate"):
        _train(tmp_path, learning_rate=1e30, l2=1e30, epochs=3)
    assert capfd.readouterr().out == ""
    assert not (tmp_path / "model.keras").exists()


def test_divergence_in_the_very_last_step_is_found_too(tmp_path: Path) -> None:
    # One step, whose loss is still finite (1e28) and whose update is not: infinity over infinity in Adam.
    with pytest.raises(CheckFailed, match=r"became (NaN or infinite|nan)"):
        _train(tmp_path, epochs=1, batch_size=300, learning_rate=1e20, l2=1e25)
    assert not (tmp_path / "model.keras").exists()


def test_weights_that_are_no_numbers_are_found() -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(2, name="only")])
    fit.must_be_finite(model, 0.1)
    model.set_weights([np.array([[1, np.nan], [0, 0]]), np.zeros(2)])
    with pytest.raises(CheckFailed, match="only/kernel"):
        fit.must_be_finite(model, 0.1)


def test_a_repeated_training_replaces_the_curves_of_the_first(tmp_path: Path) -> None:
    _train(tmp_path, epochs=1)
    first = {p.name for p in (tmp_path / "logs").rglob("events*")}
    _train(tmp_path, epochs=1)
    second = {p.name for p in (tmp_path / "logs").rglob("events*")}
    assert first
    assert second
    assert not first & second


def test_unknown_names_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean deep"):
        _train(tmp_path, variant="depe")
    with pytest.raises(UsageError, match="unknown model"):
        fit.train(
            "minst",
            blobs.dataset(),
            TrainingOptions(variant="dnn"),
            out=tmp_path / "m.keras",
            logs=tmp_path / "logs",
            progress=Progress(quiet=True),
        )
    assert not list(tmp_path.iterdir())


def test_saved_bytes_do_not_hold_the_time(tmp_path: Path) -> None:
    trained = _train(tmp_path, epochs=1)
    model = _load(trained.keras_file)
    keras_file.save(model, tmp_path / "first.keras")
    time.sleep(2.1)  # a zip archive counts in steps of two seconds
    keras_file.save(model, tmp_path / "second.keras")
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.keras") as archive:
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("metadata.json"))["keras_version"]
    assert keras_file.weights_digest(_load(tmp_path / "first.keras")) == trained.weights_sha256


def test_the_digest_is_of_names_shapes_and_bytes() -> None:
    import tf_keras

    def model(name: str, shape: int) -> Any:
        built = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(shape, name=name)])
        built.set_weights([np.zeros((2, shape)), np.zeros(shape)])
        return built

    plain = keras_file.weights_digest(model("a", 3))
    assert plain == keras_file.weights_digest(model("a", 3))
    changed = model("a", 3)
    changed.set_weights([np.full((2, 3), 1e-30), np.zeros(3)])
    digests = {
        plain,
        keras_file.weights_digest(model("b", 3)),
        keras_file.weights_digest(model("a", 4)),
        keras_file.weights_digest(changed),
    }
    assert len(digests) == 4
    assert all(len(d) == len(hashlib.sha256().hexdigest()) for d in digests)
