"""The commands on real files, from a user's folder: what they print for programs, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done

from toolkit.store import sha256_file

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]

NUMBER, TEXT, FLAG, PAIR = (int, float), (str,), (bool,), (list,)
CONTRACT: dict[str, dict[str, tuple[type, ...]]] = {
    "artifacts": {
        "recipe": TEXT, "path": TEXT, "sha256": TEXT, "size_bytes": NUMBER, "gzip_bytes": NUMBER, "ops": (dict,),
        "runtime_floor": (dict,), "gate": (dict,),
    },
    "measurements": {
        "recipe": TEXT, "target": TEXT, "median_us": NUMBER, "p90_us": NUMBER, "interval_us": PAIR, "init_us": NUMBER,
        "first_us": NUMBER, "samples": NUMBER, "processes": NUMBER, "delegated_ops": PAIR, "verdict": TEXT,
        "reasons": PAIR, "emulated": FLAG,
    },
    "comparisons": {
        "recipe": TEXT, "target": TEXT, "against": TEXT, "metric": TEXT, "cloud": NUMBER, "edge": NUMBER,
        "difference": NUMBER, "interval": PAIR, "budget": NUMBER, "passed": FLAG, "agreement": NUMBER,
        "max_abs_error": NUMBER, "psnr_db": NUMBER, "n": NUMBER,
    },
}  # fmt: skip


def document(done: Done, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The one JSON document on stdout, with every promised field in the promised type.

    ``without`` names fields that may be ``null`` here: a number that could not be had.
    """
    found = json.loads(done.out)
    assert found["schema_version"] == 1
    assert isinstance(found["warnings"], list)
    assert {"run_dir", "model", "bundle"} <= set(found)
    for kind, fields in CONTRACT.items():
        for row in found[kind]:
            for field, types in fields.items():
                value = row[field]
                fits = isinstance(value, types) and (bool in types) == isinstance(value, bool)
                assert fits or (value is None and field in without), f"{kind}: {field} is {value!r}"
    for row in found["artifacts"]:
        assert all({"name", "passed", "detail"} <= set(check) for check in row["gate"]["checks"])
        assert sha256_file(Path(found["run_dir"]) / row["path"]) == row["sha256"], "relative to run_dir"
    return found


@pytest.fixture
def samples(tiny_models: dict[str, Any], tmp_path: Path) -> dict[str, Path]:
    """Samples for the tiny models: with the labels that the model itself gives, with random ones, and without."""
    from converters.saved_model import Loaded

    images = np.random.default_rng(3).random((400, 28, 28), dtype=np.float32)
    labels = Loaded(tiny_models["dense"].saved_model)({"image": images})["probabilities"].argmax(axis=1)
    paths = {name: tmp_path / f"{name}.npz" for name in ("labelled", "bare")}
    np.savez(paths["labelled"], image=images, label=labels)
    np.savez(paths["bare"], image=images)
    return paths


