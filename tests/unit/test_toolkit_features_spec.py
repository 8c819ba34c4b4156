"""What may be declared, and what is refused in one line that names the column and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import BrokenInput, UsageError
from toolkit.features import (
    Bucketized,
    Crossed,
    FeatureSpec,
    HashBucket,
    Identity,
    Numeric,
    Vocabulary,
    encode,
    transform,
)

A = Bucketized(name="a", boundaries=(0.0, 1.0))
B = Identity(name="b", size=5)


def spec(*columns: Any, label: str = "y") -> FeatureSpec:
    return FeatureSpec(label=label, columns=columns)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: spec(), "no columns"),
        (lambda: spec(A, label=""), "no label"),
        (lambda: FeatureSpec(label="y", task="sorting", columns=(A,)), "'sorting' is unknown; there are: class"),
        (lambda: spec(A, A), "column 'a': is declared twice"),
        (lambda: spec(Identity(name="x-1", size=2), Identity(name="x.1", size=2)), "'x.1': looks like 'x-1'"),
        (lambda: spec(Identity(name="p", input="x 1", size=2), Identity(name="q", input="x.1", size=2)), "rename one"),
        (lambda: spec(A, label="a"), "column 'a': is made of the label"),
        (lambda: spec(Identity(name="z", input="y", size=3)), "column 'z': is made of the label 'y'"),
        (lambda: spec(A, B, Crossed(name="x", of=("a", "bb"))), "'x': crosses the unknown column 'bb'; did you mean b"),
        (lambda: spec(A, Crossed(name="x", of=("a", "a"))), "crosses a column with itself"),
        (lambda: spec(A, Crossed(name="x", of=("a", "x"))), "crosses itself (x -> x)"),
        (
            lambda: spec(A, Crossed(name="x", of=("a", "z")), Crossed(name="z", of=("a", "x"))),
            "crosses itself (x -> z -> x)",
        ),
        (lambda: spec(A, Crossed(name="x", of=("a",))), "name two columns"),
        (lambda: spec(A, Numeric(name="n"), Crossed(name="x", of=("a", "n"))), "numeric column 'n'; bucketize"),
        (lambda: spec(A, B, Crossed(name="x", of=("a", "b"), size=0)), "size = 0 is out of range"),
        (lambda: spec(A, B, Crossed(name="x", of=("a", "b"), input="b")), "leave input out"),
        (lambda: Crossed(name="x", of="ab"), "of = 'ab' is not a list"),
        (lambda: Bucketized(name="a", boundaries=(1.0, 1.0)), "do not increase"),
        (lambda: Bucketized(name="a", boundaries=(1.0, 1.0 + 1e-12)), "do not increase as float32"),
        (lambda: Bucketized(name="a", boundaries=(2.0, 1.0)), "column 'a': boundaries do not increase"),
        (lambda: Bucketized(name="a", boundaries=(float("nan"),)), "boundary nan is no float32"),
        (lambda: Bucketized(name="a", boundaries=(1e39,)), "boundary 1e+39 is no float32"),
        (lambda: Bucketized(name="a", boundaries=(10**400,)), "is no float32"),
        (lambda: Bucketized(name="a", boundaries=(1e-40,)), "boundary 1e-40 is no float32"),
        (lambda: Bucketized(name="a", boundaries=("1",)), "boundary '1' is no float32"),
        (lambda: Bucketized(name="a", boundaries=()), "has no boundaries"),
        (lambda: Bucketized(name="a", boundaries=(1.0,), buckets=2), "leave them out"),
        (lambda: Bucketized(name="a", buckets=1), "buckets = 1 is out of range"),
        (lambda: Bucketized(name="a", method="magic"), "there are: quantiles, linear"),
        (lambda: Identity(name="b", size=0), "size = 0 is out of range"),
        (lambda: Identity(name="b", size=True), "size = True is out of range"),
        (lambda: Identity(name="b", size=3, default=3), "default = 3 is out of range; give a whole number from 0 to 2"),
        (lambda: HashBucket(name="h", size=-4), "size = -4"),
        (lambda: HashBucket(name="h", size=None), "size = None"),  # type: ignore[arg-type]
        (lambda: HashBucket(name="h", size=4, max_bytes=257), "max_bytes = 257"),
        (lambda: HashBucket(name="h", size=4, embedding=0), "embedding = 0"),
        (lambda: HashBucket(name="h", size=4, embedding="big"), "embedding = 'big'"),
        (lambda: HashBucket(name="h", size=4, wide=1), "wide = 1 is neither"),  # type: ignore[arg-type]
        (lambda: Vocabulary(name="v", vocabulary=("x", "y", "x")), "has 'x' twice"),
        (lambda: Vocabulary(name="v", vocabulary=(1, 2, 1)), "has 1 twice"),
        (lambda: Vocabulary(name="v", vocabulary=()), "empty vocabulary"),
        (lambda: Vocabulary(name="v", vocabulary=("x", 1)), "has 1 in a vocabulary of texts"),  # type: ignore[arg-type]
        (lambda: Vocabulary(name="v", vocabulary=(1, "x")), "has 'x' in a vocabulary of int"),  # type: ignore[arg-type]
        (lambda: Vocabulary(name="v", vocabulary=(-(2**31),)), "fit 32 bits"),
        (lambda: Vocabulary(name="v", vocabulary=("a\0",)), "without NUL"),
        (lambda: Vocabulary(name="v", vocabulary=("\ud800",)), "valid Unicode"),
        (lambda: Vocabulary(name="v", vocabulary=("é" * 128,)), "word of 256 bytes"),
        (lambda: Vocabulary(name="v", vocabulary="words.txt"), "is not a list"),  # type: ignore[arg-type]
        (lambda: Vocabulary(name="v", oov_buckets=0), "oov_buckets = 0"),
        (lambda: Vocabulary(name="v", vocabulary=("x",), min_count=2), "leave them out"),
        (lambda: Numeric(name="n", normalisation="log"), "there are: none, zscore, minmax"),
        (lambda: Numeric(name="n", normalisation="minmax", mean=1.0), "mean has no meaning with"),
        (lambda: Numeric(name="n", mean=1.0, std=0.0), "std = 0.0 is not above 0"),
        (lambda: Numeric(name="n", mean=float("nan")), "mean = nan is no finite number"),
        (lambda: Numeric(name="n", normalisation="minmax", minimum=2, maximum=1), "minimum is not below"),
        (lambda: spec(Numeric(name="n", mean=1e30, std=1.0)), "cannot be normalised"),
        (lambda: spec(Numeric(name="n", normalisation="none", default=1e5)), "out of float16's range"),
        (lambda: Numeric(name=" "), "the name ' ' is none"),
        (lambda: spec(A, Vocabulary(name="v", input="a", vocabulary=("x",))), "reads input 'a' as string, column 'a'"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_one_line(make: Any, said: str) -> None:
    with pytest.raises(BrokenInput) as caught:
        make()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_spec_that_learned_nothing_is_not_used() -> None:
    for column in (Numeric(name="n"), Bucketized(name="n"), Identity(name="n"), Vocabulary(name="n")):
        one = spec(column)
        assert one.unlearned == {"n": column.unlearned}
        for use in (encode, transform):
            with pytest.raises(UsageError, match=r"column 'n': .* not known yet; adapt"):
                use(one, {"n": [1]})
    crossed = spec(A, Identity(name="b"), Crossed(name="x", of=("a", "b")))
    with pytest.raises(UsageError, match="column 'b': size not known yet"):
        crossed.count("x")
    assert spec(Numeric(name="n", mean=1.0)).unlearned == {"n": ("std",)}


def test_counts_and_embedding_sizes() -> None:
    many = spec(
        A,
        B,
        Vocabulary(name="v", vocabulary=("x", "y"), oov_buckets=3, embedding="auto"),
        HashBucket(name="h", size=625, embedding="auto"),
        HashBucket(name="h1", size=626, embedding="auto"),
        HashBucket(name="one", size=1, embedding="auto"),
        Crossed(name="exact", of=("a", "b"), size=100, embedding=7),
        Crossed(name="modulo", of=("a", "b"), size=19),
        Crossed(name="large", of=("h", "h1", "b")),
        Crossed(name="huge", of=("large", "h", "h1"), size=50),
    )
    counts = {c.name: many.count(c.name) for c in many.id_columns}
    assert counts == {
        "a": 4, "b": 5, "v": 5, "h": 625, "h1": 626, "one": 1, "exact": 20, "modulo": 19, "large": 2**20, "huge": 50,
    }  # fmt: skip
    sizes = {c.name: many.embedding_size(c.name) for c in many.id_columns}
    assert {k: v for k, v in sizes.items() if v} == {"v": 2, "h": 5, "h1": 6, "one": 1, "exact": 7}
    large, huge = many.column("large"), many.column("huge")
    assert isinstance(large, Crossed)
    assert isinstance(huge, Crossed)
    assert many.is_exact(large)
    assert not many.is_exact(huge)


def test_a_cross_may_stand_before_what_it_crosses() -> None:
    early = spec(Crossed(name="pair", of=("cell", "b")), Crossed(name="cell", of=("a", "b")), A, B)
    assert [c.name for c in early.id_columns] == ["a", "b", "cell", "pair"]
    assert early.count("pair") == 100


def test_inputs_are_what_the_columns_read() -> None:
    found = spec(
        Numeric(name="n", normalisation="none"),
        Bucketized(name="n_buckets", input="n", boundaries=(1.0,)),
        Identity(name="hours-per-week", size=100),
        Numeric(name="hours", input="hours-per-week", normalisation="none"),
        Vocabulary(name="v", vocabulary=("four", "日本語")),
        HashBucket(name="v_hash", input="v", size=5, max_bytes=7),
        Vocabulary(name="class", vocabulary=(1, 2)),
        HashBucket(name="1st", size=5),
    ).inputs()
    assert [(t.name, t.shape, t.dtype) for t in found] == [
        ("n", (None,), "float32"),
        ("hours_per_week", (None,), "int32"),
        ("v", (None, 10), "uint8"),
        ("x_class", (None,), "int32"),
        ("x_1st", (None, 32), "uint8"),
    ]
