"""CSV as columns: types, defaults, headers, shards, gzip, and every malformed row by file and line."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import tables
from toolkit.errors import BrokenInput, EdgeExportError, MissingError, UsageError
from toolkit.tables import Column, Schema, Table, Tally, csv_files, files, open_table

NAN = float("nan")
PRICES = Schema(
    columns=(Column(name="sqft"), Column(name="kind", type="string"), Column(name="price", type="int")), label="price"
)


def made(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def columns(table: Table, **options: Any) -> dict[str, list[Any]]:
    blocks = list(table.batches(**options))
    return {name: [v for b in blocks for v in b[name].tolist()] for name in table.schema.names}


def refused(work: Callable[[], Any], said: str, where: Path | str, kind: type[EdgeExportError] = BrokenInput) -> None:
    with pytest.raises(kind) as caught:
        work()
    line = str(caught.value)
    assert said in line, line
    assert str(where) in line, line
    assert caught.value.remedy
    assert "\n" not in line


# ---- what is read


def test_types_and_names(tmp_path: Path) -> None:
    path = made(tmp_path, "kind,price,more,sqft\nflat,10,x,1.5\n house ,20,y,-2e3\n")
    table = open_table(path, schema=PRICES)
    assert columns(table) == {"sqft": [1.5, -2000.0], "kind": ["flat", "house"], "price": [10, 20]}
    block = next(table.batches())
    assert [block[n].dtype for n in PRICES.names] == [np.float32, object, np.int64]


def test_defaults_stand_in_for_empty_fields_only(tmp_path: Path) -> None:
    schema = Schema(
        columns=(
            Column(name="f", default=NAN),
            Column(name="i", type="int", default=-1),
            Column(name="s", type="string", default="none"),
        )
    )
    path = made(tmp_path, 'f,i,s\n,,\n"","",""\n0,0,0\n')
    read = columns(open_table(path, schema=schema))
    assert read["i"] == [-1, -1, 0]
    assert read["s"] == ["none", "", "0"], "a quoted nothing is a text like others"
    assert np.isnan(read["f"][:2]).all()
    assert read["f"][2] == 0


def test_text_outside_ascii_and_odd_line_ends(tmp_path: Path) -> None:
    path = made(tmp_path, '\ufeffs,n\r\n"Zoë, ""Z""\nX",1\r\n\r\n東京,2'.encode())
    table = open_table(path)
    assert columns(table) == {"s": ['Zoë, "Z"\nX', "東京"], "n": [1, 2]}


@pytest.mark.parametrize("zipped", [False, True])
def test_shards_with_their_columns_in_any_order(tmp_path: Path, zipped: bool) -> None:
    for number, text in enumerate(["a,b\n1,x\n", "b,a\ny,2\n", "a,b\n", "c,a,b\n0,3,z\n"]):
        data = text.encode()
        made(tmp_path, gzip.compress(data) if zipped else data, f"train.csv-0000{number}-of-00004")
    table = open_table(tmp_path / "train.csv-*-of-*")
    assert columns(table) == {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    assert [Path(n).name[10:15] for n in table.names] == ["00000", "00001", "00002", "00003"]


def test_a_schema_is_inferred_from_whichever_shards_have_rows(tmp_path: Path) -> None:
    for number in range(30):
        made(tmp_path, "a,b\n" + ("1,x\n" if number == 7 else ""), f"t.csv-{number:05d}-of-00030")
    assert columns(open_table(tmp_path / "t.csv-*-of-*")) == {"a": [1], "b": ["x"]}


def test_no_header(tmp_path: Path) -> None:
    path = made(tmp_path, "1,x\n2,y\n")
    assert columns(open_table(path, columns=("a", "b"))) == {"a": [1, 2], "b": ["x", "y"]}


def test_the_schema_that_the_first_rows_suggest(tmp_path: Path) -> None:
    path = made(tmp_path, ',f,i,gap,zip,none,s\n0,1,1,1,02139,,1\n1,2.5,-2,,10001,,"x"\n')
    schema = open_table(path).schema
    assert [(c.name, c.type) for c in schema.columns] == [
        ("f", "float"),
        ("i", "int"),
        ("gap", "float"),
        ("zip", "string"),
        ("none", "float"),
        ("s", "string"),
    ]
    assert [c.default is None for c in schema.columns] == [False, True, False, False, False, False]
    labelled = open_table(path, label="f").schema
    assert labelled["f"].default is None, "a label is never made up"
    assert labelled.inputs == ("i", "gap", "zip", "none", "s")


def test_arrays_in_memory_are_a_table_too() -> None:
    table = tables.of_arrays(
        {"x": [1, 2, 3], "s": ["a", "b", "c"], "y": np.array([0.5, NAN, 2.0])}, label="y", bad_rows="skip"
    )
    tally = Tally("skip")
    assert columns(table, tally=tally) == {"x": [1, 3], "s": ["a", "c"], "y": [0.5, 2.0]}
    assert (tally.rows, tally.left_out, str(tally.named[0])) == (
        2,
        1,
        "arrays, row 1: label 'y' is nan, not a finite number",
    )


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": [1, 2], "y": [1]}, "different numbers of rows"),
        ({"x": [[1, 2]]}, "not [N]"),
        ({"x": [object()]}, "is object"),
        ({"x": [1e300]}, "beyond float32"),
        ({"x": np.array([2**64 - 1], np.uint64)}, "beyond int64"),
    ],
)
def test_arrays_that_are_no_table(arrays: dict[str, Any], said: str) -> None:
    refused(lambda: tables.of_arrays(arrays), said, "array")


# ---- block boundaries


CELLS = st.text('ab1,"\n é', max_size=6)


@given(st.lists(st.tuples(CELLS, st.integers(-99, 99)), min_size=1, max_size=20), st.integers(1, 40))
def test_blocks_of_any_size_give_the_same_rows(rows: list[tuple[str, int]], size: int) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows([("s", "n"), *rows])
    part = files.of_bytes("it", out.getvalue().encode())
    schema = Schema(columns=(Column(name="s", type="string"), Column(name="n", type="int")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "BLOCK", size)
        read = columns(tables.of_parts((part,), schema=schema))
    assert list(zip(read["s"], read["n"], strict=True)) == rows


def test_lines_are_counted_across_blocks_quotes_and_empty_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["a,b", "", '1,"x', 'y"', "2,z", "", "bad,z", "3", *["4,w"] * 50, "worse,w", ""]
    path = made(tmp_path, "\n".join(lines))
    schema = Schema(columns=(Column(name="a", type="int"), Column(name="b", type="string")))
    for size in (5, 64, 1 << 16):
        monkeypatch.setattr(csv_files, "BLOCK", size)
        tally = Tally("skip")
        assert columns(open_table(path, schema=schema), tally=tally)["a"] == [1, 2] + [4] * 50
        assert [row.where for row in tally.named] == [f"{path}:{n}" for n in (7, 8, 59)]
        assert lines[6] == "bad,z"
        assert lines[58] == "worse,w"


def test_rows_are_counted_and_found_again_whatever_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Malformed rows count too, quoted line ends and empty lines do not, and counting goes on in the next file."""
    lines = ["a,b", "", '1,"x', 'y"', "2,z", "", "bad,z", "3", '4,"w', 'w"', "worse,w", "5,v"]
    paths = [made(tmp_path, "\n".join(lines) + "\n", f"{i}.csv") for i in range(2)]
    schema = Schema(columns=(Column(name="a", type="int"), Column(name="b", type="string")))

    class Seen(Tally):
        def refuse(self, where: str, what: str, *, row: int) -> None:
            refused.append((row, where))

    for size in (5, 64, 1 << 16):
        monkeypatch.setattr(csv_files, "BLOCK", size)
        refused: list[tuple[int, str]] = []
        tally, found, first = Seen("skip"), {}, 0
        for block in open_table(tmp_path / "*.csv", schema=schema).blocks(tally=tally):
            left_out = [row for row, _ in refused]
            kept = [row for row in range(first, tally.seen) if row not in left_out]
            found.update({row: (int(a), tally.place(row)) for row, a in zip(kept, block["a"], strict=True)})
            first = tally.seen
        assert tally.seen == 2 * 7
        bad, good = [(2, 7), (3, 8), (5, 11)], [(0, 1, 3), (1, 2, 5), (4, 4, 9), (6, 5, 12)]
        assert refused == [(7 * i + row, f"{path}:{n}") for i, path in enumerate(paths) for row, n in bad]
        assert found == {7 * i + row: (a, f"{path}:{n}") for i, path in enumerate(paths) for row, a, n in good}


