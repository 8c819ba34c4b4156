"""TFRecord: the same rows as a CSV, the bytes that protobuf writes, damage named by file and byte."""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import math
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit import tables
from toolkit.errors import BrokenInput, UsageError
from toolkit.progress import Progress
from toolkit.tables import Column, Schema, Tally, example, files, open_table, record_files, writing

pytestmark = pytest.mark.slow

QUIET = Progress(quiet=True)
MIXED = Schema(
    columns=(
        Column(name="zeta", default=float("nan")),
        Column(name="i", type="int"),
        Column(name="s", type="string"),
        Column(name="y"),
    ),
    label="y",
)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
ROWS = st.lists(st.tuples(st.floats(width=32), st.integers(-(2**63), 2**63 - 1), TEXT, FINITE), min_size=1, max_size=10)


def block(rows: list[tuple[float, int, str, float]]) -> dict[str, np.ndarray]:
    return {c.name: MIXED.cast(c, [row[i] for row in rows]) for i, c in enumerate(MIXED.columns)}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return set(a) == set(b) and all(
        a[n].dtype == b[n].dtype and np.array_equal(a[n], b[n], equal_nan=a[n].dtype == np.float32) for n in a
    )


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ROWS, st.booleans())
def test_there_and_back_again(rows: list[tuple[float, int, str, float]], zipped: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ending = ".gz" if zipped else ""
        names = [Path(folder, f"{n}{ending}") for n in ("a.csv", "b.tfrecord", "c.csv", "d.tfrecord")]
        writing.csv([block(rows)], MIXED, names[0], zipped=zipped)
        for source, destination in itertools.pairwise(names):
            done = tables.convert(source, destination, schema=MIXED, progress=QUIET)
            assert (done.rows, done.tally.left_out) == (len(rows), 0)
        for name in names:
            assert same(open_table(name, schema=MIXED).read(), block(rows)), name
        assert names[0].read_bytes() == names[2].read_bytes()
        assert names[1].read_bytes() == names[3].read_bytes()
        assert all((name.read_bytes()[:2] == files.GZIP) == zipped for name in names)


@settings(deadline=None)
@given(ROWS)
def test_records_are_what_protobuf_writes(rows: list[tuple[float, int, str, float]]) -> None:
    from tensorflow.train import BytesList, Example, Feature, Features, FloatList, Int64List

    wanted = [
        Example(
            features=Features(
                feature={
                    "zeta": Feature(float_list=FloatList(value=[f])),
                    "i": Feature(int64_list=Int64List(value=[i])),
                    "s": Feature(bytes_list=BytesList(value=[s.encode()])),
                    "y": Feature(float_list=FloatList(value=[y])),
                }
            )
        ).SerializeToString(deterministic=True)
        for f, i, s, y in rows
    ]
    assert list(example.serialized(block(rows), MIXED)) == wanted


def written(path: Path, examples: list[dict[str, Any]], *, zipped: bool = False) -> Path:
    """A TFRecord of any features: lists of float, int or bytes; raw bytes are a record as they stand."""
    import tensorflow as tf

    def feature(values: list[Any]) -> Any:
        kinds = {float: ("float_list", tf.train.FloatList), int: ("int64_list", tf.train.Int64List)}
        name, kind = (
            kinds.get(type(values[0]), ("bytes_list", tf.train.BytesList))
            if values
            else ("float_list", tf.train.FloatList)
        )
        return tf.train.Feature(**{name: kind(value=values)})

    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP" if zipped else "")) as out:
        for given_ in examples:
            if isinstance(given_, bytes):
                out.write(given_)
                continue
            features = tf.train.Features(feature={k: feature(v) for k, v in given_.items()})
            out.write(tf.train.Example(features=features).SerializeToString())
    return path


GOOD = {"zeta": [1.5], "i": [2], "s": [b"x"], "y": [3.0]}
BAD: list[tuple[Any, str]] = [
    ({**GOOD, "zeta": [1]}, "column 'zeta' is of type int, not float"),
    ({**GOOD, "i": [1, 2]}, "column 'i' has 2 values, not 1"),
    ({**GOOD, "s": [b"\xff"]}, "column 's' is not UTF-8"),
    ({k: v for k, v in GOOD.items() if k != "s"}, "column 's' is empty and has no default"),
    ({**GOOD, "y": []}, "label 'y' is missing"),
    ({**GOOD, "y": [math.inf]}, "label 'y' is inf, not a finite number"),
    (b"\xff\xff\xff", "is no tf.Example"),
]


@pytest.mark.parametrize(("bad", "said"), BAD, ids=[said for _, said in BAD])
def test_a_malformed_record_is_named_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: Any, said: str
) -> None:
    monkeypatch.setattr(record_files, "RECORDS", 2)
    path = written(tmp_path / "a.tfrecord", [GOOD] * 4 + [bad] + [GOOD])
    with pytest.raises(BrokenInput) as caught:
        open_table(path, schema=MIXED).read()
    assert str(caught.value).startswith(f"{path}, record 5: {said}; ")
    tally = Tally("skip")
    assert len(open_table(path, schema=MIXED).read(tally=tally)["y"]) == 5
    assert tally.describe() == {"rows": 5, "bad_rows": 1, "first_bad_rows": [f"{path}, record 5: {said}"]}