@pytest.mark.parametrize("key", ["single-k3", "single-k2", "single-k3-h5"])
def test_convert_a_keras_file(
    edge_export: Callable[..., Done], keras_files: dict[str, Any], tmp_path: Path, key: str
) -> None:
    np.savez(tmp_path / "data.npz", image=np.random.default_rng(0).random((64, 6, 5), dtype=np.float32))
    words = ("convert", keras_files[key].path, "--recipe", "int8", "--recipe", "float32", "--calibration", "data.npz")
    done = edge_export(*words, "--json")
    assert done.code == 0, done.err
    found = document(done)
    assert [a["recipe"] for a in found["artifacts"]] == ["float32", "int8"]
    assert found["artifacts"][0]["ops"]["FULLY_CONNECTED"] == 2
    assert found["measurements"] == found["comparisons"] == []
    assert found["model"] == "single"
    assert (tmp_path / found["run_dir"] / found["bundle"]["saved_model"] / "saved_model.pb").exists()
    # For people: the same, from what is done already, without JSON.
    plain = edge_export(*words)
    assert plain.code == 0
    assert "int8" in plain.out
    assert found["run_dir"] in plain.out
    assert "convert int8 ..." not in plain.err, "it was converted again"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--recipe", "int8"), 2, "--calibration"),
        (("--recipe", "pruned_int8", "--calibration", "data.npz"), 2, "--train-data"),
        (("--recipe", "int8", "--calibration", "none.npz"), 2, "none.npz"),
        (("--recipe", "int8", "--calibration", "wrong.npz"), 5, "'image'"),
    ],
)
def test_convert_says_what_a_recipe_needs(
    edge_export: Callable[..., Done],
    keras_files: dict[str, Any],
    tmp_path: Path,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    np.savez(tmp_path / "data.npz", image=np.zeros((8, 6, 5), np.float32))
    np.savez(tmp_path / "wrong.npz", pixels=np.zeros((8, 6, 5), np.float32))
    done = edge_export("convert", keras_files["single-k3"].path, *words)
    assert done.code == code, done.err
    assert said in done.error
    assert not list(tmp_path.rglob("*.tflite"))


def test_convert_all_leaves_out_what_cannot_be(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    done = edge_export("convert", tiny_models["dense"].saved_model, "--all", "--json")
    assert done.code == 0, done.err
    found = document(done)
    made = {a["recipe"] for a in found["artifacts"]}
    assert made == {"float32", "float16", "dynamic_range", "dynamic_int4", "weight_only_int8"}
    assert any("mixed_int4_int8 left out" in line for line in found["warnings"])
    assert any("int8" in line and "--calibration" in line for line in found["warnings"])
    assert any("pruned_int8" in line and "a SavedModel" in line for line in found["warnings"])


def test_bench_files_from_anywhere(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    models = tiny_models["dense"]
    done = edge_export("bench", models.float32, models.int8, "--target", "cpu", "--json")
    assert done.code == 0, done.err
    found = document(done)
    assert [m["recipe"] for m in found["measurements"]] == ["float32", "int8"]
    for row in found["measurements"]:
        assert row["target"] == "cpu"
        low, high = row["interval_us"]
        assert 0 < low <= row["median_us"] <= high
        assert row["samples"] >= 64
        assert row["processes"] == 2
        assert row["verdict"] in ("valid", "unstable", "throttled")
    assert found["artifacts"] == found["comparisons"] == []


def test_bench_needs_unique_names(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    done = edge_export("bench", tiny_models["dense"].int8, tiny_models["conv"].int8, "--json")
    assert done.code == 0, done.err
    assert [m["recipe"] for m in document(done)["measurements"]] == ["int8-1", "int8-2"]


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_validate_against_a_saved_model(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any], samples: dict[str, Path], form: str
) -> None:
    models = tiny_models["dense"]
    edge = getattr(models, form)
    words = ("validate", edge, "--against", models.saved_model, "--data", samples["labelled"], "--json", "--budget")
    done = edge_export(*words, "0.2")
    (row,) = document(done)["comparisons"]
    assert (done.code, row["passed"]) == (0, True), done.err
    assert (row["metric"], row["cloud"], row["n"], row["budget"]) == ("accuracy", 1.0, 400, 0.2)
    assert row["edge"] == pytest.approx(1 + row["difference"])
    assert row["agreement"] == row["edge"], "the labels are what the cloud answers"
    low, high = row["interval"]
    assert low <= row["difference"] <= high
    assert row["against"] == "saved-model"
    strict = edge_export(*words, "0.0001")  # 400 samples cannot show so little
    assert strict.code == 1
    assert "failed: " in strict.err
    assert document(strict)["comparisons"][0]["passed"] is False


def test_validate_without_labels_is_parity(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any], samples: dict[str, Path]
) -> None:
    models = tiny_models["dense"]
    without = ("cloud", "edge", "difference", "interval", "budget")
    good = edge_export("validate", models.int8, "--against", models.float32, "--data", samples["bare"], "--json")
    (row,) = document(good, without=without)["comparisons"]
    assert (row["metric"], row["against"]) == ("parity", "cpu")
    assert row["cloud"] is row["difference"] is row["budget"] is None
    assert row["psnr_db"] > 25
    assert good.code == (0 if row["passed"] else 1)
    bad = edge_export(
        "validate", models.int8, "--against", tiny_models["conv"].float32, "--data", samples["bare"], "--json"
    )
    assert bad.code == 1
    assert document(bad, without=without)["comparisons"][0]["passed"] is False


def test_validate_against_itself_is_exact_and_still_json(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any], samples: dict[str, Path]
) -> None:
    path = tiny_models["dense"].float32
    done = edge_export("validate", path, "--against", path, "--data", samples["labelled"], "--budget", "0.1", "--json")
    assert done.code == 0, done.err
    (row,) = document(done, without=("psnr_db",))["comparisons"]  # infinite: no number in JSON
    assert (row["max_abs_error"], row["agreement"], row["difference"]) == (0, 1, 0)


@pytest.mark.parametrize("form", ["k3", "k2"])
def test_validate_against_the_keras_file_whose_names_nobody_chose(
    edge_export: Callable[..., Done], keras_files: dict[str, Any], tmp_path: Path, form: str
) -> None:
    import tensorflow as tf

    from converters import keras_models
    from toolkit import flatbuffer

    saved = keras_files[f"anonymous-{form}"]
    model = keras_models.load(saved.path, saved.keras_version)

    def serve(given: Any) -> dict[str, Any]:
        return {"output_0": model(given, training=False)}

    signature = [tf.TensorSpec([None, 4], tf.float32, name="keras_tensor")]
    if form == "k3":
        from keras.export import ExportArchive

        archive = ExportArchive()
        archive.track(model)
        archive.add_endpoint("serving_default", serve, input_signature=signature)
        archive.write_out(str(tmp_path / "m"), verbose=False)
    else:
        function = tf.function(serve, input_signature=signature)
        tf.saved_model.save(model, str(tmp_path / "m"), signatures={"serving_default": function})
    edge = tmp_path / "edge.tflite"
    edge.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m")).convert())
    made = flatbuffer.read(edge).signature()
    assert (made.inputs[0].name, made.outputs[0].name) == ("keras_tensor", "output_0")
    np.savez(tmp_path / "eval.npz", keras_tensor=np.random.default_rng(0).random((40, 4), np.float32))
    done = edge_export("validate", edge, "--against", saved.path, "--data", "eval.npz", "--json")
    assert done.code == 0, done.err
    (row,) = document(done, without=("cloud", "edge", "difference", "interval", "budget", "psnr_db"))["comparisons"]
    assert row["passed"]
    assert row["max_abs_error"] < 1e-5
    assert row["n"] == 40


def test_validate_several_inputs_by_name(
    edge_export: Callable[..., Done], keras_files: dict[str, Any], tmp_path: Path
) -> None:
    saved = keras_files["dictionary-k3"]
    converted = edge_export("convert", saved.path, "--recipe", "float32", "--run-dir", "run", "--json")
    assert converted.code == 0, converted.err
    np.savez(tmp_path / "eval.npz", **{name: saved.inputs[name] for name in reversed(saved.inputs)})
    edge = tmp_path / "run/artifacts/float32.tflite"
    done = edge_export("validate", edge, "--against", saved.path, "--data", "eval.npz", "--json")
    assert done.code == 0, done.err
    single = keras_files["single-k3"].path
    other = edge_export("validate", edge, "--against", single, "--data", "eval.npz", "--json")
    assert other.code == 5
    assert "the model takes: image" in other.error


def test_a_run_from_conversion_to_report(edge_export: Callable[..., Done], converted: Any, tmp_path: Path) -> None:
    root = converted.job.run.root
    listed = edge_export("recipes", "list", "--model", root, "--json")
    assert listed.code == 0, listed.err
    rows = {row["name"]: row for row in json.loads(listed.out)["recipes"]}
    # All are listed, also those that this model of dense layers has nothing for.
    assert set(converted.artifacts) < set(rows)
    assert "the model has none" in rows["mixed_int4_int8"]["why"]
    assert rows["float32"]["legal"] is True
    assert rows["float32"]["why"] is None
    assert rows["int8"]["legal"] is False, "this bundle names no data set"
    assert "--calibration" in rows["int8"]["why"]
    reported = edge_export("report", root, "--json")
    assert reported.code == 0, reported.err
    found = document(reported)
    assert {a["recipe"] for a in found["artifacts"]} == set(converted.artifacts)
    page = (root / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in converted.artifacts)
    plain = edge_export("report", root)
    assert plain.code == 0
    assert str(root / "report.html") in plain.out


def test_inspect(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    path = tiny_models["conv"].int8
    done = edge_export("inspect", path, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["schema_version"] == 1
    assert found["ops"]["CONV_2D"] == 1
    assert (found["size_bytes"], found["sha256"]) == (path.stat().st_size, sha256_file(path))
    assert found["macs"] == 26 * 26 * 8 * 9 + 13 * 13 * 8 * 10
    assert [t["name"] for t in found["inputs"] + found["outputs"]] == ["image", "probabilities"]
    kernel = max(found["tensors"], key=lambda t: t["bytes"])
    assert (kernel["dtype"], kernel["shape"], kernel["channels"]) == ("int8", [10, 13 * 13 * 8], 10)
    plain = edge_export("inspect", path)
    assert "1 CONV_2D" in plain.out


def test_doctor(edge_export: Callable[..., Done]) -> None:
    done = edge_export("doctor", "--json")
    found = json.loads(done.out)
    assert done.code == (0 if found["ok"] else 3)
    rows = {row["runtime"]: row for row in found["runtimes"]}
    assert rows["ai-edge-litert"]["works"] is True
    assert rows["ai-edge-litert"]["version"].startswith("2.")
    assert set(rows) == {"ai-edge-litert", "tflite-runtime"}
    for row in rows.values():
        assert row["works"] or (row["why"] and row["remedy"])
    assert found["packages"]["tensorflow"]
    assert {t["name"] for t in found["targets"]} >= {"cpu", "saved-model"}


def test_stdout_is_json_even_where_native_code_talks(tiny_models: dict[str, Any], tmp_path: Path) -> None:
    """In a process of its own: what TensorFlow prints while it is imported must not reach stdout either."""
    code = "from toolkit.cli import main; main()"
    words = ["convert", str(tiny_models["conv"].saved_model), "--recipe", "dynamic_range", "--json"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifacts"][0]["recipe"] == "dynamic_range"
    said = done.stderr.strip().splitlines()
    assert all(line.startswith(("read SavedModel", "convert dynamic_range", "gate dynamic_range")) for line in said), (
        said
    )
