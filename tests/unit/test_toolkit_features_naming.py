"""Names of ids: one for each, no two alike, and what some rows say of ids that stand for many things."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import features as made_up
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.errors import BrokenInput, UsageError
from toolkit.features import (
    Bucketized,
    Column,
    Crossed,
    FeatureSpec,
    HashBucket,
    Identity,
    Numeric,
    Vocabulary,
    transform,
)
from toolkit.features.naming import id_names, range_names
from toolkit.features.sightings import sightings

LATITUDE = Bucketized(name="latitude", boundaries=(40.7, 40.75, 41.0))
PAYMENT = Vocabulary(name="payment", vocabulary=("Cash", "Card"))
HOUR = Identity(name="hour", size=3, default=2)
COMPANY = HashBucket(name="company", size=4)


def spec(*columns: Column) -> FeatureSpec:
    return FeatureSpec(label="y", columns=columns)


def names(column: Column, *others: Column) -> list[str]:
    return list(id_names(spec(*others, column), column.name))


def test_every_kind_has_names() -> None:
    assert names(LATITUDE) == ["< 40.7", "[40.7, 40.75)", "[40.75, 41)", "≥ 41", "missing"]
    assert names(PAYMENT) == ["(unknown)", "Cash", "Card"]
    assert names(Vocabulary(name="v", vocabulary=("a",), oov_buckets=2)) == ["(unknown 0)", "(unknown 1)", "a"]
    assert names(Vocabulary(name="v", vocabulary=(8, -1))) == ["(unknown)", "8", "-1"]
    assert names(HOUR) == ["0", "1", "2 (or other)"]
    assert names(COMPANY) == ["bucket 0", "bucket 1", "bucket 2", "bucket 3"]
    cross = names(Crossed(name="x", of=("payment", "hour")), PAYMENT, HOUR)
    assert cross == [f"{p} × {h}" for p in names(PAYMENT) for h in names(HOUR)]


def test_a_folded_cross_says_how_many_more_an_id_stands_for() -> None:
    found = names(Crossed(name="x", of=("payment", "hour"), size=4), PAYMENT, HOUR)
    assert found == [
        "(unknown) × 0 (+2 more)", "(unknown) × 1 (+1 more)",
        "(unknown) × 2 (or other) (+1 more)", "Cash × 0 (+1 more)",
    ]  # fmt: skip


def test_a_cross_beyond_int32_has_buckets() -> None:
    columns = [HashBucket(name=f"h{i}", size=2**16) for i in range(2)]
    found = id_names(spec(*columns, Crossed(name="x", of=("h0", "h1"), size=1000)), "x")
    assert (len(found), found[999], found[-1]) == (1000, "bucket 999", "bucket 999")


def test_names_are_made_when_asked_for() -> None:
    found = id_names(spec(HashBucket(name="h", size=2**31 - 1)), "h")
    assert len(found) == 2**31 - 1
    assert found[2**31 - 2] == found[-1] == "bucket 2147483646"
    assert found[2:4] == ["bucket 2", "bucket 3"]
    with pytest.raises(IndexError):
        found[2**31 - 1]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Cash", "Cash"), ("Crédit 日本", "Crédit 日本"), ("Cash ", "'Cash '"), ("", "''"), ("a\tb\n", r"'a\tb\n'"),
        ("(unknown)", "'(unknown)'"), ("'Cash '", "\"'Cash '\""), ("a × b", "'a × b'"),
        ("b (+1 more)", "'b (+1 more)'"), ("Taxi (Chicago)", "Taxi (Chicago)"),
    ],
)  # fmt: skip
def test_words_that_would_not_show_or_be_mistaken_are_quoted(word: str, name: str) -> None:
    assert names(Vocabulary(name="v", vocabulary=(word,)))[1] == name


def test_ranges_are_in_the_shortest_digits_of_a_float32() -> None:
    learned = [float(np.float32(v)) for v in (-73.98, 0.1, 16777216.0, 1e30)]
    assert learned[0] != -73.98
    assert range_names(learned) == ["< -73.98", "[-73.98, 0.1)", "[0.1, 16777216)", "[16777216, 1e+30)", "≥ 1e+30"]
    assert range_names([-0.0]) == ["< 0", "≥ 0"]
    close = np.nextafter(np.float32(40.7), np.float32(41)).item()
    assert len(set(range_names([40.7, close]))) == 3


def test_what_has_no_names_is_refused() -> None:
    with pytest.raises(UsageError, match="'n': a numeric column has no ids"):
        names(Numeric(name="n", mean=0.0, std=1.0))
    with pytest.raises(UsageError, match="not known yet"):
        names(Vocabulary(name="v"))
    with pytest.raises(BrokenInput, match="unknown column 'cash'"):
        id_names(spec(PAYMENT), "cash")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(made_up.specs(), st.data())
def test_every_id_of_any_spec_has_a_name_of_its_own(made: FeatureSpec, data: st.DataObject) -> None:
    for column in made.id_columns:
        found, count = id_names(made, column.name), made.count(column.name)
        assert len(found) == count
        if count <= 300:
            ids = range(count)
        else:
            ids = data.draw(st.lists(st.integers(0, count - 1), min_size=20, max_size=20, unique=True))
        shown = [found[i] for i in ids]
        assert len(set(shown)) == len(shown)
        assert all(name and name.isprintable() and name == name.strip() for name in shown)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(made_up.specs(), made_up.rows())
def test_sightings_are_what_the_rows_have(made: FeatureSpec, rows: dict[str, list[Any]]) -> None:
    ids = transform(made, rows).ids
    found = sightings(made, rows)
    assert set(found) == set(ids)
    for name, seen in found.items():
        own, counts = np.unique(ids[name], return_counts=True)
        assert (seen.ids.tolist(), seen.counts.tolist()) == (own.tolist(), counts.tolist())
        assert len(set(seen.names)) == len(seen.names) == len(own)


def test_a_hash_is_named_after_what_is_in_it() -> None:
    made = spec(
        HashBucket(name="company", size=1), Vocabulary(name="v", input="company", vocabulary=("X",), oov_buckets=2)
    )
    found = sightings(made, {"company": ["Blue", "Red", "Blue", None, "X"]})
    assert found["company"].names == ("Blue +3 (bucket 0)",)
    assert sightings(made, {"company": ["Red", "Red"]})["company"].names == ("Red (bucket 0)",)
    for name in found["v"].names[:-1]:
        assert name.split(" ")[0] in ("Blue", "Red", "''")
        assert name.endswith(("(unknown 0)", "(unknown 1)"))
    assert found["v"].names[-1] == "X"


def test_integers_are_named_too() -> None:
    made = spec(HashBucket(name="area", dtype="integer", size=1))
    assert sightings(made, {"area": [7, 7, 8]})["area"].names == ("7 +1 (bucket 0)",)
    assert sightings(made, {"area": [None]})["area"].names == ("missing (bucket 0)",)
    narrow = spec(HashBucket(name="letter", max_bytes=1, size=1))  # one byte of text is no integer
    assert sightings(narrow, {"letter": ["a"]})["letter"].names == ("a (bucket 0)",)


def test_a_folded_cross_is_named_after_its_commonest_cell() -> None:
    made = spec(PAYMENT, HOUR, Crossed(name="x", of=("payment", "hour"), size=1))
    rows = {"payment": ["Card", "Card", "Cash"], "hour": [1, 1, 0]}
    assert sightings(made, rows)["x"].names == ("Card × 1 (+8 more)",)
    large = [HashBucket(name=f"h{i}", size=2**16) for i in range(2)]
    hashed = spec(*large, Crossed(name="x", of=("h0", "h1"), size=1))
    ids = transform(hashed, {"h0": ["a"], "h1": ["b"]}).ids
    (name,) = sightings(hashed, {"h0": ["a"], "h1": ["b"]})["x"].names
    assert name == f"bucket {ids['h0'][0]} × bucket {ids['h1'][0]} (bucket 0)"