# ---- malformed rows


BAD = [
    ("1,x", "has 2 fields, not 3"),
    ("1,x,2,3", "has 4 fields, not 3"),
    ("wide,x,2", "column 'sqft' is 'wide', not a number"),
    ("1_0,x,2", "column 'sqft' is '1_0', not a number"),
    ("1e39,x,2", "column 'sqft' is '1e39', beyond float32"),
    ('" 1",x,2', "column 'sqft' is ' 1', not a number"),
    (",x,2", "column 'sqft' is empty and has no default"),
    ("1,,2", "column 'kind' is empty and has no default"),
    ("1,x,", "label 'price' is missing"),
    ("1,x,2.5", "column 'price' is '2.5', not an int"),
    ("1,x,99999999999999999999", "column 'price' is '99999999999999999999', not an int"),
    (b"1,\xff,2", "column 'kind' is not UTF-8"),
    ('"1,x,2', "has a quote that is never closed"),
    ("y" * 99 + ",x,2", "column 'sqft' is '" + "y" * 39 + "…', not a number"),
]


@pytest.mark.parametrize(("row", "said"), BAD, ids=[said for _, said in BAD])
def test_a_malformed_row_is_named_or_counted(tmp_path: Path, row: str | bytes, said: str) -> None:
    row = row if isinstance(row, bytes) else row.encode()
    path = made(tmp_path, b"sqft,kind,price\n1,x,2\n" + row + b"\n3,z,4\n")
    refused(lambda: columns(open_table(path, schema=PRICES)), f"{path}:3: {said}", path)
    tally = Tally("skip")
    table = open_table(path, schema=PRICES, bad_rows="skip")
    assert columns(table, tally=tally) == {"sqft": [1.0, 3.0], "kind": ["x", "z"], "price": [2, 4]}
    assert tally.describe() == {"rows": 2, "bad_rows": 1, "first_bad_rows": [f"{path}:3: {said}"]}


