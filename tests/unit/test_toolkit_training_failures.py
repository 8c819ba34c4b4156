"""Training that goes wrong: a full disk, a model that learned nothing, a learning rate beyond all bounds."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import blobs
from fakes import digits as made

from toolkit.progress import Progress
from toolkit.training import fit
from toolkit.training.options import TrainingOptions

pytestmark = pytest.mark.slow

_SAVE_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
import toolkit.models
from toolkit.errors import MissingError
from toolkit.training import keras_file
task = toolkit.models.Task(kind="classification", classes=10)
model = toolkit.models.load("mnist").build(toolkit.models.Blueprint(variant="dnn", task=task))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    keras_file.save(model, Path({path!r}))
except MissingError as error:
    print(error)
"""


# The model's .keras holds some 480,000 bytes: nothing of it fits, or all but the end.
@pytest.mark.parametrize("limit", [0, 100_000, 470_000])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(limit: int, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"the model of yesterday")
    code = _SAVE_ON_A_FULL_DISK.format(limit=limit, path=str(path))
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert "the disk is full" in done.stdout
    assert str(path) in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert path.read_bytes() == b"the model of yesterday"
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_that_learned_nothing_is_pointed_out(tmp_path: Path) -> None:
    def warnings(learning_rate: float) -> list[str]:
        progress = Progress(stream=io.StringIO())
        options = TrainingOptions(variant="dnn", epochs=3, learning_rate=learning_rate)
        place = {"out": tmp_path / "model.keras", "logs": tmp_path / "logs"}
        fit.train("mnist", blobs.dataset(), options, **place, progress=progress)
        return progress.warnings

    # Steps of 1,000 leave finite weights that give every image the same answer.
    *causes, said = warnings(1000.0)
    assert any("dead ReLUs" in cause for cause in causes)
    assert "learned nothing: accuracy 0.1," in said
    assert "it was 1000" in said
    assert warnings(1e-3) == []


def test_divergence_ends_the_command_with_one_line_and_no_model(tmp_path: Path) -> None:
    made.npz_folder(tmp_path / "data", made.arrays(80, 20))
    command = [sys.executable, "-c", "from toolkit.cli import main; main()", "train", "mnist", "--run-dir", "run"]
    command += ["--data-dir", "data", "--epochs", "4", "--learning-rate", "1e9"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "training: the loss became" in errors[0]
    assert "lower the learning rate (it was 1e+09)" in errors[0]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run").rglob("*.keras"))


def test_what_tensorboard_shows_is_the_history(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    trained = fit.train(
        "mnist",
        blobs.dataset(),
        TrainingOptions(variant="linear", epochs=3, early_stopping=3),
        out=tmp_path / "model.keras",
        logs=tmp_path / "logs",
        progress=Progress(quiet=True),
    )
    for folder, name in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(tmp_path / "logs" / folder))
        events.Reload()
        shown = [float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors("epoch_loss")]
        np.testing.assert_allclose(shown, trained.history[name], rtol=1e-6)
