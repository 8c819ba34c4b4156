"""Layers of the user's own, wrappers of training, and models that are quantized already."""

from __future__ import annotations

import json
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done

from converters import bundle, convert, keras_models, recipes
from converters.sources import identify
from toolkit.datasets._dataset import Split
from toolkit.progress import Progress
from toolkit.store import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def unknown() -> Iterator[None]:
    """What a test makes known to Keras is forgotten after it: a command is a process of its own."""
    import keras
    import tf_keras

    yield
    for library in (keras, tf_keras):
        for name in keras_models._defined:  # and nothing else: what the program itself registers, it registers once
            library.saving.get_custom_objects().pop(name, None)
    keras_models._defined.clear()


CODE = """
import {library} as K

class Scale(K.layers.Layer):
    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {{**super().get_config(), "factor": self.factor}}
"""
MAKE = """
import sys
sys.path.insert(0, {folder!r})
from layers_{version} import K, Scale
x = K.Input((8,), name="x")
model = K.Model(x, K.layers.Dense(3, name="y")(Scale(3.0)(K.layers.Dense(4)(x))))
for path in {paths!r}:
    model.save(path)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of models with a layer of their own, made in processes that end: this one has never seen the class."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("own")
    for version, library, names in ((2, "tf_keras", ["two.keras", "two.h5"]), (3, "keras", ["three.keras"])):
        (folder / f"layers_{version}.py").write_text(CODE.format(library=library))
        script = MAKE.format(folder=str(folder), version=version, paths=[str(folder / name) for name in names])
        subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["two.keras", "two.h5", "three.keras"])
def test_a_layer_without_its_code_is_named_and_with_it_converted(
    edge_export: Callable[..., Done], own: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    done = edge_export("convert", own / name, "--recipe", "float32", "--run-dir", run)
    assert done.code == 5
    error = done.err.splitlines()[-1]
    assert "needs the code of Scale; give it with --code FILE.py (it will run), or convert a SavedModel" in error
    code = own / f"layers_{3 if name.startswith('three') else 2}.py"
    done = edge_export("convert", own / name, "--code", code, "--recipe", "float32", "--run-dir", run, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["artifacts"][0]["gate"]["passed"]
    # Later the run knows where its layers are, and says so when they are not there any more.
    changed = code.read_text()
    code.write_text(changed + "\n# another version\n")
    done = edge_export("convert", run, "--recipe", "float16")
    assert done.code == 2
    assert "the code of the model's layers has changed since; give it with --code FILE.py" in done.err
    code.write_text(changed)
    assert edge_export("convert", run, "--recipe", "float16").code == 0


def test_code_that_is_none_is_one_line(edge_export: Callable[..., Done], own: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    for code, said in (
        (tmp_path / "no.py", "is no Python file"),
        (tmp_path / "empty.py", "defines no class and no function"),
        (tmp_path / "broken.py", "cannot be imported"),
    ):
        done = edge_export(
            "convert", own / "two.keras", "--code", code, "--recipe", "float32", "--run-dir", tmp_path / "r"
        )
        assert said in done.err.splitlines()[-1]
        assert done.code in (2, 5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What quantization-aware training and pruning leave when nothing is taken off."""
    folder = tmp_path_factory.mktemp("wrapped")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf
        import tensorflow_model_optimization as tfmot
        import tf_keras

        x = tf_keras.Input((6, 6), name="x")
        flat = tf_keras.layers.Flatten()(x)
        plain = tf_keras.Model(x, tf_keras.layers.Dense(4, activation="softmax", name="y")(flat))
        data = np.random.default_rng(0).random((64, 6, 6), np.float32)
        aware = tfmot.quantization.keras.quantize_model(plain)
        aware.compile("adam", "sparse_categorical_crossentropy")
        aware.fit(data, np.arange(64) % 4, verbose=0)
        aware.save(folder / "aware.h5")
        tf.saved_model.save(aware, str(folder / "aware"))
        tfmot.sparsity.keras.prune_low_magnitude(plain).save(folder / "pruned.h5")
    return folder


@pytest.mark.parametrize("name", ["aware.h5", "aware"])
def test_a_model_that_rounds_already_becomes_integers_and_nothing_else(
    trained: Path, tmp_path: Path, name: str
) -> None:
    quiet = Progress(quiet=True)
    made = bundle.adopt(Run(tmp_path), identify(trained / name), progress=quiet)
    assert made.quantized
    values = np.random.default_rng(1).random((128, 6, 6), np.float32)
    inputs = {spec.name: values for spec in made.signature.inputs}
    labels = np.arange(128) % 4
    split = Split(inputs=inputs, labels=labels, digest="d")
    job = convert.Conversion(run=Run(tmp_path), bundle=made, calibration=split, training=split, progress=quiet)
    legal = [n for n in recipes.names() if convert.why_not(job, recipes.load(n)) is None]
    assert set(legal) == {"int8", "int8_float_io"}
    assert "is quantized already" in str(convert.why_not(job, recipes.load("float32")))
    assert all(a.gate.passed for a in convert.convert(job, legal))


def test_wrappers_of_training_are_named_with_what_takes_them_off(trained: Path) -> None:
    from toolkit.errors import BrokenInput

    with pytest.raises(BrokenInput, match=r"still has TFMOT's wrappers \(PruneLowMagnitude\)") as caught:
        keras_models.load(trained / "pruned.h5", 2)
    assert "save tfmot.sparsity.keras.strip_pruning(model)" in str(caught.value)


def several(library: Any) -> Any:
    a, b = library.Input((4,), name="a"), library.Input((6,), name="b")
    shared = library.layers.Dense(40, activation="relu")
    both = library.layers.Concatenate()([shared(library.layers.Dense(40)(a)), shared(library.layers.Dense(40)(b))])
    outputs = {"kind": library.layers.Dense(3, activation="softmax")(both), "size": library.layers.Dense(1)(both)}
    return library.Model({"a": a, "b": b}, outputs)


@pytest.mark.parametrize("version", [2, 3])
def test_several_inputs_and_outputs_and_a_shared_layer_keep_their_names(tmp_path: Path, version: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import tf_keras

        several(keras if version == 3 else tf_keras).save(tmp_path / "m.keras")
    made = bundle.adopt(Run(tmp_path / "run"), identify(tmp_path / "m.keras"), progress=Progress(quiet=True))
    rng = np.random.default_rng(0)
    inputs = {"a": rng.random((120, 4), np.float32), "b": rng.random((120, 6), np.float32)}
    split = Split(inputs=inputs, labels=None, digest="d")
    job = convert.Conversion(run=Run(tmp_path / "run"), bundle=made, calibration=split, progress=Progress(quiet=True))
    for artifact in convert.convert(job, ["float32", "int8", "int8_mixed"]):
        assert [f"{artifact.recipe}: {c.detail}" for c in artifact.gate.checks if not c.passed] == []
        assert {t.name for t in artifact.signature.inputs} == {"a", "b"}
        assert {t.name for t in artifact.signature.outputs} == {"kind", "size"}