@pytest.mark.parametrize("label", ["nan", "inf", "-Infinity"])
def test_a_label_that_is_not_finite(tmp_path: Path, label: str) -> None:
    path = made(tmp_path, f"x,y\nnan,1\n1,{label}\n")
    refused(lambda: columns(open_table(path, label="y")), "not a finite number", f"{path}:3")
    assert np.isnan(columns(open_table(path, label="y", bad_rows="skip"))["x"]).all(), "an input may be NaN"


def test_a_label_of_no_known_class(tmp_path: Path) -> None:
    path = made(tmp_path, "x,y\n1,no\n2,maybe\n")
    schema = Schema(columns=(Column(name="x"), Column(name="y", type="string")), label="y", classes=("no", "yes"))
    refused(lambda: columns(open_table(path, schema=schema)), "'maybe', none of its 2 classes", f"{path}:3")


def test_classes_are_learned(tmp_path: Path) -> None:
    table = open_table(made(tmp_path, "x,y\n1,no\n2,maybe\n3,no\n"), label="y")
    assert table.with_classes().schema.classes == ("maybe", "no")


def test_the_first_malformed_row_of_a_file_is_the_one_named(tmp_path: Path) -> None:
    path = made(tmp_path, "a,b\n1,1\n2,x\n3\nx,4\n")
    schema = Schema(columns=(Column(name="a"), Column(name="b")))
    refused(lambda: columns(open_table(path, schema=schema)), "'x', not a number", f"{path}:3")


def test_many_malformed_rows_are_counted_and_the_first_named(tmp_path: Path) -> None:
    path = made(tmp_path, "a,b\n1,2\n" + "1\n" * 1000)
    tally = Tally("skip")
    columns(open_table(path), tally=tally)
    assert (tally.rows, tally.left_out, len(tally.named)) == (1, 1000, 20)


