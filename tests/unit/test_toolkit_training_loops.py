"""The loop of our own trains as Keras's fit does, bit for bit, and several replicas as one, within rounding."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import blobs

from toolkit.datasets._dataset import Dataset
from toolkit.errors import CheckFailed
from toolkit.progress import Progress
from toolkit.training import fit
from toolkit.training.options import TrainingOptions

pytestmark = pytest.mark.slow


def _train(folder: Path, family: str, data: Dataset, **options: Any) -> fit.Trained:
    return fit.train(
        family,
        data,
        TrainingOptions(**{"epochs": 2, **options}),
        out=folder / "model.keras",
        logs=folder / "logs",
        progress=Progress(quiet=True),
    )


def _both(folder: Path, family: str, data: Dataset, *, exact: bool = True, **options: Any) -> fit.Trained:
    """By either loop; the same, ``exact`` to the bit: weights, what every epoch showed, what it is worth."""
    import tf_keras

    one = _train(folder / "fit", family, data, **options)
    other = _train(folder / "custom", family, data, loop="custom", **options)
    assert list(other.history) == list(one.history)
    for name, values in one.history.items():
        np.testing.assert_allclose(other.history[name], values, rtol=2e-6, err_msg=name)
    if exact:
        assert other.weights_sha256 == one.weights_sha256
        assert other.metrics == one.metrics
    else:
        assert other.metrics == pytest.approx(one.metrics, rel=1e-5)
        models = [tf_keras.models.load_model(t.keras_file, compile=False) for t in (one, other)]
        for ours, theirs in zip(*(m.get_weights() for m in models), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-6)
    return one


# 307 samples: every pass ends with a batch of its own size.
@pytest.mark.parametrize(
    "options",
    [
        {"variant": "dnn", "dropout": 0.3, "l2": 1e-3},
        {"variant": "dnn", "batch_norm": True, "noise": 0.1, "activation": "prelu", "max_norm": 2.0},
        {"variant": "linear", "l1": 1e-3, "proximal": True, "optimizer": "sgd", "learning_rate": 0.05},
        {"variant": "cnn", "augment": True, "epochs": 1, "batch_size": 50},
        {"variant": "linear", "train_examples": 700, "evaluations": 3, "epochs": None},
    ],
    ids=lambda options: "-".join(options),
)
def test_both_loops_leave_the_same_classifier(options: dict[str, Any], tmp_path: Path) -> None:
    _both(tmp_path, "mnist", blobs.dataset(train=307), **options)


def test_both_loops_stop_early_in_the_same_epoch(tmp_path: Path) -> None:
    data = blobs.dataset(train=307, noise=0.95)
    found = _both(tmp_path, "mnist", data, variant="dnn", early_stopping=1, epochs=30, learning_rate=0.01)
    assert 1 < found.metrics["epochs"] < 30


@pytest.fixture(scope="module")
def rides() -> Dataset:
    from toolkit.datasets._chosen import Chosen

    return Chosen(name="chicago").open(Progress(quiet=True))


def test_both_loops_leave_the_same_wide_and_deep_regression(rides: Dataset, tmp_path: Path) -> None:
    # TensorFlow orders the sums of a squared error by what else it computes.
    found = _both(tmp_path, "wide-deep", rides, exact=False, variant="wide-deep", batch_size=512, epochs=1)
    assert {"loss", "rmse", "mse"} == set(found.history)


USERS = """
import tf_keras

def build_model(blueprint):
    image = tf_keras.Input((28, 28), name="image")
    x = tf_keras.layers.Flatten()(image)
    # A penalty on what comes out, which depends on the samples, and a layer without a name.
    x = tf_keras.layers.Dense(16, activation="tanh", activity_regularizer=tf_keras.regularizers.L2(1e-3))(x)
    return tf_keras.Model(image, tf_keras.layers.Dense(blueprint.task.classes)(x))
"""


@pytest.fixture
def users(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(USERS)
    return f"{path}:build_model"


def test_both_loops_leave_the_same_model_of_the_user(users: str, tmp_path: Path) -> None:
    _both(tmp_path, "user", blobs.dataset(train=307), variant="user", module=users)


def test_both_loops_leave_the_same_autoencoder(tmp_path: Path) -> None:
    from toolkit.models import autoencoder

    data = blobs.dataset(train=307)
    _both(tmp_path, "autoencoder", data, exact=False, variant=autoencoder.DEFAULT_VARIANT, epochs=1)


def test_a_wide_part_alone_is_trained_though_nothing_reads_the_embeddings(rides: Dataset, tmp_path: Path) -> None:
    found = _train(tmp_path, "wide-deep", rides, variant="wide", batch_size=512)
    assert found.history["loss"][1] < found.history["loss"][0]


@pytest.mark.parametrize("loop", ["fit", "custom"])
def test_a_learning_rate_that_diverges_is_said_by_either_loop(loop: str, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"the loss became (nan|inf) in epoch 1.*lower the learning rate"):
        _train(tmp_path, "mnist", blobs.dataset(), variant="dnn", loop=loop, learning_rate=1e30, l2=1e30)
    assert not (tmp_path / "model.keras").exists()


_ON_REPLICAS = """
import json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
sys.path[:0] = [{tests!r}]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * {replicas})
import tf_keras
from fakes import blobs
from toolkit.datasets._chosen import Chosen
from toolkit.errors import CheckFailed
from toolkit.progress import Progress
from toolkit.training import fit, loops
from toolkit.training.options import TrainingOptions

class Stop(Exception):
    pass

