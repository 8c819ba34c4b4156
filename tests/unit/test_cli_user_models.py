"""A model of the user's own through the command line: from the file to the verdict, and what is said of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import houses
from fakes.command import Done

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]

MODULE = """
import tf_keras
from tf_keras import layers

@tf_keras.saving.register_keras_serializable("mine")
class Halved(layers.Layer):
    def call(self, x):
        return x * 0.5

def build_model(blueprint):
    x = tf_keras.Input((4,), name="x")
    y = Halved()(layers.Dense(64, activation="relu", name="hidden")(x))
    return tf_keras.Model(x, layers.Dense(blueprint.task.classes, activation="softmax", name="probabilities")(y))
"""


def document(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


@pytest.fixture
def own(edge_export: Callable[..., Done]) -> Callable[..., Done]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    np.savez("mine.npz", x=x, label=(x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5))
    Path("mine.py").write_text(MODULE)
    words = ("--module", "mine.py:build_model", "--data", "mine.npz", "--epochs", 3)
    return lambda command, *more: edge_export(command, "user", *words, *more)


def alone(folder: Path, *words: str) -> dict[str, Any]:
    """The document of a command in a process of its own, where nobody has imported the user's file yet."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", "from toolkit.cli import main; main()", *words, "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.usefixtures("own")
def test_a_module_and_an_npz_from_training_to_the_verdict(tmp_path: Path) -> None:
    words = ("--module", "mine.py", "--data", "mine.npz", "--epochs", "3", "--recipe", "float32", "--run-dir", "run")
    found = alone(tmp_path, "export", "user", *words)
    assert found["comparisons"][0]["difference"] == 0
    assert found["bundle"]["metrics"]["accuracy"] > 0.4
    # A recipe that fine-tunes loads the Keras file, and the user's layer must be known by then.
    found = alone(tmp_path / "elsewhere", "convert", str(tmp_path / "run"), "--recipe", "pruned_int8")
    assert "pruned_int8" in {a["recipe"] for a in found["artifacts"]}


def test_a_changed_module_is_another_model(own: Callable[..., Done]) -> None:
    first = document(own("train", "--json"))
    Path("mine.py").write_text(MODULE.replace("Dense(64", "Dense(32"))
    done = own("train", "--json")
    assert document(done)["run_dir"] != first["run_dir"]
    assert "train user" in done.err
    Path("mine.py").write_text(MODULE)
    done = own("train", "--json")
    assert document(done)["bundle"] == first["bundle"]
    assert "train user" not in done.err


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("(blueprint):", "():\n    blueprint.task", 5, "mine.py:11: build_model failed (NameError"),
        ('name="x"', 'name="y"', 5, "the data have no array for the model's input y (they have: x)"),
        ("blueprint.task.classes", "2", 5, "gives 2 numbers for 3 classes"),
        ("build_model", "make", 2, "has no function 'build_model'; it has: make"),
        ("import tf_keras", "import tf_kerass", 5, "mine.py:2: cannot be imported (ModuleNotFoundError"),
    ],
)
def test_a_module_that_fails_is_one_line_and_can_be_corrected(
    own: Callable[..., Done], old: str, new: str, code: int, said: str
) -> None:
    Path("mine.py").write_text(MODULE.replace(old, new))
    done = own("train", "--run-dir", "run")
    assert done.code == code, done.err
    assert said in done.error
    Path("mine.py").write_text(MODULE)
    assert own("train", "--run-dir", "run").code == 0


def test_a_module_on_a_table(edge_export: Callable[..., Done]) -> None:
    text = """
import tf_keras
from toolkit.features.layer import feature_layer, keras_inputs
def build_model(blueprint):
    print("to stdout")
    inputs = keras_inputs(blueprint.spec)
    deep = feature_layer(blueprint.spec, wide_units=0)(inputs)["deep"]
    return tf_keras.Model(inputs, tf_keras.layers.Dense(1, name="price")(deep))
"""
    Path("table.py").write_text(text)
    houses.write(Path("good.csv"), houses.rows(200))
    Path("good.toml").write_text(houses.SPEC)
    words = ("--module", "table.py", "--data", "good.csv", "--spec", "good.toml", "--epochs", 1, "--run-dir", "run")
    assert "rmse" in document(edge_export("train", "user", *words, "--json"))["bundle"]["metrics"]
    found = document(edge_export("convert", "run", "--recipe", "float32", "--json"))
    assert found["artifacts"][0]["gate"]["passed"]
