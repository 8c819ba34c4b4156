"""Users' own tables and models through the command line: every mistake one line, every format the same model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import houses
from fakes.command import Done, call

from toolkit.store import sha256_file

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]

ROWS = houses.rows(200)
SPEC = houses.SPEC


@pytest.fixture
def edge_export(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Done]:
    """The command, in a folder with good data and a good spec."""
    monkeypatch.chdir(tmp_path)
    houses.write(Path("good.csv"), ROWS)
    Path("good.toml").write_text(SPEC)
    return lambda *words: call(monkeypatch, capfd, *words)


def train(edge_export: Callable[..., Done], *words: object) -> Done:
    return edge_export("train", "wide-deep", "--epochs", 1, "--run-dir", "run", *words)


def document(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


# ---- mistakes


def ragged() -> None:
    houses.write(Path("bad.csv"), [*ROWS[:3], "1,2", *ROWS[3:]])


def wrong_type() -> None:
    houses.write(Path("bad.csv"), [*ROWS[:3], "big,2,flat,,5", *ROWS[3:]])


def no_label_in_a_row() -> None:
    houses.write(Path("bad.csv"), [*ROWS, "1,2,flat,,"])


def nan_label() -> None:
    houses.write(Path("bad.csv"), [*ROWS, "1,2,flat,,nan"])


def without(column: str) -> Callable[[], None]:
    def made() -> None:
        houses.write(Path("bad.csv"), ROWS, houses.HEADER.replace(column, "other"))

    return made


def with_spec(old: str, new: str) -> Callable[[], None]:
    def made() -> None:
        assert old in SPEC
        Path("bad.toml").write_text(SPEC.replace(old, new))

    return made


def duplicate_words() -> None:
    Path("kinds.txt").write_text("flat\nhouse\nflat\n")
    with_spec("embedding = 2", 'embedding = 2\nvocabulary_file = "kinds.txt"')()


def corrupt_record() -> None:
    path = houses.records(houses.write(Path("bad.csv"), ROWS))
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(bytes(data))


def damaged_gzip() -> None:
    path = houses.write(Path("bad.csv.gz"), ROWS)
    path.write_bytes(path.read_bytes()[:-20])


def two_kinds() -> None:
    houses.records(houses.write(Path("bad.csv"), ROWS))


def constant_label() -> None:
    houses.write(Path("bad.csv"), [",".join([*row.split(",")[:-1], "7"]) for row in ROWS])


def one_class() -> None:
    houses.write(Path("bad.csv"), [",".join([*row.split(",")[:-1], "cheap"]) for row in ROWS])


def a_module() -> None:
    Path("m.py").write_text("def build_model(): pass")


def nothing() -> None:
    pass


BAD = ("--data", "bad.csv", "--spec", "good.toml")
BY_BAD_SPEC = ("--data", "good.csv", "--spec", "bad.toml")


@pytest.mark.parametrize(
    ("made", "words", "code", "said"),
    [
        (without("rooms"), BAD, 5, "bad.csv: lacks column 'rooms' (it has: sqft, other, kind"),
        (without("price"), BAD, 5, "bad.csv: lacks its label column 'price'"),
        (
            wrong_type,
            BAD,
            5,
            "bad.csv:5: column 'sqft' is 'big', not a number; correct the row, or leave such rows out",
        ),
        (ragged, BAD, 5, "bad.csv:5: has 2 fields, not 5"),
        (no_label_in_a_row, BAD, 5, f"bad.csv:{len(ROWS) + 2}: label 'price' is missing"),
        (nan_label, BAD, 5, f"bad.csv:{len(ROWS) + 2}: label 'price' is nan, not a finite number"),
        (lambda: Path("bad.csv").write_text(""), BAD, 5, "bad.csv: is empty; give a file with rows"),
        (lambda: houses.write(Path("bad.csv"), []), BAD, 5, "bad.csv: has no rows; give a file with rows"),
        (
            lambda: houses.write(Path("bad.csv"), ROWS[:1]),
            BAD,
            5,
            "has no rows left for a split (its 1 rows have 1 diff",
        ),
        (damaged_gzip, ("--data", "bad.csv.gz", "--spec", "good.toml"), 5, "bad.csv.gz: is damaged gzip"),
        (two_kinds, ("--data", "bad.*", "--spec", "good.toml"), 5, "bad.tfrecord: is a TFRecord, unlike bad.csv"),
        (
            corrupt_record,
            ("--data", "bad.tfrecord", "--spec", "good.toml"),
            5,
            "bad.tfrecord: the record at byte 12 is",
        ),
        (constant_label, BAD, 5, "label 'price': is always 7; give rows with different labels"),
        (one_class, BAD, 5, "label 'price': has one class only"),
        (one_class, ("--data", "bad.csv", "--label", "price"), 5, "label 'price': has one class only"),
        (duplicate_words, BY_BAD_SPEC, 5, "has 'flat' twice, in lines 1 and 3"),
        (with_spec('["kind", "sqft_band"]', '["kind", "kind_and_band"]'), BY_BAD_SPEC, 5, "crosses itself (kind_and_"),
        (with_spec('["kind", "sqft_band"]', '["kind", "sqft_bind"]'), BY_BAD_SPEC, 5, "did you mean sqft_band"),
        (with_spec('name = "rooms"', 'name = "romms"'), BY_BAD_SPEC, 5, "lacks column 'romms'"),
        (with_spec('label = "price"', 'label = "prize"'), BY_BAD_SPEC, 5, "lacks its label column 'prize'"),
        (with_spec("[[columns]]", "[columns"), BY_BAD_SPEC, 5, "bad.toml: is not TOML"),
        (nothing, BY_BAD_SPEC, 2, "bad.toml: there is no such file; check --spec"),
        (nothing, ("--data", "good.csv", "--spec", "good"), 2, "unknown spec 'good'; there are: adult, chicago"),
        (nothing, ("--data", "nowhere.csv", "--spec", "good.toml"), 2, "nowhere.csv: there is no such file"),
        (nothing, ("--data", "good.csv"), 2, "what is to be predicted?; give --label (it has: sqft, rooms"),
        (nothing, ("--data", "good.csv", "--label", "prize"), 2, "unknown label column 'prize'; did you mean price?"),
        (nothing, (*BAD, "--label", "price"), 2, "--spec names the label"),
        (
            nothing,
            ("--data", "good.csv", "--label", "price", "--bad-rows", "drop"),
            2,
            "unknown way with bad rows 'drop'",
        ),
        (nothing, ("--data", "good.csv", "--label", "price", "--dropout", "1"), 2, "dropout"),
        (nothing, ("--data", "nycc"), 2, "unknown data set 'nycc'; did you mean nyc?"),
        (a_module, ("--data", "good.csv", "--spec", "good.toml", "--module", "m.py"), 2, "takes no --module"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    edge_export: Callable[..., Done], made: Callable[[], None], words: tuple[str, ...], code: int, said: str
) -> None:
    made()
    done = train(edge_export, *words)
    assert done.code == code, done.err
    assert said in done.error
    assert done.out == ""
    assert not list(Path("run").rglob("*.keras")), "and no model"
    assert not Path("run/stages/train.json").exists()


def test_training_that_diverges_is_stopped_said_and_left_behind(edge_export: Callable[..., Done]) -> None:
    words = ("--data", "good.csv", "--spec", "good.toml", "--json")
    done = train(edge_export, *words, "--learning-rate", "1e30", "--optimizer", "sgd")
    assert done.code == 1, done.err
    assert "lower the learning rate (it was 1e+30)" in done.error
    assert document(train(edge_export, *words))["bundle"]["metrics"]["rmse"] > 0


def test_one_class_goes_into_the_same_folder_again(edge_export: Callable[..., Done]) -> None:
    one_class()
    assert train(edge_export, *BAD).code == 5
    houses.write(Path("bad.csv"), ROWS)
    assert train(edge_export, *BAD).code == 0


# ---- the same data, the same model


def test_csv_gzip_shards_and_records_train_the_same_weights(edge_export: Callable[..., Done]) -> None:
    patterns = [
        "good.csv",
        str(houses.write(Path("good.csv.gz"), ROWS)),
        houses.shards(Path("one"), ROWS, ["train.csv-00000-of-00002", "train.csv-00001-of-00002"]),
        houses.shards(Path("other"), ROWS[::-1], ["c.csv", "b.csv", "a.csv"]),
        str(houses.records(Path("good.csv"))),
    ]
    found = []
    for number, pattern in enumerate(patterns):
        words = ("--data", pattern, "--spec", "good.toml", "--run-dir", f"run-{number}")
        done = train(edge_export, *words)
        assert done.code == 0, done.err
        data = json.loads(Path(f"run-{number}/bundle/bundle.json").read_text())["data"]
        found.append((data["splits"], data["features"], sha256_file(Path(f"run-{number}/bundle/model.keras"))))
    assert all(one == found[0] for one in found[1:])


# ---- a run remembers its data


def census(path: Path, n: int = 300) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(n):
        hours, years = int(rng.integers(10, 60)), int(rng.integers(1, 16))
        job = rng.choice(["Sales", "Tech-support", "?"])
        lines.append(f"{hours}, {years}, {job}, {'>50K' if hours + 3 * years + rng.normal(0, 3) > 60 else '<=50K'}")
    houses.write(path, lines, '"hours-per-week","education-num","occupation","class"')


CENSUS = """label = "class"
[[columns]]
name = "hours-per-week"
kind = "numeric"
[[columns]]
name = "education-num"
kind = "bucketized"
buckets = 4
[[columns]]
name = "occupation"
kind = "vocabulary"
embedding = "auto"
[[columns]]
name = "both"
kind = "crossed"
of = ["occupation", "education-num"]
"""


def test_a_classifier_from_its_spec_alone_and_again_from_another_folder(
    edge_export: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    census(Path("adult.csv"))
    Path("adult.toml").write_text(CENSUS)
    words = (
        "export",
        "wide-deep",
        "--spec",
        "adult.toml",
        "--data",
        "adult.csv",
        "--epochs",
        20,
        "--recipe",
        "float32",
    )
    found = document(edge_export(*words, "--json"))
    assert found["bundle"]["metrics"]["accuracy"] > 0.7
    (comparison,) = found["comparisons"]
    assert (comparison["metric"], comparison["cloud"], comparison["difference"]) == (
        "accuracy",
        found["bundle"]["metrics"]["accuracy"],
        0,
    )
    run = Path(found["run_dir"]).resolve()
    bundle = json.loads((run / "bundle/bundle.json").read_text())
    assert bundle["data"]["classes"] == ["<=50K", ">50K"]
    assert {s["name"] for s in bundle["signature"]["inputs"]} == {"hours_per_week", "education_num", "occupation"}
    trained = (run / "bundle/model.keras").stat().st_mtime_ns

    done = edge_export(*words, "--json")
    assert document(done)["bundle"] == found["bundle"]
    assert "train wide-deep" not in done.err
    assert (run / "bundle/model.keras").stat().st_mtime_ns == trained

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = document(edge_export("convert", run, "--recipe", "dynamic_range", "--json"))
    assert [a["gate"]["passed"] for a in found["artifacts"] if a["recipe"] == "dynamic_range"] == [True]
    found = document(edge_export("validate", run, "--against", run, "--budget", 1, "--json"))
    assert {c["recipe"]: c["n"] for c in found["comparisons"]} == dict.fromkeys(
        ("float32", "dynamic_range"), comparison["n"]
    )
    assert {m["recipe"] for m in document(edge_export("bench", run, "--json"))["measurements"]} == {
        "float32",
        "dynamic_range",
    }

    monkeypatch.chdir(tmp_path)
    census(Path("adult.csv"), 301)
    done = edge_export("convert", run, "--recipe", "float16")
    assert done.code == 5
    assert "data set adult.csv: is no longer the data this model was trained on; restore the data" in done.error
    assert edge_export(*words, "--run-dir", run).code == 2
    Path("adult.csv").unlink()
    done = edge_export("convert", run, "--recipe", "float16")
    assert (done.code, "there is no such file" in done.error) == (2, True)


def test_a_table_without_a_spec(edge_export: Callable[..., Done]) -> None:
    lines = [f"{i},{row}" for i, row in enumerate(ROWS)]
    houses.write(Path("numbered.csv"), lines, f"id,{houses.HEADER}")
    done = train(edge_export, "--data", "numbered.csv", "--label", "price", "--json", "--model", "deep")
    found = document(done)
    assert found["warnings"][0] == "columns left out: id (numbers the rows); a --spec can use them"
    bundle = json.loads(Path("run/bundle/bundle.json").read_text())
    assert [s["name"] for s in bundle["signature"]["inputs"]] == ["heating_cost", "kind", "rooms", "sqft"]
    found = document(edge_export("convert", "run", "--recipe", "float32", "--json"))
    assert found["artifacts"][0]["gate"]["passed"]


def test_a_column_called_like_a_layer_is_said(edge_export: Callable[..., Done]) -> None:
    houses.write(Path("bad.csv"), ROWS, houses.HEADER.replace("sqft", "hidden_1"))
    done = train(edge_export, "--data", "bad.csv", "--label", "price", "--model", "deep")
    assert done.code == 5
    assert "column 'hidden_1': is the name of a layer, too; rename it" in done.error


def test_new_york_by_name(edge_export: Callable[..., Done]) -> None:
    found = document(edge_export("train", "wide-deep", "--data", "nyc", "--epochs", 2, "--json"))
    assert 1.0 < found["bundle"]["metrics"]["rmse"] < 2.0, "the noise alone is a dollar"
