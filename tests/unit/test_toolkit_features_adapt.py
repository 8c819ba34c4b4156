"""What is learned from data: the right numbers, in one pass, the same however the rows were batched."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import BrokenInput
from toolkit.features import (
    Bucketized,
    Column,
    Crossed,
    FeatureSpec,
    HashBucket,
    Identity,
    Numeric,
    Vocabulary,
    adapt,
    dumps,
    encode,
    transform,
)
from toolkit.features import learners as learning
from toolkit.features.scaling import LIMIT


def learned(column: Column, values: Any) -> Any:
    return adapt(FeatureSpec(label="y", task="regression", columns=(column,)), [{column.source: values}]).columns[0]


EVERYTHING = FeatureSpec(
    label="y",
    columns=(
        Numeric(name="x"),
        Numeric(name="x_range", input="x", normalisation="minmax"),
        Bucketized(name="x_quantiles", input="x"),
        Bucketized(name="x_linear", input="x", buckets=5, method="linear"),
        Identity(name="i"),
        Vocabulary(name="i_words", input="i"),
        Vocabulary(name="s", min_count=2),
        Vocabulary(name="s_top", input="s", max_size=3, oov_buckets=4),
        HashBucket(name="s_hash", input="s", size=9),
        Crossed(name="cross", of=("x_linear", "s", "i")),
    ),
)


def data(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.lognormal(3, 2, n)
    x[:: max(1, n // 7)] = np.nan
    words = np.array(["", "a", "b", "c", "é", "long word", "z"], dtype=object)
    return {
        "x": x,
        "i": rng.integers(0, 12, n),
        "s": words[rng.zipf(1.5, n).clip(1, 7) - 1],
        "y": np.where(rng.random(n) < 0.5, "yes", "no"),
    }


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=12), st.integers(0, 3))
def test_batches_do_not_matter(cuts: list[int], seed: int) -> None:
    rows = data(20_000, seed)
    edges = [0, *sorted(cuts), 20_000]
    batches = [{k: v[a:b] for k, v in rows.items()} for a, b in itertools.pairwise(edges)]
    whole = adapt(EVERYTHING, [rows])
    assert dumps(adapt(EVERYTHING, iter(batches))) == dumps(whole)
    assert not whole.unlearned
    assert whole.task == "classification"
    assert set(transform(whole, rows).ids) == {c.name for c in EVERYTHING.id_columns}


def test_numbers_are_numpys() -> None:
    rows = data(50_001)
    x = rows["x"].astype(np.float32).astype(np.float64)
    x = x[np.isfinite(x)]
    found = adapt(EVERYTHING, [rows])
    numeric, minmax = found.numeric
    assert numeric.mean == pytest.approx(x.mean(), rel=1e-12)
    assert numeric.std == pytest.approx(x.std(), rel=1e-12)
    assert (minmax.minimum, minmax.maximum) == (x.min(), x.max())
    normal = transform(found, rows).numeric[np.isfinite(rows["x"])]
    assert normal[:, 0].mean() == pytest.approx(0, abs=1e-3)
    assert normal[:, 0].std() == pytest.approx(1, abs=1e-3)
    assert (normal[:, 1].min(), normal[:, 1].max()) == pytest.approx((0, 1), abs=1e-3)


def test_what_is_given_stays() -> None:
    values = [1.0, 2.0, 9.0]
    assert learned(Numeric(name="n", std=3.0), values) == Numeric(name="n", mean=4.0, std=3.0)
    found = learned(Numeric(name="n", normalisation="minmax", minimum=0.0), values)
    assert found == Numeric(name="n", normalisation="minmax", minimum=0.0, maximum=9.0)
    given = FeatureSpec(label="y", task="regression", columns=(Numeric(name="n", normalisation="none"),))
    assert adapt(given, iter([])) is given


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0, None], [1e9, 1e9], [0.0, 0.0]])
@pytest.mark.parametrize("normalisation", ["zscore", "minmax"])
def test_a_constant_becomes_zero(normalisation: str, values: list[float]) -> None:
    column = learned(Numeric(name="n", normalisation=normalisation), values)
    found = transform(FeatureSpec(label="y", columns=(column,)), {"n": [values[0], float("nan")]}).numeric
    assert np.abs(found).max() < 1e-6


def test_noise_below_what_float32_resolves_is_not_blown_up() -> None:
    column = learned(Numeric(name="n"), np.append(np.full(100_000, 1e9), 1e9 + 64))
    assert column.std == pytest.approx(1e9)


def test_what_is_missing_or_out_of_range_teaches_nothing() -> None:
    nasty = [float("nan"), float("inf"), -float("inf"), None, LIMIT, 1e300]
    assert learned(Numeric(name="n"), [*nasty, 1.0, 3.0]) == Numeric(name="n", mean=2.0, std=1.0)
    assert learned(Bucketized(name="n", method="linear", buckets=2), [*nasty, 1.0, 3.0]).boundaries == (2.0,)
    assert learned(Identity(name="i"), [-5, 3, None, 2**40, 2.5, 1]).size == 4
    assert learned(Vocabulary(name="v"), [3, None, 3, 2**40, 1, 1.5]).vocabulary == (3, 1)
    assert learned(Vocabulary(name="v"), [None, "", "b", "", "a", "b"]).vocabulary == ("b", "a")


def test_quantiles_share_alike() -> None:
    values = np.random.default_rng(5).exponential(size=30_000)
    column = learned(Bucketized(name="b", buckets=8), values)
    assert len(column.boundaries) == 7
    ids = transform(FeatureSpec(label="y", columns=(column,)), {"b": values}).ids["b"]
    assert np.abs(np.bincount(ids, minlength=10)[:8] - 3750).max() <= 1
    assert len(learned(Bucketized(name="b"), values).boundaries) == 15


@pytest.mark.parametrize(
    ("values", "boundaries"),
    [
        ([0.0] * 99 + [7.0], (7.0,)),
        ([0.0] * 50 + [1.0] * 50, (1.0,)),
        ([7.0] * 99 + [0.0], (7.0,)),
        ([0.0, 1.0, 2.0, 3.0], (1.0, 2.0, 3.0)),
    ],
)
def test_quantiles_of_few_values(values: list[float], boundaries: tuple[float, ...]) -> None:
    assert learned(Bucketized(name="b", buckets=4), values).boundaries == boundaries


def test_quantiles_of_a_long_stream_keep_the_promised_error() -> None:
    def stream() -> Iterator[dict[str, np.ndarray]]:
        for block in range(50):  # in order: a reservoir of the first rows would see none of the rest
            yield {"b": np.arange(block * 20_000, (block + 1) * 20_000, dtype=np.float64)}

    spec = FeatureSpec(label="y", task="regression", columns=(Bucketized(name="b", buckets=100),))
    tracemalloc.start()
    found = adapt(spec, stream()).columns[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, Bucketized)
    assert found.boundaries is not None
    ranks = np.array(found.boundaries) / 1e6
    promised = math.sqrt(math.log(2 / 0.05) / (2 * learning.SAMPLE))
    assert np.abs(ranks - np.arange(1, 100) / 100).max() < promised
    assert promised < 0.0054
    # 8 MB of numbers went through it; what is held is the sample and one batch
    assert peak < 6e6


def test_vocabularies_are_sorted_by_frequency_then_value() -> None:
    values = ["b", "a", "c", "c", "é", "d", "d", "z"]
    assert learned(Vocabulary(name="v"), values).vocabulary == ("c", "d", "a", "b", "z", "é")
    assert learned(Vocabulary(name="v", min_count=2), values).vocabulary == ("c", "d")
    assert learned(Vocabulary(name="v", max_size=3), values).vocabulary == ("c", "d", "a")
    assert learned(Vocabulary(name="v"), np.array([9, -1, 9, 4])) == Vocabulary(name="v", vocabulary=(9, -1, 4))
    assert learned(Vocabulary(name="v"), np.array([2.0, np.nan, 2.0])).vocabulary == (2,)
    assert learned(Vocabulary(name="v"), [b"x", b"x"]).vocabulary == ("x",)


def test_the_task_is_the_labels() -> None:
    spec = FeatureSpec(label="y", columns=(Numeric(name="n"),))
    for labels, task in (
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([1, 2], "regression"),
        ([None, 1.5], "regression"),
    ):
        assert adapt(spec, [{"n": [1, 2], "y": labels}]).task == task
    assert adapt(spec, [{"n": [1, 2]}]).task is None
    assert adapt(spec, [{"n": [1], "y": [None]}, {"n": [1], "y": ["x"]}]).task == "classification"


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        (Numeric(name="n"), [], "column 'n': has no number in the data"),
        (Numeric(name="n"), [None, float("nan")], "column 'n': has no number"),
        (Numeric(name="n"), ["1"], "input 'n': holds '1'"),
        (Bucketized(name="b"), [None], "column 'b': has no number"),
        (Bucketized(name="b"), [3.0, 3.0], "holds one number only (3)"),
        (Identity(name="i"), [-1, -2], "has no integer from 0"),
        (Identity(name="i"), [2**20], "holds ids up to 1048576; give its size"),
        (Vocabulary(name="v"), [None, ""], "has no word that occurs in"),
        (Vocabulary(name="v", min_count=3), ["a", "a"], "has no word that occurs 3 times or more"),
        (Vocabulary(name="v"), [1.5], "holds 1.5, which is neither text nor integer; use bucketized"),
        (Vocabulary(name="v"), ["a", 1], "input 'v': holds 1; give texts"),
        (Vocabulary(name="v"), [b"\xff"], "no UTF-8"),
        (Vocabulary(name="v"), ["é" * 200], "word of 400 bytes"),
        (Vocabulary(name="v"), np.arange(200_000), "has 200000 words; give max_size"),
        (Vocabulary(name="v"), np.arange(2**20 + 1), "more than 1048576 different words"),
        (Numeric(name="n"), [1e28, -1e28], "cannot be normalised"),
    ],
)
def test_what_teaches_nothing_is_one_line(column: Column, values: Any, said: str) -> None:
    with pytest.raises(BrokenInput) as caught:
        learned(column, values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_data_at_all() -> None:
    spec = FeatureSpec(label="y", columns=(Numeric(name="n"),))
    with pytest.raises(BrokenInput, match="no rows to learn from"):
        adapt(spec, [])
    with pytest.raises(BrokenInput, match="input 'n' is missing; the data has: m"):
        adapt(spec, [{"m": [1]}])


def test_learned_boundaries_survive_the_encoding() -> None:
    values = np.linspace(40.5, 41.5, 1000)
    spec = FeatureSpec(label="y", task="regression", columns=(Bucketized(name="b", method="linear", buckets=10),))
    found = adapt(spec, [{"b": values}])
    counts = np.bincount(transform(found, encode(found, {"b": values})).ids["b"])
    assert counts[:10].tolist() == [100] * 10
