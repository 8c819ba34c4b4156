"""Rows out of every kind of file, and answers of every kind of output, without TensorFlow and without a model."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import BrokenInput, EdgeExportError, UsageError
from toolkit.features import Bucketized, FeatureSpec, Identity, Numeric, Vocabulary, encode
from toolkit.prediction import Contract, Numbered, archives, lines, open_rows, rows
from toolkit.records import TensorSpec
from toolkit.tables import csv_files

ODD = 'a "quoted", word\nand a line, né 日本'
SPEC = FeatureSpec(
    label="fare",
    task="regression",
    columns=(
        Numeric(name="miles", mean=6.0, std=4.0),
        Bucketized(name="north", input="pickup-latitude", boundaries=(40.6, 40.7)),
        Vocabulary(name="payment", vocabulary=("Cash", ODD)),
        Identity(name="hour", size=2**30, default=23),
    ),
)
RAW = Contract(inputs=SPEC.inputs(), spec=SPEC)
PLAIN = Contract(
    inputs=(
        TensorSpec(name="rooms", shape=(None,), dtype="int32"),
        TensorSpec(name="area", shape=(None, 1), dtype="float32"),
    )
)
IMAGES = Contract(inputs=(TensorSpec(name="image", shape=(None, 2, 3), dtype="float32"),))
GIVEN: dict[str, list[Any]] = {
    "miles": [3.25, None, 1e3, 0.1],
    "pickup-latitude": [40.65, 40.7, None, -1.0],
    "payment": ["Cash", ODD, None, "Dogecoin"],
    "hour": [17, None, 2**29 + 1, 99],
}


def tensors_of(name: str | Path, contract: Contract, policy: str = "error") -> tuple[list[int], dict[str, np.ndarray]]:
    blocks = list(open_rows(str(name), contract, Numbered(policy)))
    joined = {k: np.concatenate([b.tensors[k] for b in blocks]) for k in blocks[0].tensors}
    return [n for b in blocks for n in b.numbers.tolist()], joined


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f"), name


def as_csv(folder: Path, *, floats: bool = False) -> Path:
    """The rows with a label and an unknown column; integers as pandas writes them beside gaps, if asked for."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fare", *GIVEN, "note"])
    for i in range(4):
        row = {k: "" if v[i] is None else v[i] for k, v in GIVEN.items()}
        if floats and row["hour"] != "":
            row["hour"] = f"{row['hour']}.0"
        writer.writerow(["no fare", *row.values(), "n"])
    return written(folder, "rides.csv", out.getvalue())


