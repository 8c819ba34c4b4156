"""Which data are taken: by name, by file, by whose spec; and found again from another folder."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import houses

import toolkit.datasets
from toolkit.datasets import nyc
from toolkit.datasets._chosen import Chosen
from toolkit.errors import BrokenInput, EdgeExportError, UsageError
from toolkit.progress import Progress
from toolkit.tables import generate

QUIET = Progress(quiet=True)


@pytest.mark.parametrize(
    ("choice", "kind", "said"),
    [
        ({}, UsageError, "there is no data to train on; give --data FILE, or a data set's name"),
        ({"pattern": "a.csv", "data_dir": "d"}, UsageError, "--data FILE and --data-dir or --data-source exclude"),
        ({"pattern": "a.csv", "source": "keras"}, UsageError, "--data FILE and --data-dir or --data-source exclude"),
        ({"name": "nyc", "label": "y"}, UsageError, "--label, --columns and --bad-rows are for a file of your own"),
        (
            {"name": "nyc", "columns": ("a",)},
            UsageError,
            "--label, --columns and --bad-rows are for a file of your own",
        ),
        ({"name": "nyc", "bad_rows": "skip"}, UsageError, "--label, --columns and --bad-rows are for a file"),
        ({"pattern": "a.csv", "spec": "s.toml", "label": "y"}, UsageError, "--spec names the label; leave --label out"),
        ({"pattern": "a.npz", "columns": ("a",)}, UsageError, "a.npz: --columns and --bad-rows are for tables"),
        ({"pattern": "a.npz", "bad_rows": "skip"}, UsageError, "a.npz: --columns and --bad-rows are for tables"),
        ({"pattern": "a.csv", "label": "y"}, UsageError, "a.csv: there is no such file"),
        ({"pattern": "a-*.csv", "label": "y"}, UsageError, "a-*.csv: matches no file"),
        ({"pattern": "a.npz"}, UsageError, "a.npz: there is no such file; check --data"),
        (
            {"pattern": "h.csv", "label": "price", "bad_rows": "ignore"},
            UsageError,
            "unknown way with bad rows 'ignore'",
        ),
        ({"pattern": "h.csv", "spec": "no.toml"}, UsageError, "no.toml: there is no such file; check --spec"),
        ({"pattern": "h.csv", "spec": "nycc"}, UsageError, "unknown spec 'nycc'; did you mean nyc?"),
        ({"pattern": "h.csv", "spec": "mnist"}, UsageError, "unknown spec 'mnist'; there are: adult, chicago, nyc"),
        ({"pattern": "h.csv", "spec": "h.csv"}, UsageError, "h.csv: is no spec's name; give a .toml or .json file"),
        (
            {"pattern": "h.csv", "spec": "nyc"},
            BrokenInput,
            "h.csv: lacks column 'pickup_longitude' (it has: sqft, rooms",
        ),
        (
            {"name": "nyc", "spec": "other.toml"},
            BrokenInput,
            "other.toml: predicts 'price', and the label is 'fare_amo",
        ),
    ],
)
def test_choices_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: dict[str, Any], kind: type[EdgeExportError], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    houses.write(Path("h.csv"), houses.rows(20))
    Path("other.toml").write_text('label = "price"\n[[columns]]\nname = "passenger_count"\nkind = "numeric"\n')
    with pytest.raises(kind, match=re.escape(said)) as caught:
        Chosen(**choice).open(QUIET)
    assert "\n" not in str(caught.value)


def test_a_choice_is_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    houses.write(Path("h.csv"), houses.rows())
    Path("h.toml").write_text(houses.SPEC)
    np.savez("a.npz", x=np.arange(40.0), label=np.arange(40.0))
    Path("copy").mkdir()
    generate.write(Path("copy/rides.csv"), 200, progress=QUIET)
    choices = [
        Chosen(pattern="h.csv", spec="h.toml"),
        Chosen(pattern="h.cs*", label="price"),
        Chosen(pattern="a.npz"),
        Chosen(name="nyc", data_dir="copy", source="folder"),
        Chosen(name="nyc", spec="nyc"),
    ]
    found = [choice.open(QUIET).describe() for choice in choices]
    (tmp_path / "elsewhere").mkdir()
    recorded = [choice.describe() for choice in choices]
    monkeypatch.chdir(tmp_path / "elsewhere")
    for described, before in zip(recorded, found, strict=True):
        again = Chosen.of(described)
        assert again.describe() == described
        opened = again.open(QUIET, features=before.get("features"))
        assert {**opened.describe(), "source": 0} == {**before, "source": 0}
        if described["pattern"]:
            assert opened.source == before["source"], "and under the same name"
    assert recorded[-1]["spec"] == "nyc", "a name is no path"


def test_a_file_called_like_a_data_sets_spec_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generate.write(Path("rides.csv"), 200, progress=QUIET)
    data = Chosen(pattern="rides.csv", spec="nyc").open(QUIET)
    assert data.facts["label"] == "fare_amount"
    assert data.spec is not None
    assert data.spec.column("trip").kind == "crossed"
    Path("nyc").write_text("mine")
    with pytest.raises(UsageError, match="nyc: is no spec's name"):
        Chosen(pattern="rides.csv", spec="nyc").open(QUIET)


# ---- nyc


def test_generated_rides_are_those_of_the_formula(tmp_path: Path) -> None:
    said = io.StringIO()
    data = toolkit.datasets.load("nyc", progress=Progress(stream=said))
    assert len(data.labels) == nyc.RIDES
    assert data.source == f"{nyc.RIDES:,} generated rides (seed {nyc.SEED})"
    assert said.getvalue().startswith(f"data: nyc from {data.source}: ")
    x = {name: values.astype(np.float64) for name, values in data.inputs.items()}
    km = 111.2 * (
        np.abs(x["dropoff_latitude"] - x["pickup_latitude"])
        + np.cos(np.radians(40.75)) * np.abs(x["dropoff_longitude"] - x["pickup_longitude"])
    )
    noise = data.labels - (3.00 + 1.55 * km)
    assert abs(float(noise.mean())) < 0.05
    assert float(noise.std()) == pytest.approx(1.0, abs=0.05)


def test_the_same_rides_in_a_folder_in_a_file_and_generated_are_one(tmp_path: Path) -> None:
    """Also as the deck's raw file: no header line, a date and a key, and the label first."""
    (path,) = generate.write(tmp_path / "rides.csv", nyc.RIDES, seed=nyc.SEED, progress=QUIET)
    one = Chosen(name="nyc").open(QUIET)
    assert set(one.inputs) == {"pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude"} | {
        "passenger_count"
    }
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    raw = tmp_path / "taxi-train.csv"
    raw.write_text("".join(f"{fare},2012-02-12 11:05:00 UTC,{','.join(x)},{i}\n" for i, (fare, *x) in enumerate(rows)))
    names = ("fare_amount", "pickup_datetime", "pickup_longitude", "pickup_latitude", "dropoff_longitude")
    others = (
        Chosen(name="nyc", data_dir=str(tmp_path)),
        Chosen(pattern=str(path), spec="nyc"),
        Chosen(pattern=str(raw), spec="nyc", columns=(*names, "dropoff_latitude", "passenger_count", "key")),
    )
    raw.rename(tmp_path / "taxi-train.txt")
    assert others[0].open(QUIET).describe()["splits"] == one.describe()["splits"]
    (tmp_path / "taxi-train.txt").rename(raw)
    for other in others[1:]:
        data = other.open(QUIET)
        assert data.describe()["splits"] == one.describe()["splits"]
        assert data.facts["features"] == one.facts["features"]


def test_a_folder_without_a_passenger_count_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("fare_amount,pickup_longitude,pickup_latitude\n5,1,2\n")
    with pytest.raises(BrokenInput, match="lacks column 'dropoff_longitude', 'dropoff_latitude', 'passenger_count'"):
        toolkit.datasets.load("nyc", data_dir=tmp_path, progress=QUIET)
    with pytest.raises(UsageError, match="did you mean generated"):
        toolkit.datasets.load("nyc", source="generatd", progress=QUIET)
