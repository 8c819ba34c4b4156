"""The calibration audit: planted faults are named, random samples of the training data raise no alarm."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes.report_records import bundle

from converters import audit
from converters.job import Conversion
from converters.watch import Watch
from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput
from toolkit.progress import Progress
from toolkit.store import Run, read_json

CLASSES = 10


def images(n: int, seed: int) -> np.ndarray:
    """Mostly black pictures with a bright square each, as digits are."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n, 28, 28), np.float32)
    for image in found:
        x, y = rng.integers(0, 14, 2)
        image[x : x + 14, y : y + 14] = rng.random((14, 14))
    found[:, 0, 0], found[:, 0, 1] = 0, 1
    return found


def split(values: np.ndarray, labels: np.ndarray | None = None) -> Split:
    return Split(inputs={"image": values}, labels=labels, digest=str(hash(values.tobytes())))


def told(tmp_path: Path, file: Path, calibration: Split, training: Split | None, **metrics: float) -> dict[str, Any]:
    progress = Progress(stream=io.StringIO())
    job = Conversion(
        run=Run(tmp_path),
        bundle=dataclasses.replace(bundle(), metrics=metrics),
        calibration=calibration,
        training=training,
        progress=progress,
    )
    parents: Any = SimpleNamespace(float_file=lambda: file)
    found = audit.audit(job, parents)
    assert progress.warnings == [str(audit.Finding(**finding)) for finding in found["findings"]]
    assert read_json(tmp_path / "calibration.json")["findings"] == found["findings"]
    return found


def checks(found: dict[str, Any]) -> list[str]:
    return [finding["check"] for finding in found["findings"]]


@pytest.fixture(scope="session")
def training(tiny_models: Any) -> Split:
    values = images(2000, 1)
    scores = answers(tiny_models["dense"].float32, values)
    return split(values, scores.argmax(axis=1).astype(np.int64))


def answers(file: Path, values: np.ndarray) -> np.ndarray:
    watch = Watch(file.read_bytes())
    (index,) = watch.outputs.values()
    return np.concatenate([seen.tensors[index] for seen in watch.run({"image": values})])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_training_samples_raise_no_alarm(tmp_path: Path, tiny_models: Any, training: Split, seed: int) -> None:
    rows = np.random.default_rng(seed).choice(2000, 300, replace=False)
    assert training.labels is not None
    given = split(training.inputs["image"][rows], training.labels[rows])
    found = told(tmp_path, tiny_models["dense"].float32, given, training, accuracy=1.0)
    assert found["findings"] == []
    assert found["samples"] == 300
    assert len(found["tensors"]) == len(Watch(tiny_models["dense"].float32.read_bytes()).tensors)
    assert all(t["clipped"] is not None and t["clipped"] < 0.02 for t in found["tensors"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "with_training", "without"),
    [
        (lambda x: x * 255, "scale", None),
        (lambda x: np.round(x * 255), "scale", "scale"),
        (lambda x: x * 2 - 1, "scale", None),
        (lambda x: 1 - x, "scale", None),
        (lambda x: x / 255, "scale", None),
        (lambda x: x * 0.5, "coverage", None),
        (lambda x: np.where(np.arange(len(x))[:, None, None] % 4 == 0, 0, x).astype(np.float32), "zeros", "zeros"),
        (lambda x: x[:40], "few", "few"),
    ],
    ids=["bytes", "whole bytes", "-1..1", "inverted", "divided twice", "half as bright", "zeros", "few"],
)
def test_a_planted_fault_is_named(
    tmp_path: Path, tiny_models: Any, training: Split, spoil: Any, with_training: str, without: str | None
) -> None:
    file = tiny_models["dense"].float32
    given = split(spoil(training.inputs["image"][:300]).astype(np.float32))
    assert with_training in checks(told(tmp_path / "with", file, given, training))
    assert (without in checks(told(tmp_path / "without", file, given, None))) == (without is not None)


@pytest.mark.slow
def test_a_missing_class_is_named_by_labels_and_without_any(tmp_path: Path, tiny_models: Any, training: Split) -> None:
    assert training.labels is not None
    kinds, counts = np.unique(training.labels, return_counts=True)
    usual = int(kinds[counts.argmax()])
    kept = training.labels != usual
    given = training.inputs["image"][kept][:500]
    file = tiny_models["dense"].float32
    labelled = told(tmp_path / "a", file, split(given, training.labels[kept][:500]), training)
    assert labelled["classes"]["missing"] == [usual]
    assert labelled["classes"]["by"] == "labels"
    unlabelled = told(tmp_path / "b", file, split(given), training)
    assert unlabelled["classes"]["missing"] == [usual]
    assert unlabelled["classes"]["by"] == "answers"
    assert "classes" in checks(unlabelled)


@pytest.mark.slow
def test_shuffled_labels_are_told_by_the_float_models_answers(
    tmp_path: Path, tiny_models: Any, training: Split
) -> None:
    assert training.labels is not None
    wrong = (training.labels[:300] + 1) % CLASSES
    given = split(training.inputs["image"][:300], wrong)
    file = tiny_models["dense"].float32
    assert "answers" in checks(told(tmp_path / "a", file, given, training, accuracy=0.9))
    assert "answers" in checks(told(tmp_path / "b", file, given, None))


@pytest.mark.slow
def test_values_that_calibration_never_reached_are_clipped_inside(tmp_path: Path, tiny_models: Any) -> None:
    """Every pixel's range is covered, and the pictures as a whole are fainter: only tensors inside can tell."""
    values = images(400, 3)
    faint = values * 0.05
    faint[:, 0, 0], faint[:, 0, 1] = 0, 1
    found = told(tmp_path, tiny_models["dense"].float32, split(faint), split(values))
    assert "clipped" in checks(found)
    assert max(t["clipped"] for t in found["tensors"]) > 0.05


def test_equal_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="all 120 samples are the same"):
        told(tmp_path, tmp_path, split(np.ones((120, 28, 28), np.float32)), None)


@pytest.mark.parametrize(("n", "share"), [(100, 0.1), (500, 0.02), (10_000, 0.01)])
def test_the_tolerated_share_is_ten_in_n(n: int, share: float) -> None:
    assert audit.tolerated(n) == pytest.approx(share)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 31, 32, 33, 70])
def test_a_watched_file_answers_as_the_file_does(tiny_models: Any, n: int) -> None:
    import devices.targets

    file = tiny_models["conv"].float32
    values = images(n, 5)
    expected = devices.targets.open("cpu").answer(file, {"image": values}).outputs["probabilities"]
    assert np.abs(answers(file, values) - expected).max() < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_recurrent_model_is_looked_at_as_far_as_its_loops_show(tmp_path: Path) -> None:
    import tf_keras

    from converters import bundle as bundles
    from converters.parents import Parents

    run = Run(tmp_path)
    run.path("bundle").mkdir()
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential([tf_keras.Input((5, 3), name="x"), tf_keras.layers.LSTM(6), tf_keras.layers.Dense(2)])
    model.save(run.path("bundle", "model.keras"))
    quiet = Progress(quiet=True)
    keras_file = run.path("bundle", "model.keras")
    made = bundles.create(run, name="lstm", keras_file=keras_file, keras_version=2, progress=quiet)
    values = np.random.default_rng(0).normal(size=(120, 5, 3)).astype(np.float32)
    given = Split(inputs={made.signature.inputs[0].name: values}, labels=None, digest="d")
    job = Conversion(run=run, bundle=made, calibration=given, training=given, progress=quiet)
    found = audit.audit(job, Parents(job))
    assert found["findings"] == []
    assert len(found["tensors"]) >= 2