def as_lines(folder: Path, **more: Any) -> Path:
    rows = [{**more, **{k: v[i] for k, v in reversed(GIVEN.items())}} for i in range(4)]
    return written(folder, "rides.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def as_npz(folder: Path, columns: dict[str, Any]) -> Path:
    np.savez(folder / "rides.npz", **columns)
    return folder / "rides.npz"


ARRAYS = {
    "miles": np.array([3.25, np.nan, 1e3, 0.1]),
    "pickup-latitude": np.array([40.65, 40.7, np.nan, -1.0]),
    "payment": np.array(["Cash", ODD, "", "Dogecoin"]),
    "hour": np.array([17, np.nan, 2**29 + 1, 99]),
    "fare": np.array(["not", "read", "at", "all"]),
}


@pytest.mark.parametrize(
    "make",
    [
        as_csv,
        lambda f: as_csv(f, floats=True),
        lambda f: written(f, "z.csv.gz", gzip.compress(as_csv(f).read_bytes())),
        as_lines,
        lambda f: as_lines(f, fare="no fare", unknown=[{}]),
        lambda f: written(f, "z.jsonl.gz", gzip.compress(as_lines(f).read_bytes())),
        lambda f: written(f, "b.ndjson", b"\xef\xbb\xbf" + as_lines(f).read_bytes().replace(b"\n", b"\r\n\n").rstrip()),
        lambda f: as_npz(f, ARRAYS),
        lambda f: as_npz(f, encode(SPEC, GIVEN)),
    ],
    ids=["csv", "csv of pandas", "csv.gz", "jsonl", "jsonl and label", "jsonl.gz", "crlf", "npz", "encoded npz"],
)
@pytest.mark.parametrize("size", [1, 3, 4096])
def test_the_same_rows_are_the_same_tensors_whatever_the_file(
    make: Callable[[Path], Path], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lines, archives, rows):
        monkeypatch.setattr(module, "ROWS", size)
    monkeypatch.setattr(lines, "CHUNK", 7 if size == 1 else 1 << 18)
    numbers, found = tensors_of(make(tmp_path), RAW)
    assert numbers == [0, 1, 2, 3]
    same(found, encode(SPEC, GIVEN))
    assert found["hour"][2] == 2**29 + 1, "float32 would have rounded it"


def test_blocks_are_as_large_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ROWS", 3)
    monkeypatch.setattr(rows, "ROWS", 6)
    path = written(tmp_path, "a.jsonl", as_lines(tmp_path).read_bytes() * 5)
    sizes = lambda: [len(b.numbers) for b in open_rows(str(path), RAW, Numbered())]  # noqa: E731
    assert sizes() == [6, 6, 6, 2]
    monkeypatch.setattr(rows, "BYTES", 1)
    assert sizes() == [3, 3, 3, 3, 3, 3, 2]


def test_several_files_are_one(tmp_path: Path) -> None:
    for i in range(3):
        written(tmp_path, f"{i}.jsonl", as_lines(tmp_path).read_bytes())
    (tmp_path / "rides.jsonl").unlink()
    assert tensors_of(tmp_path / "*.jsonl", RAW)[0] == list(range(12))


def test_a_model_without_a_spec_takes_numbers_by_name(tmp_path: Path) -> None:
    expected = {"rooms": np.array([3, 4], np.int32), "area": np.array([[70.5], [80]], np.float32)}
    for path in (
        written(tmp_path, "a.csv", "price,area,rooms\nx,70.5,3\ny,80,4.0\n"),
        written(tmp_path, "a.jsonl", '{"rooms": 3, "area": 70.5}\n{"area": [80], "rooms": 4.0}'),
        as_npz(tmp_path, {"rooms": [3, 4], "area": [[70.5], [80]], "price": [[["x"]]]}),
    ):
        same(tensors_of(path, PLAIN)[1], expected)


def test_a_model_without_a_spec_takes_arrays_by_name(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.float64).reshape(4, 2, 3) / 7
    text = "".join(json.dumps({"image": image.tolist()}) + "\n" for image in images)
    for path in (written(tmp_path, "a.jsonl", text), as_npz(tmp_path, {"image": images})):
        same(tensors_of(path, IMAGES)[1], {"image": images.astype(np.float32)})


LINE = {"miles": 1.0, "pickup-latitude": 2.0, "payment": "Cash", "hour": 3}


def line(**changed: Any) -> str:
    return json.dumps({**LINE, **changed})


BAD_LINES = [
    ('{"miles": NaN}', "NaN is no number of JSON: write null"),
    ("-Infinity", "no number of JSON"),
    ('{"miles": 1', "is no JSON"),
    ("[1, 2]", "is no JSON object"),
    ("[" * 100_000, "is no JSON"),
    (b'{"miles": "\xff"}', "is not UTF-8"),
    ('{"mile": 1}', "lacks 'miles' (it has: mile)"),
    ("{}", "lacks 'miles' (it has: nothing)"),
    (line(miles="far"), "'miles' is \"far\", not a number"),
    (line(miles=True), "'miles' is true, not a number"),
    (line(miles=[1]), "'miles' is [1], not a number"),
    (line(miles=1e39), "'miles' is 1e+39, beyond float32"),
    (line(miles=0).replace('"miles": 0', f'"miles": 1{"0" * 400}'), "beyond float32"),
    (line(miles=0).replace('"miles": 0', f'"miles": 1{"0" * 9999}'), "is no JSON"),
    (line(hour="3"), "'hour' is \"3\", not a number"),
    (line(hour=0).replace('"hour": 0', '"hour": 1e999'), "'hour' is Infinity, beyond any integer"),
    (line(payment=7), "'payment' is 7, not a text"),
    (line(payment={"x" * 60: 1}), "…, not a text"),
]


@pytest.mark.parametrize(("text", "said"), BAD_LINES, ids=[said for _, said in BAD_LINES])
def test_a_bad_line_is_named_or_left_out(text: str | bytes, said: str, tmp_path: Path) -> None:
    bad = text if isinstance(text, bytes) else text.encode()
    path = written(tmp_path, "a.jsonl", line().encode() + b"\n\n" + bad + b"\n" + line(hour=9).encode())
    with pytest.raises(BrokenInput) as caught:
        tensors_of(path, RAW)
    assert f"{path}:3: " in str(caught.value)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500
    numbers, found = tensors_of(path, RAW, "skip")
    assert numbers == [0, 2], "an answer keeps the number of its row"
    assert found["hour"].tolist() == [3, 9]


@pytest.mark.parametrize(
    ("contract", "text", "said"),
    [
        (PLAIN, '{"rooms": 3, "area": null}', "'area' is null, and this model knows no missing values"),
        (PLAIN, '{"rooms": 3.5, "area": 1}', "'rooms' is 3.5, no int32"),
        (PLAIN, '{"rooms": 3000000000, "area": 1}', "'rooms' is 3000000000, no int32"),
        (PLAIN, '{"rooms": 3, "area": [1, 2]}', "'area' is [1, 2], not a number"),
        (IMAGES, '{"image": [[1, 2, 3], [4, 5]]}', "its lists are not equally long"),
        (IMAGES, '{"image": [1, 2, 3]}', "has shape [3], the model takes [2, 3]"),
        (IMAGES, '{"image": [[1, 2, 3], [4, 5, null]]}', "missing values"),
        (IMAGES, '{"image": [[1, 2, 3], [4, 5, 1e39]]}', "beyond float32"),
        (IMAGES, '{"image": "cat.png"}', "has shape []"),
    ],
)
def test_a_line_that_does_not_fit_the_tensors(contract: Contract, text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenInput) as caught:
        tensors_of(written(tmp_path, "a.jsonl", text), contract)
    assert said in str(caught.value)
    assert "a.jsonl:1" in str(caught.value)


HEAD = "miles,pickup-latitude,payment,hour\n"
BAD_FILES: list[tuple[str, str | bytes, Contract, type[EdgeExportError], str]] = [
    ("a.jsonl", "", RAW, BrokenInput, "has no rows"),
    ("a.jsonl", "\n \n", RAW, BrokenInput, "has no rows"),
    ("a.csv", "", RAW, BrokenInput, "is empty"),
    ("a.csv", HEAD, RAW, BrokenInput, "has no rows"),
    ("a.csv", "miles,payment,hour\n1,2,3\n", RAW, BrokenInput, "lacks column 'pickup-latitude'"),
    ("a.csv", HEAD + "far,1,x,2\n", RAW, BrokenInput, "a.csv:2: column 'miles' is 'far', not a number"),
    ("a.csv", HEAD + '1,1,"x\n",2\n1,1,x,noon\n', RAW, BrokenInput, "a.csv:4: column 'hour' is 'noon', not an integer"),
    ("a.csv", HEAD + "1,1,x\n", RAW, BrokenInput, "a.csv:2: has 3 fields, not 4"),
    ("a.csv", "rooms,area\n3,\n", PLAIN, BrokenInput, "a.csv:2: column 'area' is empty"),
    ("a.csv", "rooms,area\n,3\n", PLAIN, BrokenInput, "a.csv:2: column 'rooms' is empty"),
    ("a.csv", "rooms,area\n3.5,3\n", PLAIN, BrokenInput, "a.csv:2: column 'rooms' is '3.5', not an integer"),
    ("a.csv", "image\n3\n", IMAGES, UsageError, "takes 'image' as [N, 2, 3], which no table holds"),
    ("a.npz", b"PK", RAW, BrokenInput, "not an npz"),
    ("a.txt", "x", RAW, UsageError, "does not say what is in it"),
    ("a.json", "[]", RAW, UsageError, "one JSON object a line"),
    ("csv", "x", RAW, UsageError, "does not say what is in it"),
]


@pytest.mark.parametrize(("name", "text", "contract", "kind", "said"), BAD_FILES)
def test_files_that_cannot_be_used(
    name: str, text: str | bytes, contract: Contract, kind: type[EdgeExportError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        tensors_of(written(tmp_path, name, text), contract)
    assert said in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "contract", "said"),
    [
        ({"miles": [1.0]}, RAW, "has no array named 'pickup-latitude' (it has: miles)"),
        ({**ARRAYS, "miles": ["a"] * 4}, RAW, "give numbers"),
        ({**ARRAYS, "miles": [1.0]}, RAW, "different numbers of rows"),
        ({**ARRAYS, "payment": [1.0] * 4}, RAW, "give texts"),
        ({"image": np.zeros((2, 3, 2))}, IMAGES, "has shape [3, 2], the model takes [2, 3]"),
        ({"image": np.full((2, 2, 3), np.nan)}, IMAGES, "NaN"),
        ({"image": np.float32(1)}, IMAGES, "a single value"),
        ({"image": np.zeros((0, 2, 3))}, IMAGES, "has no rows"),
        ({"image": np.array([None])}, IMAGES, "Python objects"),
        ({"rooms": [1.5], "area": [1.0]}, PLAIN, "no int32"),
    ],
)
def test_arrays_that_cannot_be_used(arrays: dict[str, Any], contract: Contract, said: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenInput) as caught:
        tensors_of(as_npz(tmp_path, arrays), contract)
    assert said in str(caught.value)
    assert "rides.npz" in str(caught.value)


def test_nothing_but_bad_rows(tmp_path: Path) -> None:
    for path in (written(tmp_path, "a.jsonl", "x\ny\n"), written(tmp_path, "a.csv", HEAD + "1,1,x,y\n" * 2)):
        with pytest.raises(BrokenInput, match=r"all of its 2 rows are malformed \(the first: .*a\.\w+:\d"):
            tensors_of(path, RAW, "skip")


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100)
    monkeypatch.setattr(lines, "CHUNK", 64)
    with pytest.raises(BrokenInput, match="a line longer than"):
        tensors_of(written(tmp_path, "a.jsonl", line() * 9), RAW)