def train(folder, family, options, stop_after=None):
    data = Chosen(name="chicago").open(Progress(quiet=True)) if family == "wide-deep" else blobs.dataset(
        train=307, noise=0.95)
    usual = loops.fit
    def stopped(*args, callbacks, **named):
        def end(epoch, logs):
            if epoch + 1 == stop_after:
                raise Stop
        return usual(*args, callbacks=[*callbacks, tf_keras.callbacks.LambdaCallback(on_epoch_end=end)], **named)
    loops.fit = stopped
    try:
        trained = fit.train(family, data, TrainingOptions(**options), out=folder / "m.keras", logs=folder / "logs",
                            progress=Progress())
    except CheckFailed as error:
        return str(error)
    except Stop:
        assert list((folder / "checkpoints").rglob("ckpt-*.index"))
        return None
    finally:
        loops.fit = usual
    assert sorted(p.name for p in folder.iterdir()) == ["logs", "m.keras"]
    weights = tf_keras.models.load_model(trained.keras_file, compile=False).get_weights()
    return {{"sha256": trained.weights_sha256, "history": trained.history, "metrics": trained.metrics,
            "weights": [w.ravel().tolist() for w in weights]}}

root, found = Path({folder!r}), {{}}
for number, (family, options, stop_after) in enumerate(json.loads(sys.stdin.read())):
    folder = root / str(number)
    folder.mkdir(parents=True)
    if stop_after:
        assert train(folder, family, options, stop_after) is None
    found[number] = train(folder, family, options)
Path({folder!r}, "found.json").write_text(json.dumps([found[n] for n in sorted(found)]))
"""


def _on_replicas(replicas: int, folder: Path, jobs: list[tuple[str, dict[str, Any], int | None]]) -> tuple[Any, str]:
    """Trains in a process whose CPU is divided into so many devices; results, and what was said."""
    strategy = "mirrored" if replicas > 1 else "none"
    given = [(family, {"strategy": strategy, **options}, stop) for family, options, stop in jobs]
    code = _ON_REPLICAS.format(tests=str(Path(__file__).parent.parent), replicas=replicas, folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text()), done.stderr


def _near(one: Any, other: Any, tolerance: float) -> None:
    """Weights within ``tolerance``, and epochs that showed the same."""
    for ours, theirs in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    assert one["history"].keys() == other["history"].keys()
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, other["history"][name], rtol=1e-4, atol=tolerance, err_msg=name)
    assert one["metrics"]["epochs"] == other["metrics"]["epochs"]


def test_three_replicas_train_as_one(users: str, tmp_path: Path) -> None:
    # tanh: at a ReLU's edge a last digit decides whether a gradient is there or not.
    plain = {"variant": "dnn", "epochs": 3, "activation": "tanh"}
    jobs: list[tuple[str, dict[str, Any], int | None]] = [
        # 307 samples in batches of 61, of three replicas: 21, 20, 20, and at last 1, 1, and none at all.
        ("mnist", {**plain, "batch_size": 61, "l2": 1e-3}, None),
        ("mnist", {**plain, "batch_size": 2, "epochs": 1, "optimizer": "sgd", "learning_rate": 0.01}, None),
        ("mnist", {**plain, "batch_size": 40, "early_stopping": 1, "learning_rate": 0.01, "epochs": 20}, None),
        ("user", {"variant": "user", "module": users, "batch_size": 61, "epochs": 2}, None),
        ("wide-deep", {"variant": "wide-deep", "batch_size": 500, "epochs": 1, "activation": "tanh"}, None),
    ]
    others: list[tuple[str, dict[str, Any], int | None]] = [
        ("mnist", {"variant": "cnn", "epochs": 1, "dropout": 0.2, "batch_norm": True, "augment": True}, None),
        ("mnist", {"variant": "dnn", "epochs": 2, "learning_rate": 1e30, "l2": 1e30}, None),
    ]
    one, _ = _on_replicas(1, tmp_path / "one", jobs)
    three, said = _on_replicas(3, tmp_path / "three", jobs + others)
    assert said.count("strategy mirrored: replicas 3") == len(jobs + others)
    random, diverging = three[-2:]
    assert np.isfinite(random["history"]["loss"]).all()
    assert "training: the loss became" in diverging
    for ours, theirs in zip(one, three[:-2], strict=True):
        _near(ours, theirs, 2e-5)
    assert 1 < one[2]["metrics"]["epochs"] < 20
    # The order of the sums is another one: had one replica been compared with itself, all would be equal.
    assert [ours["sha256"] for ours in one] != [theirs["sha256"] for theirs in three[:-2]]


def test_a_mirrored_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    jobs: list[dict[str, Any]] = [
        {"variant": "dnn", "epochs": 4, "dropout": 0.3, "noise": 0.1, "batch_size": 50},
        {"variant": "dnn", "epochs": 12, "early_stopping": 1, "learning_rate": 0.02, "batch_size": 61},
        {"variant": "linear", "epochs": 3},
        {"variant": "dnn", "epochs": 4, "batch_norm": True},
    ]
    # The third one was stopped when its last epoch was saved, and nothing else was left to do.
    stops = (2, 2, 3, 2)
    whole, _ = _on_replicas(2, tmp_path / "whole", [("mnist", o, None) for o in jobs])
    again, said = _on_replicas(2, tmp_path / "again", [("mnist", o, s) for o, s in zip(jobs, stops, strict=True)])
    assert said.count("training goes on after epoch 2") == 3
    assert said.count("training goes on after epoch 3") == 1
    for number, (ours, theirs) in enumerate(zip(whole, again, strict=True)):
        if number < 3:
            assert ours == theirs
        # Each replica has moving averages of its own, and only their mean is kept.
        else:
            _near(ours, theirs, 1e-5)
    assert whole[1]["metrics"]["epochs"] < 12