def test_a_missing_feature_takes_its_default_in_good_and_in_bad_company(tmp_path: Path) -> None:
    gap = {k: v for k, v in GOOD.items() if k != "zeta"}
    for others in ([GOOD], [GOOD, {**GOOD, "i": [1, 2]}]):
        path = written(tmp_path / "a.tfrecord", [gap, *others])
        zeta = open_table(path, schema=MIXED, bad_rows="skip").read()["zeta"]
        assert math.isnan(zeta[0])
        assert zeta[1:].tolist() == [1.5]


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "record_part", "said"),
    [
        (lambda d, at: flip(d, at), 0, "its checksum is wrong"),
        (lambda d, at: flip(d, at + 8), 0, "its checksum is wrong"),
        (lambda d, at: flip(d, at + 20), 12, "its checksum is wrong"),
        (lambda d, at: d[: at + 20], 0, "the file ends in the middle of it"),
        (lambda d, at: d[: at + 5], 0, "the file ends in the middle of it"),
    ],
)
def test_damage_is_named_by_file_and_byte_whatever_the_policy(
    tmp_path: Path, damage: Callable[[bytes, int], bytes], record_part: int, said: str
) -> None:
    good = written(tmp_path / "a-0.tfrecord", [GOOD] * 3)
    data = good.read_bytes()
    size = 16 + struct.unpack("<Q", data[:8])[0]
    assert len(data) == 3 * size
    bad = tmp_path / "a-1.tfrecord"
    bad.write_bytes(damage(data, 2 * size))
    table = open_table(tmp_path / "a-*.tfrecord", schema=MIXED, bad_rows="skip")
    with pytest.raises(BrokenInput) as caught:
        table.read()
    assert str(caught.value).startswith(f"{bad}: the record at byte {2 * size + record_part:,} is damaged ({said}); ")


def test_damaged_gzip(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tfrecord.gz", [{**GOOD, "i": [i]} for i in range(3000)], zipped=True)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BrokenInput) as caught:
        open_table(path, schema=MIXED).read()
    assert str(path) in str(caught.value)
    assert "damaged" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"not a record", b"a,b\n1,2\n"])
def test_what_is_no_record_file_under_such_a_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(data)
    with pytest.raises(BrokenInput) as caught:
        open_table(path)
    assert str(path) in str(caught.value)
    assert ("has no rows" if not data else "damaged") in str(caught.value)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", [GOOD])
    assert open_table(path, schema=MIXED).read()["s"].tolist() == ["x"]
    (tmp_path / "b.csv").write_text("a\n1\n")
    with pytest.raises(BrokenInput, match="is no TFRecord, unlike"):
        open_table(tmp_path / "*.csv")


