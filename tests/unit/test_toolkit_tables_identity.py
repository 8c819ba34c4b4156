"""Who a row is and on which side it is: by content, whatever its place, file, shard, format and label."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import tables
from toolkit.datasets import _table_data
from toolkit.errors import BrokenInput, UsageError
from toolkit.tables import Column, Schema, Shares, identity
from toolkit.tables.generate import SCHEMA, rides

ROW = st.tuples(
    st.floats(width=32, allow_nan=True), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5), st.integers(0, 3)
)
MIXED = Schema(
    columns=(
        Column(name="f"),
        Column(name="i", type="int"),
        Column(name="s", type="string"),
        Column(name="y", type="int"),
    ),
    label="y",
)


def mixed(rows: list[tuple[float, int, str, int]]) -> dict[str, np.ndarray]:
    return {c.name: MIXED.cast(c, [row[i] for row in rows]) for i, c in enumerate(MIXED.columns)}


def canonical(row: tuple[float, int, str, int]) -> tuple[str, int, str]:
    return (repr(row[0] + 0.0), row[1], row[2])


@given(st.lists(ROW, min_size=1, max_size=30))
def test_rows_are_the_same_if_and_only_if_their_inputs_are(rows: list[tuple[float, int, str, int]]) -> None:
    rows = rows + [(f, i, s, y + 1) for f, i, s, y in rows]
    found = identity.identities(mixed(rows), MIXED).tolist()
    assert len(set(found)) == len({canonical(row) for row in rows})
    assert found[: len(rows) // 2] == found[len(rows) // 2 :], "the label has no say"


def test_nan_and_zero_have_one_identity_each() -> None:
    odd = np.array([0x7FC00000, 0xFFC00001, 0x7F800001, 0, 0x80000000], np.uint32).view(np.float32)
    schema = Schema(columns=(Column(name="x"),))
    found = identity.identities({"x": odd}, schema)
    assert len(set(found[:3])) == len(set(found[3:])) == 1
    assert found[0] != found[3]


def test_names_and_types_belong_to_an_identity_and_the_order_of_columns_does_not() -> None:
    a, b = Column(name="a", type="int"), Column(name="b", type="int")
    values = {"a": np.array([1]), "b": np.array([2])}
    one = identity.identities(values, Schema(columns=(a, b)))[0]
    assert one == identity.identities(values, Schema(columns=(b, a)))[0]
    assert one != identity.identities({"a": np.array([2]), "b": np.array([1])}, Schema(columns=(a, b)))[0]
    renamed = Schema(columns=(a, Column(name="c", type="int")))
    assert one != identity.identities({"a": np.array([1]), "c": np.array([2])}, renamed)[0]


def as_documented(row: tuple[float, int, str, int]) -> str:
    """The module's formula, in integers."""

    def words(data: bytes) -> tuple[int, int]:
        digest = hashlib.sha256(data).digest()
        return struct.unpack("<QQ", digest[:16])

    def mix(x: int) -> int:
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    single = 0x7FC00000 if row[0] != row[0] else struct.unpack("<I", struct.pack("<f", row[0] + 0.0))[0]
    whole = row[1] % 2**64
    lanes = []
    for lane in (0, 1):
        state = words(b"float f\nint i\nstring s")[lane]
        for value in (single, whole, words(row[2].encode())[lane]):
            state = mix((state + 0x9E3779B97F4A7C15) % 2**64 ^ value)
        lanes.append(state)
    return "".join(f"{lane:016x}" for lane in lanes)


@given(st.lists(ROW, min_size=1, max_size=5))
def test_an_identity_is_as_documented(rows: list[tuple[float, int, str, int]]) -> None:
    bare = identity.identities(mixed(rows), MIXED)
    found = [name.decode() for name in identity.names(bare).tolist()]
    assert found == [as_documented(row) for row in rows]
    assert bare.nbytes == 16 * len(rows)
    assert (np.argsort(bare, kind="stable") == np.argsort(identity.names(bare), kind="stable")).all()
    places = identity.positions(mixed(rows), MIXED).tolist()
    assert places == [(int(name[:16], 16) >> 11) / 2**53 for name in found]


def test_no_rows_have_no_identities() -> None:
    assert identity.identities(mixed([]), MIXED).shape == (0,)
    assert identity.positions(mixed([]), MIXED).shape == (0,)


