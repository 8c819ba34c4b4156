"""A file of the user's own as a data set: every format the same, columns of every kind, specs that are inferred."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import houses

from toolkit.datasets import _inferred
from toolkit.datasets._chosen import Chosen
from toolkit.datasets._dataset import Dataset
from toolkit.errors import BrokenInput, EdgeExportError, UsageError
from toolkit.features import loads
from toolkit.progress import Progress


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def opened(spec: str | None = None, **choice: Any) -> tuple[Dataset, list[str]]:
    """The data set, and the warnings on the way."""
    if spec is not None:
        Path("spec.toml").write_text(spec)
        choice["spec"] = "spec.toml"
    progress = Progress(stream=io.StringIO())
    return Chosen(**choice).open(progress), progress.warnings


def columns(*declared: str, label: str = "y", task: str | None = None) -> str:
    top = f'label = "{label}"\n' + (f'task = "{task}"\n' if task else "")
    return top + "".join(f"[[columns]]\n{one}\n" for one in declared)


def a_table(*lines: str, name: str = "t.csv") -> str:
    Path(name).write_text("\n".join(lines) + "\n")
    return name


def many(n: int, line: str) -> list[str]:
    return [line.format(i=i, half=i / 2, third=i % 3, odd=i % 2) for i in range(n)]


# ---- one table, whatever it lies in


def same(one: Dataset, other: Dataset) -> None:
    assert one.describe()["splits"] == other.describe()["splits"]
    assert one.describe()["features"] == other.describe()["features"]
    for split in ("train", "calibration", "evaluation"):
        a, b = getattr(one, split)(), getattr(other, split)()
        assert a.digest == b.digest
        assert (a.labels == b.labels).all(), "rows with equal inputs, too, come in an order of their own"
        for name, values in a.inputs.items():
            np.testing.assert_array_equal(values, b.inputs[name])


def test_gzip_shards_and_their_names_do_not_matter(tmp_path: Path) -> None:
    lines = houses.rows()
    one, _ = opened(houses.SPEC, pattern=str(houses.write(tmp_path / "a.csv", lines)))
    assert len(one.train()) + len(one.evaluation()) == len(lines)
    for pattern in (
        str(houses.write(tmp_path / "a.csv.gz", lines)),
        str(houses.write(tmp_path / "turned.csv", lines[::-1])),
        houses.shards(tmp_path / "s", lines, ["t.csv-00000-of-00002", "t.csv-00001-of-00002"]),
        houses.shards(tmp_path / "r", lines, ["z", "y", "x"]),
    ):
        same(one, opened(houses.SPEC, pattern=pattern)[0])


@pytest.mark.slow
def test_a_tfrecord_is_the_same_table(tmp_path: Path) -> None:
    path = houses.write(tmp_path / "a.csv", houses.rows())
    made = houses.records(path)  # sqft and rooms are integers there
    same(opened(houses.SPEC, pattern=str(path))[0], opened(houses.SPEC, pattern=str(made))[0])
    as_text = houses.SPEC.replace('name = "rooms"', 'name = "rooms"\ndtype = "string"')
    same(opened(as_text, pattern=str(path))[0], opened(as_text, pattern=str(made))[0])
    same(opened(label="price", pattern=str(path))[0], opened(label="price", pattern=str(made))[0])
    wrong = houses.SPEC.replace('name = "heating-cost"', 'name = "heat"\ninput = "kind"\n').replace(
        'name = "kind"\nkind = "vocabulary"\nembedding = 2', 'name = "kind"\nkind = "bucketized"\nbuckets = 3'
    )
    with pytest.raises(BrokenInput, match="column 'kind' is string in these records, and the spec reads it as float"):
        opened(wrong, pattern=str(made))


def test_without_a_header_line_and_with_more_columns_it_is_the_same_table(tmp_path: Path) -> None:
    """The deck's raw files: no names, a date and a key that no model reads."""
    lines = [line.split(",") for line in houses.rows()]
    plain = [f"{p},2009-06-15 17:26:21 UTC,{s},{r},{k},{c},key{i}" for i, (s, r, k, c, p) in enumerate(lines)]
    named = houses.write(tmp_path / "a.csv", houses.rows())
    raw = houses.write(tmp_path / "raw.csv", plain, None)
    names = ("price", "date", "sqft", "rooms", "kind", "heating-cost", "key")
    data, _ = opened(houses.SPEC, pattern=str(raw), columns=names)
    same(opened(houses.SPEC, pattern=str(named))[0], data)
    with pytest.raises(BrokenInput, match="name the columns with --columns if the file has no header line"):
        opened(houses.SPEC, pattern=str(raw))
    with pytest.raises(BrokenInput, match=r"raw\.csv:1: has 7 fields, and 6 columns are named"):
        opened(houses.SPEC, pattern=str(raw), columns=names[:-1])