def test_a_schema_from_records(tmp_path: Path) -> None:
    schema = open_table(written(tmp_path / "a.tfrecord", [{"b": [1], "s": [b"x"]}, {"b": [2], "a": [1.0]}])).schema
    assert [(c.name, c.type) for c in schema.columns] == [("a", "float"), ("b", "int"), ("s", "string")]
    for examples, said in (
        ([{"b": [1]}, {"b": [1.0]}], "record 2: feature 'b' is float here and int before"),
        ([{"b": [1, 2]}], "record 1: feature 'b' has 2 values, not 1"),
        ([{"b": [1]}, b"\xff"], "record 2: is no tf.Example"),
    ):
        with pytest.raises(BrokenInput) as caught:
            open_table(written(tmp_path / "b.tfrecord", examples))  # type: ignore[arg-type]
        assert said in str(caught.value)


# ---- whole or not at all


def test_nothing_is_left_of_a_conversion_that_failed(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("a,b\n" + "1,2\n" * 30_000 + "x\n")
    old = tmp_path / "kept.tfrecord"
    old.write_bytes(b"what was there before")
    for destination in (old, tmp_path / "new.tfrecord", tmp_path / "new.csv.gz"):
        with pytest.raises(BrokenInput, match="30002"):
            tables.convert(source, destination, progress=QUIET)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "kept.tfrecord"]
    assert old.read_bytes() == b"what was there before"


@pytest.mark.parametrize(
    ("destination", "said"), [("a.csv", "is the source as well"), ("b.txt", "what to write"), ("b.gz", "what to write")]
)
def test_destinations_that_cannot_be(tmp_path: Path, destination: str, said: str) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(UsageError, match=said):
        tables.convert(tmp_path / "a.csv", tmp_path / destination, progress=QUIET)
    assert (tmp_path / "a.csv").read_text() == "a\n1\n"


def test_zipped_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        writing.csv([block([(1.0, 2, "x", 3.0)])], MIXED, tmp_path / name, zipped=True)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert (tmp_path / "a.csv.gz").read_bytes()[4:8] == bytes(4), "no time in it"
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == b"zeta,i,s,y\n1.0,2,x,3.0\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("write", [writing.csv, writing.records])
def test_a_full_disk_is_an_os_error(write: Callable[..., int]) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write([block([(1.0, 2, "x", 3.0)] * 50_000)], MIXED, Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC


def test_names_are_for_csv_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has its own names"):
        open_table(written(tmp_path / "a.tfrecord", [GOOD]), columns=("a",))


# ---- the command


def edge_export(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from toolkit.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120)


def test_the_command_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("x,s,y\n1.5,a,1\n2.5,b\n,c,2\n")
    there, back = tmp_path / "b.tfrecord", tmp_path / "c.csv"
    done = edge_export("data", "convert", source, there, "--label", "y", "--bad-rows", "skip", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["rows"], document["bad_rows"]) == (2, 1)
    assert document["columns"] == {"x": "float", "s": "string", "y": "int"}
    assert document["warnings"] == [f"left out: {source}:3: has 2 fields, not 3"]
    done = edge_export("data", "convert", there, back)
    assert done.returncode == 0, done.stderr
    assert "2 rows of 3 columns" in done.stdout
    assert back.read_text() == "s,x,y\na,1.5,1\nc,nan,2\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("no*.csv", "b.tfrecord"), 2, "no*.csv: matches no file"),
        (("a.csv", "b.txt"), 2, "b.txt"),
        (("a.csv", "b.csv", "--label", "z"), 2, "unknown label column 'z'"),
        (("a.csv", "b.csv", "--bad-rows", "skp"), 2, "did you mean skip?"),
        (("a.csv", "b.tfrecord"), 5, "a.csv:3: has 1 field, not 2"),
        (("empty.csv", "b.tfrecord"), 5, "empty.csv: is empty"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("a,b\n1,2\n3\n")
    Path("empty.csv").touch()
    done = edge_export("data", "convert", *words)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(errors) == 1
    assert said in errors[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "empty.csv"]
