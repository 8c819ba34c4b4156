"""Specs as TOML and JSON files: what comes out equals what went in, and mistakes are named with their place."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from fakes import features as made_up
from hypothesis import HealthCheck, given, settings

from toolkit.errors import BrokenInput, UsageError
from toolkit.features import (
    Bucketized,
    Crossed,
    FeatureSpec,
    HashBucket,
    IdColumn,
    Identity,
    Numeric,
    Vocabulary,
    adapt,
    dumps,
    load,
    loads,
    read_vocabulary,
    transform,
)
from toolkit.features.columns import DEFAULT_BUCKETS
from toolkit.features.kinds import KINDS

DOCS = Path(__file__).parents[2] / "docs" / "features.md"

TOML = """
label = "income"
task = "classification"

[[columns]]
name = "age"
kind = "bucketized"
boundaries = [18, 25.5, 65]

[[columns]]
name = "hours"
input = "hours-per-week"
kind = "numeric"

[[columns]]
name = "job"
kind = "vocabulary"
vocabulary_file = "jobs.txt"
embedding = "auto"

[[columns]]
name = "country"
kind = "hash_bucket"
size = 50
wide = false
indicator = true

[[columns]]
name = "code"
kind = "identity"

[[columns]]
name = "age_job"
kind = "crossed"
of = ["age", "job"]
embedding = 8
"""


def test_toml_says_what_python_says(tmp_path: Path) -> None:
    (tmp_path / "jobs.txt").write_bytes("cook\r\nTechnik\n\ncafé\n".encode())
    (tmp_path / "adult.toml").write_text(TOML, encoding="utf-8")
    assert load(tmp_path / "adult.toml") == FeatureSpec(
        label="income",
        task="classification",
        columns=(
            Bucketized(name="age", boundaries=(18, 25.5, 65)),
            Numeric(name="hours", input="hours-per-week"),
            Vocabulary(name="job", vocabulary=("cook", "Technik", "café"), embedding="auto"),
            HashBucket(name="country", size=50, wide=False, indicator=True),
            Identity(name="code"),
            Crossed(name="age_job", of=("age", "job"), embedding=8),
        ),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made_up.specs())
def test_json_gives_the_spec_back(spec: FeatureSpec) -> None:
    text = dumps(spec)
    assert loads(text, format="json") == spec
    assert dumps(loads(text, format="json")) == text
    assert json.loads(text)["schema_version"] == 1


def column(text: str) -> str:
    return f'label = "y"\n[[columns]]\n{text}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label = ", "spec.toml: is not TOML"),
        ('labl = "y"', "spec.toml: unknown option 'labl'; did you mean label?"),
        ('label = "y"', "spec.toml: has no columns"),
        ('columns = "a"', "columns is not a list of tables"),
        ("columns = [1]", "columns is not a list of tables"),
        ('schema_version = 99\nlabel = "y"', "schema version 99"),
        (column('kind = "numeric"'), "spec.toml: column 1: has no name"),
        (column('name = "a"'), "column 'a': has no kind; there are: numeric"),
        (column('name = "a"\nkind = 3'), "column 'a': has no kind"),
        (column('name = "a"\nkind = "buketized"'), "column 'a': unknown kind 'buketized'; did you mean bucketized"),
        (column('name = "a"\nkind = "numeric"\nsdt = 1'), "unknown option of numeric 'sdt'; did you mean std?"),
        (column('name = "a"\nkind = "hash_bucket"'), "column 'a': has no size"),
        (column('name = "a"\nkind = "crossed"'), "column 'a': has no of"),
        (column('name = "a"\nkind = "hash_bucket"\nsize = "big"'), "column 'a': size = 'big' is out of range"),
        (column('name = "a"\nkind = "numeric"\nmean = "1"'), "mean = '1' is no finite number"),
        (column('name = "a"\nkind = "numeric"\nmean = 1e999'), "mean = inf is no finite number"),
        (column('name = 4\nkind = "numeric"'), "the name 4 is none"),
        (column('name = "a"\nkind = "vocabulary"\nvocabulary_file = "no.txt"'), "no.txt: cannot be read"),
        (column('name = "a"\nkind = "vocabulary"\nvocabulary_file = 3'), "vocabulary_file = 3 is no path"),
        (
            column('name = "a"\nkind = "vocabulary"\nvocabulary_file = "twice.txt"'),
            "twice.txt: has 'x' twice, in lines 1 and 4",
        ),
        (
            column('name = "a"\nkind = "vocabulary"\nvocabulary_file = "twice.txt"\nvocabulary = ["x"]'),
            "has both vocabulary and vocabulary_file",
        ),
        (
            column('name = "a"\nkind = "vocabulary"\nvocabulary_file = "twice.txt"\ndtype = "integer"'),
            "twice.txt: line 1 is no integer: 'x'",
        ),
        (column('name = "y"\nkind = "numeric"'), "spec.toml: column 'y': is made of the label"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "twice.txt").write_text("x\ny\n\nx\n", encoding="utf-8")
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BrokenInput) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_spec_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give a \.toml or \.json"):
        load(tmp_path / "spec.yaml")
    with pytest.raises(BrokenInput, match="cannot be read"):
        load(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"label = \xff")
    with pytest.raises(BrokenInput, match="is not UTF-8"):
        load(tmp_path / "binary.toml")
    with pytest.raises(BrokenInput, match="is not JSON"):
        loads("{", format="json")
    with pytest.raises(BrokenInput, match="is not a table"):
        loads("[]", format="json")
    with pytest.raises(UsageError, match="format 'yaml' is unknown"):
        loads("", format="yaml")
    # null is how JSON leaves something out
    nothing = {"name": "h", "kind": "hash_bucket", "size": None}
    with pytest.raises(BrokenInput, match="has no size"):
        loads(json.dumps({"label": "y", "columns": [nothing]}), format="json")


def test_vocabulary_files(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xef\xbb\xbf10\n-2\n")
    assert read_vocabulary(path) == ("10", "-2")
    assert read_vocabulary(path, dtype="integer") == (10, -2)
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(BrokenInput, match="holds no words"):
        read_vocabulary(path)


def examples() -> list[str]:
    """The specs that the docs show."""
    return re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_the_docs_examples_work() -> None:
    rows = {
        **{name: [40.5, 40.8, 41.0, None] for name in ("pickup_latitude", "pickup_longitude")},
        **{name: [40.5, 40.8, 41.0, None] for name in ("dropoff_latitude", "dropoff_longitude")},
        "passenger_count": [1, 2, 6, 1],
        "sq_footage": [700, 2000, None, 1500],
        "type": ["Condo", "Residential", "Castle", None],
        "fare_amount": [2.5, 9.0, 30.0, 7.5],
        "price": [1.0, 2.0, 3.0, 4.0],
    }  # fmt: skip
    housing, taxi = (adapt(loads(text), [rows]) for text in examples())
    assert transform(housing, rows).ids["type"].tolist() == [2, 1, 0, 0]
    assert taxi.task == "regression"
    trips = transform(taxi, rows).ids["trip"]
    assert len(set(trips.tolist())) == 4
    assert taxi.embedding_size("trip") == 10


def test_the_docs_name_every_kind_and_option() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for kind, made in KINDS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind}` |"))
        shared = {f.name for f in dataclasses.fields(IdColumn)}
        for option in {f.name for f in dataclasses.fields(made)} - shared:
            assert f"`{option}`" in row, (kind, option)
    for option in ("name", "kind", "input", "embedding", "indicator", "wide", "label", "task"):
        assert f"`{option}`" in text
    assert str(DEFAULT_BUCKETS) in text
