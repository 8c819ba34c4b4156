"""``predict`` with real models: cloud and edge answer the same rows alike, and every mistake is one line."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done, call

import devices.runners
from converters import metadata, packing
from toolkit.features import (
    Bucketized,
    Crossed,
    FeatureSpec,
    Identity,
    Numeric,
    Vocabulary,
    dumps,
    encode,
)

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
ODD = 'a "quoted", word\nand a line, né 日本'
CLASSES = ["<=50K", 'né, "x"', ">50K"]
SPEC = FeatureSpec(
    label="fare",
    task="regression",
    columns=(
        Numeric(name="miles", mean=6.0, std=4.0),
        Bucketized(name="north", input="pickup-latitude", boundaries=(40.6, 40.7, 40.8), embedding=3),
        Vocabulary(name="payment", vocabulary=("Cash", ODD, "Card"), indicator=True),
        Identity(name="hour", size=24, default=23, embedding=2),
        Crossed(name="cell", of=("north", "hour")),
    ),
)
N = 40


def rides() -> dict[str, list[Any]]:
    rng = np.random.default_rng(3)
    columns: dict[str, list[Any]] = {
        "miles": np.round(rng.gamma(2, 3, N), 3).tolist(),
        "pickup-latitude": np.round(rng.normal(40.7, 0.1, N), 5).tolist(),
        "payment": [("Cash", ODD, "Card", "Dogecoin", "")[i] for i in rng.integers(0, 5, N)],
        "hour": rng.integers(0, 30, N).tolist(),
    }
    for name in ("miles", "pickup-latitude", "hour"):
        columns[name][int(rng.integers(0, N))] = None
    return columns


RIDES = rides()


def build(spec: FeatureSpec, classes: list[str]) -> Any:
    """A wide-and-deep model whose every weight counts, as it comes from its initialisers."""
    import tf_keras

    from toolkit.features.layer import feature_layer, keras_inputs

    tf_keras.utils.set_random_seed(2)
    inputs, units = keras_inputs(spec), max(1, len(classes))
    parts = feature_layer(spec, wide_units=units)(inputs)
    hidden = tf_keras.layers.Dense(16, activation="relu")(parts["deep"])
    total = tf_keras.layers.Add(name="fare")([tf_keras.layers.Dense(units)(hidden), parts["wide"]])
    model = tf_keras.Model(inputs, tf_keras.layers.Softmax(name="probabilities")(total) if classes else total)
    wide = model.get_layer("features").wide_variables[0]
    wide.assign(np.random.default_rng(4).normal(size=wide.shape))
    return model


def a_run(folder: Path, spec: FeatureSpec, classes: list[str]) -> Path:
    """A run with a bundle and a gated float32 artifact, as training and conversion leave it."""
    from converters import bundle, convert
    from toolkit.progress import Progress
    from toolkit.store import Run

    run, quiet = Run(folder), Progress(quiet=True)
    keras_file = run.path("bundle", "model.keras")
    keras_file.parent.mkdir()
    build(spec, classes).save(keras_file)
    data = {"name": folder.name, "features": dumps(spec), **({"classes": classes} if classes else {})}
    made = bundle.create(run, name="rides", keras_file=keras_file, keras_version=2, seed=2, data=data, progress=quiet)
    artifacts = convert.convert(convert.Conversion(run=run, bundle=made, progress=quiet), ["float32"])
    assert artifacts[0].gate.passed
    return folder


@dataclasses.dataclass(frozen=True)
class Runs:
    """Two runs, and what the cloud models answer in TensorFlow itself, ``[N, units]``."""

    taxi: Path
    income: Path
    fares: np.ndarray
    chances: np.ndarray

    def edge(self, name: str = "taxi") -> Path:
        return getattr(self, name) / "artifacts" / "float32.tflite"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's and Keras's own
        from converters import saved_model

        folder = tmp_path_factory.mktemp("runs")
        income = dataclasses.replace(SPEC, label="income", task="classification")
        made = [a_run(folder / "taxi", SPEC, []), a_run(folder / "income", income, CLASSES)]
        answers = []
        for run in made:
            [saved] = (run / "bundle" / "saved_model").iterdir()
            answers.append(next(iter(saved_model.Loaded(saved)(encode(SPEC, RIDES)).values())))
        yield Runs(*made, *answers)


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Done]:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: call(monkeypatch, capfd, "predict", *words)


def as_csv(path: Path) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["fare", *RIDES])
        writer.writerows([7.5, *row] for row in zip(*RIDES.values(), strict=True))
    return path


def as_lines(path: Path) -> Path:
    rows = (dict(zip(RIDES, row, strict=True)) for row in zip(*RIDES.values(), strict=True))
    path.write_text("".join(json.dumps({**row, "fare": 7.5}, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def as_npz(path: Path) -> Path:
    columns = {k: np.array(v if k == "payment" else [np.nan if x is None else x for x in v]) for k, v in RIDES.items()}
    np.savez(path, **columns)
    return path


def answered(done: Done) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    assert done.err == ""
    return [json.loads(line) for line in done.out.splitlines()]


slow = pytest.mark.slow


@slow
def test_cloud_and_edge_answer_alike_from_every_kind_of_file(
    predict: Callable[..., Done], runs: Runs, tmp_path: Path
) -> None:
    from toolkit import tables
    from toolkit.progress import Progress

    files = [as_csv(tmp_path / "r.csv"), as_lines(tmp_path / "r.jsonl"), as_npz(tmp_path / "r.npz")]
    tables.convert(files[0], tmp_path / "r.tfrecord", progress=Progress(quiet=True))
    edge = [predict(runs.edge(), "--input", file) for file in [*files, tmp_path / "r.tfrecord"]]
    cloud = predict(runs.taxi, "--input", files[0])
    assert len({done.out for done in edge}) == 1
    assert cloud.out == predict(runs.taxi, "--input", files[1]).out
    left, right = answered(cloud), answered(edge[0])
    assert [row["row"] for row in left] == [row["row"] for row in right] == list(range(1, N + 1))
    assert {tuple(row) for row in left + right} == {("row", "prediction")}
    for found in (left, right):
        values = np.array([row["prediction"] for row in found])
        assert np.allclose(values, runs.fares[:, 0], rtol=1e-4, atol=1e-5)
    assert np.std(runs.fares) > 0.5, "rows that all have one answer prove nothing"


@slow
def test_classes_have_names_on_both_sides(predict: Callable[..., Done], runs: Runs, tmp_path: Path) -> None:
    rows = as_lines(tmp_path / "r.jsonl")
    for model in (runs.income, runs.edge("income")):
        found = answered(predict(model, "--input", rows))
        chances = np.array([[row["probabilities"][name] for name in CLASSES] for row in found])
        assert np.allclose(chances, runs.chances, rtol=1e-4, atol=1e-6)
        assert [row["prediction"] for row in found] == [CLASSES[i] for i in runs.chances.argmax(axis=1)]
        assert {tuple(row) for row in found} == {("row", "prediction", "probabilities")}
    assert len({row["prediction"] for row in found}) > 1


@slow
def test_small_blocks_give_the_same_answers(
    predict: Callable[..., Done], runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.prediction import lines, rows

    file = as_lines(tmp_path / "r.jsonl")
    whole = predict(runs.edge(), "--input", file).out
    monkeypatch.setattr(lines, "ROWS", 8)
    monkeypatch.setattr(rows, "ROWS", 16)
    assert predict(runs.edge(), "--input", file).out == whole


@slow
def test_stdin_is_json_lines(
    predict: Callable[..., Done], runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = as_lines(tmp_path / "r.jsonl")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert predict(runs.edge(), "--input", "-").out == predict(runs.edge(), "--input", file).out


@slow
def test_output_to_a_file_and_one_document(predict: Callable[..., Done], runs: Runs, tmp_path: Path) -> None:
    file = as_csv(tmp_path / "r.csv")
    plain = predict(runs.edge("income"), "--input", file)
    done = predict(runs.edge("income"), "--input", file, "--output", "new/a.jsonl")
    assert (done.code, done.out) == (0, f"new/a.jsonl: {N} answers\n")
    assert (tmp_path / "new" / "a.jsonl").read_text() == plain.out
    assert predict(runs.edge("income"), "--input", file, "--output", "a.csv").code == 0
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    for text, row in zip(found, answered(plain), strict=True):
        assert (int(text["row"]), text["prediction"]) == (row["row"], row["prediction"])
        assert {n: float(text[f"probabilities.{n}"]) for n in CLASSES} == row["probabilities"]
    document = json.loads(predict(runs.edge("income"), "--input", file, "--json").out)
    assert document["predictions"] == answered(plain)
    assert {k: document[k] for k in ("schema_version", "n", "target", "bad_rows", "warnings")} == {
        "schema_version": 1,
        "n": N,
        "target": "cpu",
        "bad_rows": 0,
        "warnings": [],
    }
    beside = json.loads(predict(runs.edge("income"), "--input", file, "--json", "--output", "b.jsonl").out)
    assert (beside["n"], beside["output"], beside["predictions"]) == (N, "b.jsonl", [])
    assert (tmp_path / "b.jsonl").read_text() == plain.out


@slow
@pytest.mark.parametrize("words", [("--output", "a.csv"), ("--json",)])
def test_a_bad_row_far_down_leaves_nothing(
    predict: Callable[..., Done], runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    from toolkit.prediction import lines, rows

    monkeypatch.setattr(lines, "ROWS", 8)
    monkeypatch.setattr(rows, "ROWS", 8)
    file = as_lines(tmp_path / "r.jsonl")
    with open(file, "a", encoding="utf-8") as stream:
        stream.write("{}\n")
    (tmp_path / "a.csv").write_text("mine")
    done = predict(runs.edge(), "--input", file, *words)
    assert done.code == 5
    assert f"r.jsonl:{N + 1}: lacks 'miles'" in done.error
    assert done.out == ""
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "r.jsonl"]
    left_out = predict(runs.edge(), "--input", file, *words, "--bad-rows", "skip")
    assert left_out.code == 0
    assert f"warning: left out: {file}:{N + 1}: lacks 'miles'" in left_out.err
    if words == ("--json",):
        document = json.loads(left_out.out)
        assert (document["n"], document["bad_rows"], len(document["warnings"])) == (N, 1, 1)
    else:
        assert left_out.out == f"a.csv: {N} answers; left out as malformed: 1\n"


@slow
def test_a_file_away_from_its_run(predict: Callable[..., Done], runs: Runs, tmp_path: Path) -> None:
    rows = as_csv(tmp_path / "r.csv")
    expected = predict(runs.edge("income"), "--input", rows).out
    shutil.copy(runs.edge("income"), tmp_path / "x.tflite")
    assert predict("x.tflite", "--input", rows).out == expected, "its contract is in the file"
    # Another tool may have dropped what it did not know.
    model = packing.unpack(runs.edge("income").read_bytes())
    model.metadata = [m for m in model.metadata if m.name != metadata.NAME.encode()]
    (tmp_path / "x.tflite").write_bytes(packing.pack(model))
    for file in (rows, as_lines(tmp_path / "r.jsonl")):
        alone = predict("x.tflite", "--input", file)
        assert alone.code == 2
        assert "'payment' as uint8" in alone.error
        assert "--spec" in alone.error
    bundle = runs.income / "bundle" / "bundle.json"
    for spec in (bundle, runs.income, runs.edge("income").with_suffix(".json")):
        assert predict("x.tflite", "--input", rows, "--spec", spec).out == expected, spec
    (tmp_path / "spec.json").write_text(dumps(dataclasses.replace(SPEC, task="classification")))
    found = answered(predict("x.tflite", "--input", rows, "--spec", "spec.json"))
    assert {type(row["prediction"]) for row in found} == {int}, "a spec has no names of classes"
    shutil.copy(runs.edge("income"), tmp_path / "x.tflite")
    shutil.copy(runs.edge("income").with_suffix(".json"), tmp_path / "x.json")
    assert predict("x.tflite", "--input", rows).out == expected, "its record beside it is enough"
    shutil.copy(runs.edge("taxi"), tmp_path / "x.tflite")
    mixed_up = predict("x.tflite", "--input", rows)
    assert mixed_up.code == 5
    assert "sha256" in mixed_up.error


@slow
def test_a_saved_model_inside_and_outside_its_run(predict: Callable[..., Done], runs: Runs, tmp_path: Path) -> None:
    rows = as_csv(tmp_path / "r.csv")
    [saved] = (runs.taxi / "bundle" / "saved_model").iterdir()
    expected = predict(runs.taxi, "--input", rows).out
    assert predict(saved, "--input", rows).out == expected
    shutil.copytree(saved, tmp_path / "saved")
    assert predict("saved", "--input", rows, "--spec", runs.taxi / "bundle" / "bundle.json").out == expected
    alone = predict("saved", "--input", rows)
    assert alone.code == 2
    assert "--spec" in alone.error
    narrower = dataclasses.replace(SPEC, columns=tuple(c for c in SPEC.columns if c.name != "miles"))
    (tmp_path / "wrong.json").write_text(dumps(narrower))
    for model in (runs.taxi, runs.edge()):
        done = predict(model, "--input", rows, "--spec", "wrong.json")
        assert done.code == 5
        assert "takes input 'miles' as float32 [N], and the feature spec does not make it" in done.error


@slow
def test_images(predict: Callable[..., Done], tiny_models: dict[str, Any], tmp_path: Path) -> None:
    images = np.random.default_rng(1).random((9, 28, 28))
    np.savez(tmp_path / "i.npz", image=images, label=np.arange(9))
    text = "".join(json.dumps({"image": image.tolist(), "label": 3}) + "\n" for image in images)
    (tmp_path / "i.jsonl").write_text(text)
    dense = tiny_models["dense"]
    cloud = answered(predict(dense.saved_model, "--input", "i.npz"))
    edge = answered(predict(dense.float32, "--input", "i.npz"))
    assert edge == answered(predict(dense.float32, "--input", "i.jsonl"))
    whole = answered(predict(dense.int8, "--input", "i.npz"))
    for found, tolerance in ((edge, 1e-5), (whole, 0.05)):
        for left, right in zip(cloud, found, strict=True):
            assert list(left["probabilities"]) == list(right["probabilities"]) == list(map(str, range(10)))
            chances = [np.array(list(side["probabilities"].values())) for side in (left, right)]
            assert np.allclose(*chances, atol=tolerance)
            assert right["prediction"] == int(chances[1].argmax())
    refused = predict(dense.float32, "--input", as_csv(tmp_path / "r.csv"))
    assert refused.code == 2
    assert "'image' as [N, 28, 28], which no table holds" in refused.error


@slow
@pytest.mark.parametrize("key", ["single-k2", "single-k3-h5"])
def test_a_keras_file(predict: Callable[..., Done], keras_files: dict[str, Any], tmp_path: Path, key: str) -> None:
    saved = keras_files[key]
    np.savez(tmp_path / "i.npz", **saved.inputs)
    done = predict(saved.path, "--input", "i.npz", "--run-dir", "run")
    assert done.code == 0, done.err
    found = [list(json.loads(line)["probabilities"].values()) for line in done.out.splitlines()]
    assert np.allclose(found, saved.outputs[0], rtol=1e-4, atol=1e-6)


@slow
def test_the_artifact_of_another_model_is_not_answered_with_this_runs_spec(
    predict: Callable[..., Done], runs: Runs, tiny_models: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(runs.taxi, tmp_path / "run")
    shutil.copy(tiny_models["dense"].float32, tmp_path / "run" / "artifacts" / "other.tflite")
    done = predict("run/artifacts/other.tflite", "--input", as_csv(tmp_path / "r.csv"))
    assert done.code == 5
    assert "takes input 'image'" in done.error


@slow
def test_targets(predict: Callable[..., Done], runs: Runs, tmp_path: Path) -> None:
    rows = as_lines(tmp_path / "r.jsonl")
    plain = predict(runs.edge(), "--input", rows, "--target", "cpu:xnnpack=off", "--threads", "2")
    document = json.loads(predict(runs.edge(), "--input", rows, "--target", "cpu:xnnpack=off", "--json").out)
    assert document["target"] == "cpu:xnnpack=off"
    assert [r["prediction"] for r in answered(plain)] == pytest.approx(runs.fares[:, 0].tolist(), rel=1e-4, abs=1e-5)
    done = predict(runs.taxi, "--input", rows, "--target", "cpu")
    assert done.code == 2
    assert "float32.tflite" in done.error


@slow
def test_a_run_is_only_read(predict: Callable[..., Done], runs: Runs, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in runs.taxi.rglob("*")}
    assert predict(runs.taxi, "--input", as_csv(tmp_path / "r.csv")).code == 0
    assert {p: p.stat().st_mtime_ns for p in runs.taxi.rglob("*")} == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]
