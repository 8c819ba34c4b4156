"""Random feature specs and rows that are meant to hurt, as hypothesis strategies and as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from toolkit.features import (
    Bucketized,
    Column,
    Crossed,
    FeatureSpec,
    HashBucket,
    Identity,
    Numeric,
    Vocabulary,
)

EDGES = (-74.0, -0.5, 0.0, 0.1, 40.75, 1e6)
FLOATS = [
    *(float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e-45, -1e-40, 1e-38, 3.4e38, -3.4e38, 1e300, 8e28, -8e28),
    *EDGES,
    *(float(np.nextafter(np.float32(e), np.float32(d))) for e in EDGES for d in (-1e9, 1e9)),
]
WORDS = [
    "",
    "Cash",
    "cash",
    "Cash ",
    "Cashh",
    "Crédit",
    "日本語",
    "a" * 7,
    "a" * 8,
    "a" * 300,
    "\x01",
    "0",
    "né\0",
    "née",
]
INTS = [0, 1, -1, 2, 7, 23, 24, 99, 2**24 + 1, 2**31 - 1, -(2**31), -(2**31) + 1, 2**31, -(2**40), 2**62]

floats = st.one_of(st.sampled_from(FLOATS), st.floats(width=64), st.floats(-100, 100))
ints = st.one_of(st.sampled_from(INTS), st.integers(-30, 30), st.integers(-(2**63), 2**63 - 1))
words = st.one_of(st.none(), st.sampled_from(WORDS), st.text(max_size=12), st.text("Cash", max_size=5))
small = st.integers(1, 30)


def _float32(value: float) -> float:
    return float(np.float32(value))


boundaries = st.one_of(
    st.lists(st.sampled_from(EDGES), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(-10_000, 10_000).map(lambda i: _float32(i / 7)), min_size=1, max_size=9, unique=True),
).map(lambda b: tuple(sorted(b)))
scale = st.floats(0.1, 1e6)  # float32 resolves no less at 1e6
centre = st.one_of(st.just(0.0), st.floats(-1e6, 1e6))
_UNICODE = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
vocabularies = st.one_of(
    st.lists(st.sampled_from([w for w in WORDS if len(w) < 250 and "\0" not in w]), min_size=1, unique=True),
    st.lists(st.text(_UNICODE, max_size=9), min_size=1, unique=True),
).map(tuple)
integer_words = st.lists(
    st.one_of(st.integers(-20, 20), st.integers(-(2**31) + 1, 2**31 - 1)), min_size=1, unique=True
).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> FeatureSpec:
    """An adapted spec with columns of every kind over the inputs ``f0``, ``f1``, ``s0``, ``s1``, ``i0``, ``i1``."""
    columns: list[Column] = []

    def add(kind: Any, source: str | None, **options: Any) -> None:
        columns.append(kind(name=f"c{len(columns)}", **({"input": source} if source else {}), **options))

    for source in ("f0", "f1", "i1"):  # i1: an integer input that a number column reads, too
        normalisation = draw(st.sampled_from(["none", "zscore", "minmax"]))
        low, spread, options = 0.0, 1.0, dict[str, Any]()
        if normalisation == "zscore":
            low, spread = draw(centre), draw(scale)
            options = {"mean": low, "std": spread}
        if normalisation == "minmax":
            low, spread = draw(st.floats(-1e3, 1e3)), draw(st.floats(0.5, 1e4))
            options = {"minimum": low, "maximum": low + spread}
        if draw(st.booleans()):
            options["default"] = low + spread * draw(st.floats(-50, 50))
        add(Numeric, source, normalisation=normalisation, **options)
        add(Bucketized, source, boundaries=draw(boundaries))
    for source in ("s0", "s1"):
        add(Vocabulary, source, vocabulary=draw(vocabularies), oov_buckets=draw(st.sampled_from([1, 1, 5])))
        add(HashBucket, source, size=draw(small), max_bytes=draw(st.sampled_from([1, 4, 32])))
    for source in ("i0", "i1"):
        add(Vocabulary, source, vocabulary=draw(integer_words), oov_buckets=draw(st.sampled_from([1, 1, 5])))
        size = draw(small)
        add(Identity, source, size=size, default=draw(st.integers(0, size - 1)))
        add(HashBucket, source, dtype="integer", size=draw(st.one_of(small, st.integers(1, 2**31 - 1))))
    for _ in range(draw(st.integers(1, 3))):
        usable = [c.name for c in columns if not isinstance(c, Numeric)]
        members = draw(st.lists(st.sampled_from(usable), min_size=2, max_size=4, unique=True))
        add(Crossed, None, of=tuple(members), size=draw(st.one_of(st.none(), small, st.just(2**31 - 1))))
    return FeatureSpec(label="y", columns=tuple(draw(st.permutations(columns))))


@st.composite
def rows(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Raw rows for :func:`specs`, 1 to 12 of them."""
    n = draw(st.integers(1, 12))
    kinds = {"f0": floats, "f1": floats, "s0": words, "s1": words, "i0": ints, "i1": ints}
    return {name: draw(st.lists(kind, min_size=n, max_size=n)) for name, kind in kinds.items()}


