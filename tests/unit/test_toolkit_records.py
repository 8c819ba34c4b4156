"""Records survive JSON, and damaged JSON is named."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import records
from toolkit.records import Check, Comparison, Gate, TensorSpec, from_json, to_json

RECORDS = [c for c in vars(records).values() if isinstance(c, type) and dataclasses.is_dataclass(c)]


def build(kind: Any) -> st.SearchStrategy[Any]:
    """Values for any field type a record uses."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=3), st.lists(st.booleans(), max_size=2))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{f.name: build(hints[f.name]) for f in dataclasses.fields(kind)})
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return st.lists(build(args[0]), max_size=3).map(tuple)
        return st.tuples(*map(build, args))
    if origin is dict:
        return st.dictionaries(st.text(max_size=4), build(args[1]), max_size=3)
    if origin is not None:
        return st.one_of(*[st.none() if a is type(None) else build(a) for a in args])
    simple = {
        str: st.text(max_size=8),
        int: st.integers(-(2**53), 2**53),
        bool: st.booleans(),
        float: st.floats(allow_nan=False),
    }
    return simple[kind]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda k: k.__name__)
def test_every_record_survives_json(kind: type) -> None:
    @given(build(kind))
    def survives(record: Any) -> None:
        text = json.dumps(to_json(record), allow_nan=False)
        assert from_json(kind, json.loads(text)) == record

    survives()


def test_records_are_frozen_and_keyword_only() -> None:
    for kind in RECORDS:
        assert kind.__dataclass_params__.frozen, kind
        assert all(f.kw_only for f in dataclasses.fields(kind)), kind


def test_unknown_fields_are_ignored_missing_ones_are_named() -> None:
    assert from_json(Check, {"name": "a", "passed": True, "detail": "", "new": 1}).name == "a"
    with pytest.raises(ValueError, match=r"Gate.checks\[0\]: field 'detail' is missing"):
        from_json(Gate, {"passed": True, "checks": [{"name": "a", "passed": True}]})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": 1, "shape": [], "dtype": "x"}, "TensorSpec.name: expected str, found int"),
        ({"name": "a", "shape": 3, "dtype": "x"}, "TensorSpec.shape: expected a list"),
        ({"name": "a", "shape": ["b"], "dtype": "x"}, r"TensorSpec.shape\[0\]"),
        ([], "TensorSpec: expected an object"),
    ],
)
def test_wrong_types_are_named(data: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_json(TensorSpec, data)


def test_infinity_has_a_json_form() -> None:
    record = from_json(Comparison, {**COMPARISON, "psnr_db": "inf"})
    assert record.psnr_db == math.inf
    assert to_json(record)["psnr_db"] == "inf"


COMPARISON: dict[str, Any] = {
    "recipe": "int8",
    "target": "cpu",
    "against": "saved-model",
    "metric": "accuracy",
    "cloud": 0.9,
    "edge": 0.9,
    "difference": 0.0,
    "interval": [-0.001, 0.001],
    "budget": 0.005,
    "passed": True,
    "verdict": "kept",
    "agreement": 1.0,
    "max_abs_error": 0.0,
    "mean_abs_error": 0.0,
    "cosine": 1.0,
    "psnr_db": 60.0,
    "n": 1000,
}