@pytest.mark.parametrize("size", [20, 1 << 19])
def test_rows_left_out_of_a_csv_keep_the_others_numbers(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK", size)
    text = HEAD + '1,1,"x\n\n",0\n\n1,1,x\n2,2,x,2\nfar,1,x,noon\n4,4,x,noon\n5,5,x,5\n'
    tally = Numbered("skip")
    blocks = list(open_rows(str(written(tmp_path, "a.csv", text)), RAW, tally))
    found = [(n, h) for b in blocks for n, h in zip(b.numbers.tolist(), b.tensors["hour"].tolist(), strict=True)]
    assert found == [(0, 0), (2, 2), (5, 5)]
    assert [row.where.rpartition(":")[2] for row in tally.named] == ["6", "8", "9"]
    assert tally.left_out == 3


def test_stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(as_lines(tmp_path).read_bytes())))
    same(tensors_of("-", RAW)[1], encode(SPEC, GIVEN))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    with pytest.raises(BrokenInput, match=r"^stdin:1: lacks"):
        tensors_of("-", RAW)


def test_a_spec_of_another_model_is_refused() -> None:
    inputs = list(SPEC.inputs())
    wider = [TensorSpec(name="payment", shape=(None, 9), dtype="uint8") if t.name == "payment" else t for t in inputs]
    other = [*inputs, TensorSpec(name="tolls", shape=(None,), dtype="float32")]
    for wrong, said in ((wider, f"makes uint8 [N, {len(ODD.encode()) + 1}] of it"), (other, "does not make it")):
        with pytest.raises(BrokenInput, match="the model") as caught:
            Contract(inputs=tuple(wrong), spec=SPEC)
        assert said in str(caught.value)
    Contract(inputs=tuple(inputs[1:]), spec=SPEC)  # a converter may drop what nothing reads