def test_what_is_learned_is_learned_from_the_training_rows(tmp_path: Path) -> None:
    data, _ = opened(houses.SPEC, pattern=str(houses.write(tmp_path / "a.csv", houses.rows())))
    raw = data.inputs["sqft"]
    assert data.spec is not None
    mean = data.spec.column("sqft").mean  # type: ignore[attr-defined]
    assert mean == pytest.approx(float(raw[data.train_rows].mean(dtype=np.float64)), rel=1e-12)
    assert mean != pytest.approx(float(raw.mean(dtype=np.float64)), rel=1e-12)


def test_rows_beyond_a_block_are_encoded_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from toolkit.datasets import _featured
    from toolkit.tables import identity

    path = str(houses.write(tmp_path / "a.csv", houses.rows()))
    one, _ = opened(houses.SPEC, pattern=path)
    monkeypatch.setattr(_featured, "BLOCK", 7)
    monkeypatch.setattr(identity, "ROWS", 11)
    same(one, opened(houses.SPEC, pattern=path)[0])


# ---- labels


def test_a_label_of_text_is_a_class() -> None:
    name = a_table("x,y", *many(40, "{i},c{third}"))
    data, said = opened(columns('name = "x"\nkind = "numeric"'), pattern=name)
    assert data.facts["classes"] == ["c0", "c1", "c2"]
    assert (data.labels == data.inputs["x"].astype(int) % 3).all()
    assert said == []


def test_whole_numbers_are_classes_if_the_spec_says_so() -> None:
    name = a_table("x,y", *(f"{i},{8 + i % 3}" for i in range(40)))
    data, said = opened(columns('name = "x"\nkind = "numeric"', task="classification"), pattern=name)
    assert data.facts["classes"] == ["8", "9", "10"], "in the order of numbers"
    assert (data.labels == data.inputs["x"].astype(int) % 3).all()
    assert said == []
    data, said = opened(columns('name = "x"\nkind = "numeric"'), pattern=name)
    assert data.labels.dtype == np.float32
    assert "classes" not in data.facts
    assert said == [
        "label 'y' has 3 different values and is taken for a quantity; if they are classes, say "
        'task = "classification" in a --spec'
    ]
    assert opened(columns('name = "x"\nkind = "numeric"', task="regression"), pattern=name)[1] == []


@pytest.mark.parametrize(
    ("lines", "task", "said"),
    [
        (["1,nan"], None, "t.csv:2: label 'y' is nan, not a finite number"),
        (["1,1", "2,"], None, "t.csv:3: label 'y' is missing"),
        (["1,1", "2,inf"], "regression", "t.csv:3: label 'y' is inf, not a finite number"),
        (["1,1", "2,a"], "regression", "t.csv:3: column 'y' is 'a', not a number"),
        (many(30, "{i},word{i}"), None, "label 'y' has 30 different values in 30 rows"),
        (many(30, "{i},{half}"), "classification", "label 'y' has 30 different values in 30 rows"),
    ],
)
def test_labels_that_are_none(lines: list[str], task: str | None, said: str) -> None:
    with pytest.raises(BrokenInput, match=re.escape(said)):
        opened(columns('name = "x"\nkind = "numeric"', task=task), pattern=a_table("x,y", *lines))


def test_skipped_rows_are_counted_named_and_recorded() -> None:
    name = a_table("x,y", *many(30, "{i},{half}"), "1,nan", *["oops,1"] * 25)
    data, said = opened(columns('name = "x"\nkind = "numeric"'), pattern=name, bad_rows="skip")
    assert data.facts["bad_rows"] == 26
    assert "left out: t.csv:32: label 'y' is nan, not a finite number" in said
    assert "left out: t.csv:33: column 'x' is 'oops', not a number" in said
    assert said[-1] == "and 6 malformed rows more"


# ---- columns