def adversarial(n: int, seed: int) -> dict[str, np.ndarray]:
    """``n`` rows for the eight inputs of :func:`eight_inputs`, a third of every input nasty."""
    rng = np.random.default_rng(seed)

    def mixed(usual: np.ndarray, nasty: list[Any]) -> np.ndarray:
        chosen = np.array(nasty, dtype=object)[rng.integers(0, len(nasty), n)]
        return np.where(rng.random(n) < 1 / 3, chosen, usual.astype(object))

    known = np.array(["Cash", "Crédit", "日本語", "a" * 7], dtype=object)
    any_text = np.array([bytes(rng.integers(0, 256, rng.integers(0, 60))) for _ in range(n)], dtype=object)
    return {
        "miles": mixed(rng.gamma(2, 3, n), FLOATS),
        "seconds": mixed(rng.normal(1e6, 1e5, n), FLOATS),
        "pickup-latitude": mixed(rng.normal(40.75, 0.1, n), FLOATS),
        "pickup-longitude": mixed(rng.normal(-74, 0.1, n), FLOATS),
        "payment": mixed(known[rng.integers(0, 4, n)], WORDS),
        "company": mixed(any_text, WORDS),
        "hour": mixed(rng.integers(0, 24, n), [*INTS, None]),
        "area": mixed(
            np.where(rng.random(n) < 0.5, rng.integers(0, 80, n), rng.integers(-(2**31), 2**31, n)), [*INTS, None]
        ),
    }


def eight_inputs() -> FeatureSpec:
    """A spec with every kind of column, and every use of one, over eight raw inputs."""
    edges = tuple(40.5 + i / 20 for i in range(10))
    return FeatureSpec(
        label="fare",
        columns=(
            Numeric(name="miles", mean=6.1, std=4.3),
            Numeric(name="seconds", normalisation="minmax", minimum=0.0, maximum=2e6, default=1e6),
            Numeric(name="hour_number", input="hour", normalisation="none"),
            Bucketized(name="latitude", input="pickup-latitude", boundaries=edges),
            Bucketized(name="longitude", input="pickup-longitude", boundaries=tuple(e - 114.75 for e in edges)),
            Vocabulary(name="payment", vocabulary=("Cash", "Crédit", "日本語", "a" * 7), indicator=True),
            Vocabulary(name="payment_oov", input="payment", vocabulary=("Cash",), oov_buckets=4, embedding=2),
            HashBucket(name="company", size=100, embedding="auto"),
            Identity(name="hour", size=24, default=23, indicator=True),
            Vocabulary(name="area", vocabulary=(8, -1, 2**31 - 1, 32), oov_buckets=2),
            HashBucket(name="area_hash", input="area", dtype="integer", size=1000, wide=False),
            Crossed(name="cell", of=("latitude", "longitude")),
            Crossed(name="cell_at_hour", of=("cell", "hour"), size=300, embedding="auto"),
            Crossed(name="everything", of=("cell_at_hour", "company", "area_hash", "hour", "area"), embedding=3),
        ),
    )