def test_positions_are_evenly_spread_and_in_the_order_of_identities() -> None:
    block = next(rides(50_000))
    columns = {c.name: SCHEMA.cast(c, block[:, i]) for i, c in enumerate(SCHEMA.columns)}
    places, found = identity.positions(columns, SCHEMA), identity.identities(columns, SCHEMA)
    assert len(set(found)) == 50_000
    assert (np.diff(places[np.argsort(found)]) >= 0).all()
    counts = np.histogram(places, 100, (0, 1))[0]
    # Chi-squared with 99 degrees of freedom is below 149 in 999 of 1,000 cases.
    assert ((counts - 500) ** 2 / 500).sum() < 149
    neighbours = identity.positions({**columns, "passenger_count": columns["passenger_count"] + 1}, SCHEMA)
    assert abs(np.corrcoef(places, neighbours)[0, 1]) < 0.02


@given(st.lists(ROW, min_size=1, max_size=30), st.randoms(use_true_random=False), st.integers(1, 7))
def test_splits_are_disjoint_and_stable(rows: list[tuple[float, int, str, int]], random: Random, n: int) -> None:
    rows = [(f, i, s, y) for f, i, s, y in rows]
    shuffled = rows.copy()
    random.shuffle(shuffled)
    sides = []
    for order in (rows, shuffled):
        table = tables.Table(schema=MIXED, source=tables.of_arrays(mixed(order)).source)
        sides.append(
            {
                split: sorted(
                    name
                    for block in table.batches(n, split=split)
                    for name in identity.identities(block, MIXED).tolist()
                )
                for split in identity.SPLITS
            }
        )
    assert sides[0] == sides[1]
    train, calibration, evaluation = (sides[0][s] for s in identity.SPLITS)
    assert len(train) + len(evaluation) == len(rows)
    assert not set(train) & set(evaluation)
    assert set(calibration) <= set(train)


def write(folder: Path, rows: list[str], shards: int, prefix: str) -> None:
    for shard in range(shards):
        lines = rows[shard::shards]
        (folder / f"{prefix}-{shard}").write_text("x,s,y\n" + "".join(f"{line}\n" for line in lines))


def test_a_split_survives_renamed_reordered_and_other_shards(tmp_path: Path) -> None:
    rng = Random(5)
    rows = [f"{rng.random():.4f},{rng.choice('abc')},{i % 7}" for i in range(500)]
    found = []
    for number, shards in enumerate((1, 3, 8)):
        write(tmp_path, rng.sample(rows, len(rows)), shards, f"{'zab'[number]}.csv")
        table = tables.open_table(tmp_path / f"{'zab'[number]}.csv-*", label="y")
        held = [
            (float(x), s, int(y))
            for block in table.batches(split="evaluation")
            for x, s, y in zip(block["x"], block["s"], block["y"], strict=True)
        ]
        found.append(sorted(held))
    assert found[0] == found[1] == found[2]
    assert 60 < len(found[0]) < 140


def test_rows_that_come_later_move_no_other_row() -> None:
    values = np.arange(1000.0)
    few, many = ({"x": values[:n], "y": values[:n]} for n in (500, 1000))
    held = [
        {float(v) for b in tables.of_arrays(columns, label="y").batches(split="evaluation") for v in b["x"]}
        for columns in (few, many)
    ]
    assert held[0] == {v for v in held[1] if v < 500}


@pytest.mark.parametrize("label", ["float", "int", "string"])
def test_a_table_as_a_data_set(label: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 400, 2000).astype(np.float32)  # many rows with equal inputs
    y = {"float": rng.random(2000), "int": rng.integers(0, 4, 2000), "string": rng.choice(["no", "yes"], 2000)}[label]
    table = tables.of_arrays({"x": x, "y": y}, label="y")
    data = _table_data.dataset("it", "here", table.read(), table.schema, shares=Shares(evaluation=0.3))
    train, held, calibration = data.train(), data.evaluation(), data.calibration()
    assert len(train) + len(held) == 2000
    assert not set(train.inputs["x"]) & set(held.inputs["x"])
    assert set(calibration.inputs["x"]) <= set(train.inputs["x"])
    assert 0.25 < len(held) / 2000 < 0.35
    assert data.labels.dtype == (np.float32 if label == "float" else np.int64)
    assert data.facts == {"label": "y", **({"classes": ["no", "yes"]} if label == "string" else {})}
    if label == "string":
        assert (data.labels == (y == "yes")).all()
    if label != "float":
        assert calibration.labels is not None
        counts = np.bincount(calibration.labels)
        assert counts.max() - counts.min() <= 1
    assert "30%" in data.describe()["split_rule"]


def test_too_few_rows_for_two_splits() -> None:
    table = tables.of_arrays({"x": [1.0], "y": [2.0]}, label="y")
    with pytest.raises(BrokenInput, match="no rows left for a split"):
        _table_data.dataset("it", "here", table.read(), table.schema)
    with pytest.raises(UsageError, match="has no label"):
        _table_data.dataset("it", "here", table.read(), table.schema.with_label(None))
