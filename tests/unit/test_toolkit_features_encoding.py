"""Raw rows as tensors: every way to say a value, every way to leave it out, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import features as made_up
from hypothesis import given, settings

from toolkit.errors import BrokenInput
from toolkit.features import FeatureSpec, HashBucket, Identity, Numeric, encode
from toolkit.features.encoding import floats, integers, texts

MISSING = -(2**31)
SPEC = FeatureSpec(
    label="y",
    columns=(
        Numeric(name="x", normalisation="none"),
        Identity(name="i-d", size=9),
        HashBucket(name="s", size=9, max_bytes=4),
    ),
)


def test_floats() -> None:
    tiny, nan = 1e-45, float("nan")
    given = [1, 2.5, None, nan, 1e300, -1e300, tiny, -tiny, True, np.float32(3), np.int8(4), 10**400, -(10**400)]
    expected = np.array([1, 2.5, nan, nan, np.inf, -np.inf, 0, 0, 1, 3, 4, np.inf, -np.inf], np.float32)
    found = floats(np.array(given, dtype=object), "x")
    assert found.dtype == np.float32
    assert np.array_equal(found, expected, equal_nan=True)
    assert not np.signbit(found[7])
    smallest = np.array([np.finfo(np.float32).tiny])
    assert floats(smallest, "x")[0] > 0
    for dtype in ("float64", "float16", "int64", "uint8", "bool"):
        assert np.array_equal(floats(np.array([0, 1], dtype=dtype), "x"), np.array([0, 1], np.float32))


def test_integers() -> None:
    given = [0, -1, 2**31 - 1, -(2**31) + 1, 2**31, -(2**40), 2**70, None, float("nan"), 3.0, 3.5, float("inf"), True]
    expected = [0, -1, 2**31 - 1, -(2**31) + 1, *[MISSING] * 5, 3, MISSING, MISSING, 1]
    found = integers(np.array(given, dtype=object), "i")
    assert found.dtype == np.int32
    assert found.tolist() == expected
    numbers = np.array([3.0, 3.5, np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31) + 1, 1e300])
    assert integers(numbers, "i").tolist() == [3, *[MISSING] * 5, -(2**31) + 1, MISSING]
    # 2**31 - 1 is no float32; the nearest one is one too many for int32
    assert integers(np.array([2.0**31, 2.0**31 - 128], np.float32), "i").tolist() == [MISSING, 2**31 - 128]
    assert integers(np.array([65504, np.inf], np.float16), "i").tolist() == [65504, MISSING]
    assert integers(np.array([2**31, 2**63 + 5, 7], np.uint64), "i").tolist() == [MISSING, MISSING, 7]
    assert integers(np.array([255], np.uint8), "i").tolist() == [255]
    assert integers(np.array([True, False]), "i").tolist() == [1, 0]


def test_texts() -> None:
    given = ["é", b"\xff\xfe", None, float("nan"), "a\0b\0\0", "\ud800"]
    assert texts(np.array(given, dtype=object), "s") == [b"\xc3\xa9", b"\xff\xfe", b"", b"", b"a\0b", b"?"]
    assert texts(np.array(["né", ""]), "s") == ["né".encode(), b""]
    assert texts(np.array([b"n", b"\xff"]), "s") == [b"n", b"\xff"]
    assert texts(np.array([np.nan, np.nan]), "s") == [b"", b""]


def test_rows_become_tensors() -> None:
    found = encode(SPEC, {"x": [1, None], "i-d": [3, "4"][:1] * 2, "s": ["abcdef", None], "unused": "anything"})
    assert list(found) == ["x", "i_d", "s"]
    assert found["x"].dtype == np.float32
    assert np.isnan(found["x"][1])
    assert found["i_d"].tolist() == [3, 3]
    assert found["s"].dtype == np.uint8
    assert found["s"].tolist() == [[97, 98, 99, 100], [0, 0, 0, 0]]
    none = encode(SPEC, {"x": [], "i-d": [], "s": []})
    assert [v.shape for v in none.values()] == [(0,), (0,), (0, 4)]


@settings(max_examples=50, deadline=None)
@given(made_up.specs(), made_up.rows())
def test_encoding_twice_changes_nothing(spec: FeatureSpec, rows: dict[str, list[Any]]) -> None:
    once = encode(spec, rows)
    twice = encode(spec, once)
    for tensor in spec.inputs():
        assert once[tensor.name].dtype == tensor.dtype
        assert once[tensor.name].shape[1:] == tensor.shape[1:]
        assert once[tensor.name].tobytes() == twice[tensor.name].tobytes()
    arrays = {name: np.array([*values, None], dtype=object)[:-1] for name, values in rows.items()}
    assert all(once[k].tobytes() == v.tobytes() for k, v in encode(spec, arrays).items())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"x": [1.0], "i-d": [1]}, "input 's' is missing; the data has: x, i-d"),
        ({"x": [1.0], "i-d": [1, 2], "s": ["a"]}, "different numbers of rows"),
        ({"x": ["1.0"], "i-d": [1], "s": ["a"]}, "input 'x': holds '1.0'; give numbers"),
        ({"x": [1.0, "a"], "i-d": [1, 1], "s": ["a", "a"]}, "input 'x': holds 'a'"),
        ({"x": [1.0], "i-d": ["1"], "s": ["a"]}, "input 'i-d': holds '1'; give integers"),
        ({"x": [1.0], "i-d": [None, "z"][1:], "s": ["a"]}, "input 'i-d': holds 'z'"),
        ({"x": [1.0], "i-d": [1], "s": [1]}, "input 's': holds 1; give texts"),
        ({"x": [1.0], "i-d": [1], "s": ["a", 2.5][1:]}, "input 's': holds 2.5"),
        ({"x": [[1.0]], "i-d": [1], "s": ["a"]}, "input 'x': holds [1.0]"),
        ({"x": np.ones((1, 1)), "i-d": [1], "s": ["a"]}, "input 'x': has shape [1, 1]"),
        ({"x": [1j], "i-d": [1], "s": ["a"]}, "input 'x': holds 1j"),
        ({"x": 1.0, "i-d": [1], "s": ["a"]}, "input 'x': holds [1.0]"),
        ({"x": [1.0], "i-d": [1], "s": np.zeros((1, 5), np.uint8)}, "input 's': has shape [1, 5]"),
        ({"x": np.array(["2020-01-01"], "datetime64[D]"), "i-d": [1], "s": ["a"]}, "give numbers"),
    ],
)
def test_what_does_not_fit_is_one_line(rows: dict[str, Any], said: str) -> None:
    with pytest.raises(BrokenInput) as caught:
        encode(SPEC, rows)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