# ---- what is no table


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b", "has no rows"),
        ("a,b\n\n", "has no rows"),
        ("1,2\n3,4\n", "its first line holds numbers"),
        ("a,a\n1,2\n", "has column 'a' twice"),
        (gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:-20], "is damaged gzip"),
        (b"\x1f\x8bnonsense", "is damaged gzip"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = made(tmp_path, text)
    refused(lambda: columns(open_table(path)), said, path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sqft,kind\n1,x\n", "lacks its label column 'price' (it has: sqft, kind)"),
        ("sqft,price\n1,2\n", "lacks column 'kind' (it has: sqft, price)"),
        ("price\n1\n", "lacks column 'sqft', 'kind'"),
        ("sqft,kind,price,kind\n1,x,2,y\n", "has column 'kind' twice"),
        ("", "is empty"),
        ("sqft,kind,price\n", "has no rows"),
        ("sqft,kind,price\nx\n", "has 1 field"),
    ],
)
def test_files_that_do_not_fit_a_schema(tmp_path: Path, text: str, said: str) -> None:
    path = made(tmp_path, text)
    refused(lambda: columns(open_table(path, schema=PRICES)), said, path)


def test_nothing_but_malformed_rows_is_no_table_either(tmp_path: Path) -> None:
    path = made(tmp_path, "sqft,kind,price\nx\ny\n")
    table = open_table(path, schema=PRICES, bad_rows="skip")
    refused(lambda: columns(table), "all of its 2 rows are malformed (the first: ", path)


def test_no_line_end_in_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.tables.tokens.LONGEST", 1000)
    monkeypatch.setattr(csv_files, "BLOCK", 500)
    path = made(tmp_path, "a,b\n1,2\n" + "x" * 5000)
    schema = Schema(columns=(Column(name="a"), Column(name="b")))
    refused(lambda: columns(open_table(path, schema=schema)), "longer than 1 MiB", f"{path}:3")
    refused(lambda: open_table(made(tmp_path, "x" * 5000)), "longer than 1 MiB", path)


def test_where_there_is_nothing(tmp_path: Path) -> None:
    refused(lambda: open_table(tmp_path / "no.csv"), "there is no such file", tmp_path / "no.csv", UsageError)
    refused(lambda: open_table(tmp_path / "no*.csv"), "matches no file", tmp_path / "no*.csv", UsageError)
    refused(lambda: open_table(tmp_path), "is a folder", tmp_path, UsageError)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError(13, "denied"), MissingError, "permission denied"),
        (OSError(5, "Input/output error"), BrokenInput, "cannot be read (Input/output error)"),
    ],
)
def test_a_file_that_cannot_be_read(error: OSError, kind: type[EdgeExportError], said: str) -> None:
    def opened() -> Any:
        raise error

    part = files.Part(name="locked.csv", open=opened)
    refused(lambda: tables.of_parts((part,)), said, "locked.csv", kind)


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path: Path) -> None:
    path = made(tmp_path, "a\n1\n", "a[1].csv")
    assert columns(open_table(path)) == {"a": [1]}


@pytest.mark.parametrize(("work", "said"), [
    (lambda: Schema(columns=()), "without columns"),
    (lambda: Schema(columns=(Column(name="a"), Column(name="a"))), "'a' is there twice"),
    (lambda: Schema(columns=(Column(name="price"),), label="prise"), "did you mean price?"),
    (lambda: Column(name="a", type="flot"), "did you mean float?"),
    (lambda: Column(name=""), "without a name"),
    (lambda: Column(name="a", type="int", default=1.5), "default 1.5 is not a int"),
    (lambda: Column(name="a", type="string", default=1), "default 1 is not a string"),
    (lambda: Schema(columns=(Column(name="a"),), label="a", classes=("x",)), "text label"),
    (lambda: Tally("ignore"), "error, skip"),
    (lambda: tables.Shares(evaluation=0.8, calibration=0.3), "together at most 1"),
    (lambda: tables.of_arrays({"a": [1]}).batches(0), "batch size 0"),
    (lambda: tables.of_arrays({"a": [1]}).batches(split="test"), "unknown split 'test'"),
    (lambda: columns(tables.of_arrays({"a": [1]}), where=lambda c: c["a"]), "one bool for every row"),
])  # fmt: skip
def test_wrong_calls(work: Callable[[], Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        work()
    assert said in str(caught.value)
