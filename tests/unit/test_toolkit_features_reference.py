"""The truth itself, against plain Python: golden rows, and an oracle that knows no arrays."""

from __future__ import annotations

import bisect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import features as made_up
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.errors import BrokenInput
from toolkit.features import (
    Bucketized,
    Crossed,
    FeatureSpec,
    HashBucket,
    Identity,
    Numeric,
    Vocabulary,
    encode,
    loads,
    transform,
)
from toolkit.features.hashing import MULTIPLIER, bucket, distinct_keys, mix, padded, polynomial, powers
from toolkit.features.scaling import LIMIT, Scaling, scaling

GOLDEN = Path(__file__).parents[1] / "golden" / "features.json"


def signed(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def hashed(word: int, size: int) -> int:
    """MurmurHash3's finaliser as its author writes it, in whole numbers."""
    h = word % 2**32
    h ^= h >> 16
    h = h * 0x85EBCA6B % 2**32
    h ^= h >> 13
    h = h * 0xC2B2AE35 % 2**32
    h ^= h >> 16
    return signed(h) % size


def poly(words: list[int]) -> int:
    return sum(w * MULTIPLIER**i for i, w in enumerate(words)) % 2**32


def oracle(spec: FeatureSpec, name: str, row: dict[str, Any]) -> int:
    """The id of one column of one encoded row (numbers, integers, bytes)."""
    column = spec.column(name)
    if isinstance(column, Crossed):
        members = [oracle(spec, m, row) for m in column.of]
        counts = [spec.count(m) for m in column.of]
        if math.prod(counts) > 2**31 - 1:
            return hashed(poly(members), spec.count(name))
        return sum(m * math.prod(counts[i + 1 :]) for i, m in enumerate(members)) % spec.count(name)
    value = row[column.tensor]
    if isinstance(column, Bucketized):
        assert column.boundaries is not None
        if value != value or value == -(2**31):
            return len(column.boundaries) + 1
        # float32() of an integer input's value: what the graph compares
        return bisect.bisect_right([np.float32(b) for b in column.boundaries], np.float32(value))
    if isinstance(column, Identity):
        assert column.size is not None
        return value if 0 <= value < column.size else column.default
    assert isinstance(column, (Vocabulary, HashBucket))
    word = value if isinstance(value, int) else poly(list(value[: column.width]))
    if isinstance(column, HashBucket):
        return hashed(word, column.size)
    assert column.vocabulary is not None
    words = [w if isinstance(w, int) else w.encode() for w in column.vocabulary]
    return words.index(value) + column.oov_buckets if value in words else hashed(word, column.oov_buckets)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made_up.specs(), made_up.rows())
def test_every_id_is_what_plain_python_says(spec: FeatureSpec, rows: dict[str, list[Any]]) -> None:
    found = transform(spec, rows)
    encoded = encode(spec, rows)
    plain = [
        {k: v[i].tobytes().rstrip(b"\0") if v.ndim == 2 else v[i].item() for k, v in encoded.items()}
        for i in range(len(rows["f0"]))
    ]
    for column in spec.id_columns:
        ids = found.ids[column.name]
        assert ids.dtype == np.int32
        assert ids.tolist() == [oracle(spec, column.name, row) for row in plain], column
        assert ids.min() >= 0
        assert ids.max() < spec.count(column.name)
    assert found.numeric.dtype == np.float32
    assert np.isfinite(found.numeric).all()


def test_golden_rows() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    spec = loads(json.dumps(golden["spec"]), format="json")
    rows = {name: [row[name] for row in golden["rows"]] for name in golden["rows"][0]}
    found = transform(spec, rows)
    for name, ids in golden["ids"].items():
        assert found.ids[name].tolist() == ids, name
    assert set(golden["ids"]) == set(found.ids)
    assert np.allclose(found.numeric, golden["numeric"], rtol=1e-3, atol=1e-6)


