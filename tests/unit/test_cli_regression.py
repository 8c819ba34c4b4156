"""A model that answers with one number, from the Keras file to the verdict: rmse, its budget, and labels as values."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done

from toolkit.records import ModelBundle, from_json
from toolkit.store import read_json

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]

SLOPES = np.array([3, -2, 1, 1, -1, 1, -1, 1, -1, 1], dtype=np.float32)


def rows(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.uniform(-1, 1, (n, 10)).astype(np.float32)
    return features, 5 + features @ SLOPES + 0.3 * rng.standard_normal(n)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras file that knows the slopes, its data, and its artifacts under ``run``."""
    made = tmp_path_factory.mktemp("regression")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, which are not ours to mend
        import tf_keras

        features = tf_keras.Input((10,), name="features")
        model = tf_keras.Model(features, tf_keras.layers.Dense(1, name="price")(features), name="line")
        model.set_weights([SLOPES[:, None], np.array([5.0], np.float32)])
        model.save(made / "line.keras")
    for name, seed, n in (("calibration", 1, 300), ("train", 2, 600), ("eval", 3, 1500)):
        x, y = rows(seed, n)
        np.savez(made / f"{name}.npz", features=x, label=y)
    return made


@pytest.fixture
def workplace(folder: Path) -> Path:
    return folder


def test_convert_and_validate_a_regressor(edge_export: Callable[..., Done], folder: Path) -> None:
    done = edge_export(
        "convert", "line.keras", "--run-dir", "run", "--json", "--recipe", "float32", "--recipe", "int8",
        "--recipe", "pruned_int8", "--calibration", "calibration.npz", "--train-data", "train.npz",
    )  # fmt: skip
    assert done.code == 0, done.err
    tolerances = [c["detail"] for a in json.loads(done.out)["artifacts"] for c in a["gate"]["checks"]]
    assert not any("top-1" in detail for detail in tolerances)
    words = ("validate", "run", "--against", "line.keras", "--data", "eval.npz", "--json", "--budget")
    done = edge_export(*words, "0.005")
    found = {c["recipe"]: c for c in json.loads(done.out)["comparisons"]}
    x, y = rows(3, 1500)
    for row in found.values():
        assert (row["metric"], row["unit"], row["budget_kind"], row["n"]) == ("rmse", "label unit", "relative", 1500)
        assert row["cloud"] == pytest.approx(float(np.sqrt(np.mean((5 + x @ SLOPES - y) ** 2))), rel=1e-4)
        assert row["interval"][0] <= row["difference"] <= row["interval"][1]
        assert row["data"]["mae"]["edge"] > 0
        assert row["agreement"] is None
    assert found["float32"]["verdict"] == "kept"
    assert abs(found["float32"]["difference"]) < 1e-5
    # Of ten slopes the two largest are left; eight of 1 are error now: 8 / 3 of variance, and 0.3² of noise.
    assert found["pruned_int8"]["verdict"] == "broken"
    assert found["pruned_int8"]["edge"] == pytest.approx(1.66, rel=0.1)
    worst = found["pruned_int8"]["worst"][0]
    assert worst["label"] == pytest.approx(y[worst["index"]])
    assert abs(worst["edge"] - worst["cloud"]) == pytest.approx(worst["max_abs"], rel=1e-5)
    assert done.code == 1
    assert "failed: pruned_int8 on cpu: broken" in done.err
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "Size and rmse" in page
    assert "McNemar" not in page


def test_labels_that_are_values_are_no_classes(edge_export: Callable[..., Done], keras_files: dict[str, Any]) -> None:
    saved = keras_files["single-k2"]
    (image,) = saved.inputs.values()
    np.savez("values.npz", image=image, label=np.linspace(0.5, 2.5, len(image)))
    done = edge_export("convert", saved.path, "--recipe", "float32", "--run-dir", "classes", "--json")
    assert done.code == 0, done.err
    assert from_json(ModelBundle, read_json(Path("classes/bundle/bundle.json"))).signature.outputs[0].shape[-1] != 1
    done = edge_export("validate", "classes", "--against", saved.path, "--data", "values.npz")
    assert done.code == 5
    assert "values.npz: has labels of shape" in done.error
    assert "class numbers" in done.error