def test_a_missing_value_in_every_kind_of_column() -> None:
    name = a_table("n,b,t,i,d,h,y", *many(50, "{i},{i},w{third},{third},{third},h{third},{half}"), ",,,,,,7.25")
    spec = columns(
        'name = "n"\nkind = "numeric"',
        'name = "b"\nkind = "bucketized"\nbuckets = 3',
        'name = "t"\nkind = "vocabulary"',
        'name = "i"\nkind = "vocabulary"\ndtype = "integer"',
        'name = "d"\nkind = "identity"',
        'name = "h"\nkind = "hash_bucket"\nsize = 5',
        'name = "td"\nkind = "crossed"\nof = ["t", "d"]',
    )
    data, _ = opened(spec, pattern=name)
    (row,) = np.flatnonzero(data.labels == 7.25)
    found = {n: v[row] for n, v in data.inputs.items()}
    assert np.isnan(found["n"])
    assert np.isnan(found["b"])
    assert not found["t"].any()
    assert not found["h"].any()
    assert found["i"] == found["d"] == -(2**31)
    assert data.spec is not None
    assert data.spec.column("i").vocabulary == (0, 1, 2)  # type: ignore[attr-defined]


def test_words_that_only_the_evaluation_has_are_unknown(tmp_path: Path) -> None:
    name = a_table("t,y", *many(60, "word{i},{half}"))
    data, _ = opened(columns('name = "t"\nkind = "vocabulary"'), pattern=name)
    assert data.spec is not None
    from toolkit.features import transform

    ids = transform(data.spec, data.inputs).ids["t"]
    assert (ids[data.evaluation_rows] == 0).all()
    assert (ids[data.train_rows] > 0).all()


@pytest.mark.parametrize("kind", ['kind = "vocabulary"', 'kind = "identity"', 'kind = "hash_bucket"\nsize = 9\n'])
def test_integers_stay_exact_and_a_reloaded_run_reads_the_same(kind: str) -> None:
    """float32 would make 16777217 of 16777216; and a spec that has learned what a column holds reads it alike."""
    if "hash" in kind:
        kind += 'dtype = "integer"'
    base = 16_777_216 if "identity" not in kind else 1_000_000
    spec = columns(f'name = "i"\n{kind}', 'name = "x"\nkind = "numeric"')
    name = a_table("i,x,y", *(f"{base + i % 2},{i},{i}.5" for i in range(40)))
    data, _ = opened(spec, pattern=name)
    assert set(data.inputs["i"].tolist()) == {base, base + 1}
    again = Chosen(pattern=name, spec="spec.toml").open(Progress(quiet=True), features=data.facts["features"])
    same(data, again)
    gaps = a_table("i,x,y", *(f"{16_777_216 + i % 3},{i},{i}.5" for i in range(40)), ",1,1.5", name="gaps.csv")
    with pytest.raises(BrokenInput, match="column 'i' has gaps, and integers beyond 16,777,216"):
        opened(spec, pattern=gaps)


def test_a_text_is_one_object_however_often_it_is_there(tmp_path: Path) -> None:
    from toolkit import tables

    name = a_table("t,y", *many(40, "w{third},{half}"))
    values = tables.open_table(name).read()["t"]
    assert len({id(text) for text in values}) == 3


# ---- without a spec


def test_an_inferred_spec_leaves_out_what_cannot_help() -> None:
    rng = np.random.default_rng(0)
    lines = [
        f"{i},{rng.random():.6f},{rng.integers(2**40):x},2024-{1 + i % 12:02}-01 {i % 24}:{rng.random() * 1e6},7,,"
        f"same,w{i % 5},{i % 5:03},{'long' * 80},{rng.random():.4f}"
        for i in rng.permutation(2000)
    ]
    name = a_table("id,x,uuid,when,seven,empty,same,word,zip,essay,y", *lines)
    data, (said,) = opened(pattern=name, label="y")
    assert set(data.inputs) == {"x", "word", "zip"}
    assert said == (
        f"columns left out: empty (is empty); essay (is always '{('long' * 80)[:40]}'); id (numbers the rows); "
        "same (is always 'same'); seven (is always 7); uuid (nearly all of its texts are different); when (dates that "
        "are nearly all different: give their year, month or hour as columns of numbers); a --spec can use them"
    )
    assert data.spec is not None
    assert [c.kind for c in data.spec.columns] == ["vocabulary", "numeric", "vocabulary"], "by name"
    # A run is read again by what it has learned, and by its label alone.
    again = Chosen(pattern=name, label="y").open(Progress(quiet=True), features=data.facts["features"])
    same(data, again)


def test_long_texts_that_come_back_are_no_words() -> None:
    name = a_table("x,essay,y", *(f"{i / 7},{'long' * 80}{i % 3},{i / 2}" for i in range(60)))
    data, (said,) = opened(pattern=name, label="y")
    assert "essay (holds long texts, no words)" in said
    assert list(data.inputs) == ["x"]


def test_names_that_look_alike_in_a_graph() -> None:
    name = a_table("a-b,a_b,c,y", *many(40, "{half},{half},{odd}.5,{half}"))
    data, (said, *_) = opened(pattern=name, label="y")
    assert list(data.inputs) == ["a_b", "c"]
    assert "a_b (its name looks like another's in a graph: rename it)" in said