def test_the_hash_is_murmurs() -> None:
    # fmix32 of 0, 1 and 2 as MurmurHash3's C source gives them
    assert mix(np.array([0, 1, 2], np.int32)).view(np.uint32).tolist() == [0, 0x514E28B7, 0x30F4C306]
    values = np.array([-(2**31), 2**31 - 1, -1, 12345], np.int32)
    assert bucket(values, 1000).tolist() == [hashed(int(v), 1000) for v in values]
    assert polynomial(padded([b"abc"], 8), powers(8)).tolist() == [signed(poly([97, 98, 99]))]
    assert powers(2, width=4).tolist() == [1, signed(MULTIPLIER), 0, 0]


def test_the_hash_spreads() -> None:
    words = padded([f"word{i}".encode() for i in range(20_000)], 32)
    filled = np.bincount(bucket(polynomial(words, powers(32)), 100), minlength=100)
    # chi square of 99 degrees of freedom: above 148.2 once in a thousand
    assert ((filled - 200) ** 2 / 200).sum() < 148.2
    assert len(np.unique(polynomial(words, powers(32)))) == 20_000


def test_keys_tell_words_apart_even_where_the_first_ones_do_not() -> None:
    # 256 ** 4 texts share 2 ** 32 keys: look for two of 60,000 that share one under the first multiplier
    words = np.random.default_rng(1).integers(1, 256, (120_000, 6)).astype(np.uint8)
    first = polynomial(words, powers(6))
    order = np.argsort(first, kind="stable")
    same = np.flatnonzero(np.diff(first[order]) == 0)
    pair = words[order[[same[0], same[0] + 1]]]
    assert not np.array_equal(pair[0], pair[1])
    keys, weights = distinct_keys(pair)
    assert keys[0] != keys[1]
    assert np.array_equal(polynomial(pair, weights), keys)


@given(
    st.floats(-1e9, 1e9).filter(lambda m: m == 0 or abs(m) > 1e-6), st.floats(1e-4, 1e9), st.floats(-4, 4)
)  # fmt: skip
def test_normalisation_by_float16_constants(mean: float, std: float, z: float) -> None:
    column = Numeric(name="n", mean=mean, std=std)
    if std < abs(mean) * 2**-24:
        with pytest.raises(BrokenInput, match="cannot be normalised"):
            scaling(column)
        return
    found = scaling(column)
    for constant in found:
        assert float(np.float16(constant)) == constant
        assert math.isfinite(constant)
    x = mean + z * std
    scaled = (x * found.step - found.centre) * found.factor - found.rest
    # the factor has 11 bits, the centre 22 in two parts: a share of std unless the mean is far larger
    assert scaled == pytest.approx(z, rel=2**-11, abs=2**-10 + 2**-22 * abs(mean) / std)


def test_missing_numbers() -> None:
    nan, inf = float("nan"), float("inf")
    raw = [nan, inf, -inf, None, LIMIT, -LIMIT, LIMIT / 2]
    for column, fill in (
        (Numeric(name="n", mean=5.0, std=2.0), 0.0),
        (Numeric(name="n", mean=5.0, std=2.0, default=9.0), 2.0),
        (Numeric(name="n", normalisation="minmax", minimum=2.0, maximum=4.0, default=3.0), 0.5),
        (Numeric(name="n", normalisation="none", default=7.0), 7.0),
    ):
        found = transform(FeatureSpec(label="y", columns=(column,)), {"n": raw}).numeric[:, 0]
        assert found[:5].tolist() == [fill] * 5
        assert found[5] == pytest.approx(-LIMIT / {2.0: 2, 0.5: 2, 0.0: 2, 7.0: 1}[fill], rel=1e-3)
        assert found[6] > 1e28
    assert scaling(Numeric(name="n", normalisation="none")) == Scaling(1, 0, 1, 0, 0)
    with pytest.raises(BrokenInput, match="'n': cannot be normalised"):
        scaling(Numeric(name="n", mean=1e14, std=1e9))


def test_a_text_is_never_taken_for_one_that_begins_like_it() -> None:
    spec = FeatureSpec(label="y", columns=(Vocabulary(name="v", vocabulary=("ab", "abc")),))
    assert spec.inputs()[0].shape == (None, 4)
    found = transform(spec, {"v": ["ab", "abc", "abcd", "abcde", "a", "", "ab\0", "ab\0c"]}).ids["v"]
    assert found.tolist() == [1, 2, 0, 0, 0, 0, 1, 0]
