"""The search for the narrowest network: it keeps its budget on held-out samples, says what it tried, is repeatable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import blobs

from converters import compaction, recipes
from converters.compaction import search, sparsify
from converters.parents import steps_of
from toolkit.errors import BrokenInput, CheckFailed
from toolkit.progress import Progress
from toolkit.training import keras_file

pytestmark = pytest.mark.slow

COMPACTED = [name for name in recipes.names() if name.startswith("compacted")]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer epochs and widths: blobs are easy."""
    monkeypatch.setattr(search, "WIDTHS", (0.5, 0.25))
    monkeypatch.setattr(search, "SCRATCH_EPOCHS", 6)
    monkeypatch.setattr(sparsify, "SPARSE_EPOCHS", 4)
    monkeypatch.setattr(sparsify, "PHASES", ((3, 3e-3), (3, 1e-3)))


def images(folder: Path, *, units: int = 64) -> Path:
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(4)
    image = tf_keras.Input((28, 28), name="image")
    x = layers.Reshape((28, 28, 1), name="channel")(image)
    x = layers.Conv2D(16, 3, strides=2, activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="relu", name="hidden")(x)
    model = tf_keras.Model(image, {"chance": layers.Dense(10, activation="softmax", name="answer")(x)}, name="small")
    keras_file.save(model, folder / "model.keras")
    return folder / "model.keras"


def compacted(path: Path, **given: Any) -> tuple[Any, dict[str, Any]]:
    split = blobs.dataset().train()
    options: dict[str, Any] = {"multiple": 8, "seed": 0, "progress": Progress(quiet=True), **given}
    inputs, labels = options.pop("inputs", split.inputs), options.pop("labels", split.labels)
    return search.compact_within(path, inputs, labels, **options)


def test_it_is_smaller_keeps_its_names_and_says_what_was_tried(tmp_path: Path) -> None:
    import tf_keras

    path = images(tmp_path)
    source = tf_keras.models.load_model(path, compile=False)
    model, notes = compacted(path)
    assert model.count_params() < source.count_params() / 2
    assert [layer.name for layer in model.layers] == [layer.name for layer in source.layers]
    assert set(model.predict(blobs.dataset().train().inputs["image"][:3], verbose=0)) == {"chance"}
    assert all(units % 8 == 0 for units in compaction.hidden(model).values())
    assert notes["metric"] == "accuracy"
    assert [trial["width"] for trial in notes["trials"]] == [0.5, 0.25]
    kept = [trial for trial in notes["trials"] if trial["kept"]]
    assert notes["chosen"] == min(kept, key=lambda trial: trial["parameters"])["width"]
    assert all(trial["loss"] <= search.SHARE * notes["budget"] for trial in kept)
    assert 0 <= notes["control"]["metric"] <= 1
    # Held out of 300 samples; what was learned works on those that nobody saw.
    assert notes["held_out"] == 60
    split = blobs.dataset().evaluation()
    scores = model.predict(split.inputs["image"], verbose=0)["chance"]
    assert (scores.argmax(axis=1) == split.labels).mean() > 0.9


def test_the_same_seed_finds_the_same_network(tmp_path: Path) -> None:
    path = images(tmp_path)
    first, notes = compacted(path)
    again, noted = compacted(path)
    assert notes == noted
    assert keras_file.weights_digest(first) == keras_file.weights_digest(again)


def test_a_regression_is_judged_by_its_relative_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tf_keras
    from tf_keras import layers

    # Widths are what is tested here, not how well a line is learned in a few epochs.
    monkeypatch.setitem(search.BUDGETS, "rmse", 10.0)
    tf_keras.utils.set_random_seed(0)
    x = tf_keras.Input((8,), name="x")
    hidden = layers.Dense(32, activation="tanh", name="hidden")(x)
    keras_file.save(tf_keras.Model(x, layers.Dense(1, name="y")(hidden), name="line"), tmp_path / "line.keras")
    inputs = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    model, notes = compacted(tmp_path / "line.keras", inputs={"x": inputs}, labels=inputs[:, 0] * 3)
    assert notes["metric"] == "rmse"
    assert compaction.hidden(model)["hidden"] < 32


def test_what_cannot_be_compacted_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((4,), name="x"), tf_keras.layers.Dense(2, name="y")], name="flat")
    keras_file.save(model, tmp_path / "flat.keras")
    x = {"x": np.zeros((8, 4), np.float32)}
    with pytest.raises(BrokenInput, match="no hidden layer"):
        compacted(tmp_path / "flat.keras", inputs=x, labels=np.zeros(8, np.int64))
    path = images(tmp_path)
    split = blobs.dataset().train()
    with pytest.raises(BrokenInput, match="too few samples"):
        compacted(path, inputs={"image": split.inputs["image"][:1]}, labels=split.labels[:1])
    monkeypatch.setitem(search.BUDGETS, "accuracy", -1.0)
    with pytest.raises(CheckFailed, match="no width keeps within") as caught:
        compacted(path)
    assert "\n" not in str(caught.value)


def test_the_recipes_share_one_search() -> None:
    chains = {name: [step.name for step in steps_of(recipes.load(name))] for name in COMPACTED}
    assert len(chains) == 4
    assert set(map(tuple, chains.values())) == {("compact-8",)}


def test_steps_with_other_settings_have_other_names() -> None:
    named: dict[str, Any] = {}
    for name in recipes.names():
        for step in steps_of(recipes.load(name)):
            assert named.setdefault(step.name, step.describe()) == step.describe()