@pytest.mark.parametrize(
    ("made", "choice", "kind", "said"),
    [
        (
            ["x,y", "1,2"],
            {},
            UsageError,
            "t.csv: what is to be predicted?; give --label (it has: x, y), or --spec FILE",
        ),
        (["x,y", "1,2"], {"label": "z"}, UsageError, "unknown label column 'z'"),
        (["y", "1", "2"], {"label": "y"}, BrokenInput, "has no column but the label"),
        (["x,y", *many(30, "5,{half}")], {"label": "y"}, BrokenInput, "no column can be learned from: x (is always 5)"),
        (
            [",".join(f"c{i}" for i in range(400)), ",".join("1" * 400)],
            {"label": "c0"},
            BrokenInput,
            "has 399 columns beside the label; name those in a --spec that count (without one, "
            f"{_inferred.MOST_COLUMNS} at most), or save them as one array in an npz",
        ),
    ],
)
def test_what_no_spec_can_be_inferred_from(
    made: list[str], choice: dict[str, Any], kind: type[EdgeExportError], said: str
) -> None:
    with pytest.raises(kind, match=re.escape(said)) as caught:
        opened(pattern=a_table(*made), **choice)
    assert "\n" not in str(caught.value)


def test_a_small_table_counts_every_word_and_always_finds_some() -> None:
    for n in range(20, 40):
        name = a_table("t,x,y", *many(n, "w{third},{half},{half}"))
        data, _ = opened(pattern=name, label="y")
        assert data.spec is not None
        assert data.spec.column("t").vocabulary  # type: ignore[attr-defined]


# ---- arrays


def test_an_npz_of_images_and_of_values() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((50, 28, 28))
    np.savez("digits.npz", image=images, label=np.arange(50) % 10)
    data, _ = opened(pattern="digits.npz")
    assert data.inputs["image"].dtype == np.float32
    assert data.inputs["image"].shape == (50, 28, 28)
    assert data.spec is None
    assert data.facts["label"] == "label"
    order = rng.permutation(50)
    np.savez("turned.npz", image=images[order], label=(np.arange(50) % 10)[order])
    assert opened(pattern="turned.npz")[0].describe()["splits"] == data.describe()["splits"]
    np.savez("values.npz", x=images.reshape(50, -1), price=rng.random(50))
    data, _ = opened(pattern="values.npz", label="price")
    assert data.labels.dtype == np.float32
    assert list(data.inputs) == ["x"]


def test_an_npz_by_a_spec() -> None:
    rng = np.random.default_rng(0)
    np.savez("t.npz", x=rng.random(50), n=np.arange(50) % 4, y=rng.random(50))
    data, _ = opened(
        columns('name = "x"\nkind = "numeric"', 'name = "n"\nkind = "identity"\nindicator = true'), pattern="t.npz"
    )
    assert data.facts["label"] == "y"
    assert data.spec == loads(data.facts["features"], format="json")
    assert data.inputs["n"].dtype == np.int32


@pytest.mark.parametrize(
    ("arrays", "choice", "said"),
    [
        ({"x": np.zeros(9)}, {}, "has no array named 'label' (it has: x)"),
        ({"x": np.zeros(9), "label": np.zeros(9)}, {"label": "y"}, "has no array named 'y' (it has: x, label)"),
        ({"label": np.zeros(9)}, {}, "holds labels only"),
        ({"x": np.zeros(8), "label": np.zeros(9)}, {}, "array 'x': has 8 rows for 9 labels"),
        ({"x": np.full(9, np.nan), "label": np.zeros(9)}, {}, "array 'x': holds text, NaN or infinity"),
        ({"x": np.array(["a"] * 9), "label": np.zeros(9)}, {}, "array 'x': holds text, NaN or infinity"),
        ({"x": np.arange(9), "label": np.full(9, np.nan)}, {}, "has labels that are no finite numbers"),
        ({"x": np.arange(9), "label": np.array(["a"] * 9)}, {}, "has labels that are no finite numbers"),
        ({"x": np.arange(9), "label": np.arange(9) - 1}, {}, "has negative classes"),
        ({"x": np.arange(1), "label": np.zeros(1, int)}, {}, "has no samples left for a split"),
    ],
)
def test_an_npz_that_is_refused(arrays: dict[str, np.ndarray], choice: dict[str, Any], said: str) -> None:
    np.savez("t.npz", **arrays)
    with pytest.raises(BrokenInput, match=re.escape(said)):
        opened(pattern="t.npz", **choice)
