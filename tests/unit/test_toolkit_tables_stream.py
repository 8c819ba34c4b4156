"""Blocks on their way: nothing is lost, nothing comes twice, and the same seed gives the same order."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import tables
from toolkit.errors import UsageError
from toolkit.tables import csv_files, stream
from toolkit.tables.steps import Steps, steps

SIZES = st.lists(st.integers(0, 30), max_size=8)


def blocks(sizes: list[int]) -> Iterator[stream.Columns]:
    ends = np.cumsum([0, *sizes])
    for first, last in itertools.pairwise(ends):
        rows = np.arange(first, last)
        yield {"row": rows, "twice": rows * 2}


def rows(found: list[stream.Columns]) -> list[int]:
    for block in found:
        assert (block["twice"] == 2 * block["row"]).all(), "a row stays together"
    return [int(v) for block in found for v in block["row"]]


@given(SIZES, st.integers(1, 40), st.booleans())
def test_rebatched(sizes: list[int], n: int, drop: bool) -> None:
    found = list(stream.rebatched(blocks(sizes), n, drop_remainder=drop))
    total = sum(sizes)
    assert [stream.size(b) for b in found] == [n] * (total // n) + ([total % n] if total % n and not drop else [])
    assert rows(found) == list(range(total - (total % n if drop else 0)))


@given(SIZES, st.integers(1, 60), st.integers(0, 5))
def test_shuffled(sizes: list[int], buffer: int, seed: int) -> None:
    orders = [rows(list(stream.shuffled(blocks(sizes), buffer, np.random.default_rng(seed)))) for _ in range(2)]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(sum(sizes)))


def test_a_full_buffer_makes_every_order_and_a_small_one_stays_near() -> None:
    def order(seed: int, buffer: int, n: int) -> tuple[int, ...]:
        return tuple(rows(list(stream.shuffled(blocks([n // 2, n - n // 2]), buffer, np.random.default_rng(seed)))))

    assert len({order(seed, 4, 4) for seed in range(500)}) == 24
    near = order(1, 100, 10_000)
    assert near != tuple(sorted(near))
    assert max(row - place for place, row in enumerate(near)) <= 100, "no row comes before the buffer has seen it"


def test_interleaved_takes_turns_and_fills_up() -> None:
    sources = [iter([f"{name}{i}" for i in range(n)]) for name, n in (("a", 3), ("b", 1), ("c", 2))]
    assert list(stream.interleaved(sources, 2)) == ["a0", "b0", "a1", "a2", "c0", "c1"]
    assert list(stream.interleaved([iter("ab"), iter("c")], 1)) == ["a", "b", "c"]


def test_work_ahead_keeps_the_order_and_its_bound() -> None:
    started: list[int] = []
    taken = 0
    gate = threading.Event()

    def items() -> Iterator[int]:
        for i in range(20):
            assert i - taken <= 3, "read no further ahead than asked"
            yield i

    def work(i: int) -> int:
        started.append(i)
        if i == 0:
            gate.wait(5)
        elif i == 2:
            gate.set()  # the third is done before the first
        return i * i

    with ThreadPoolExecutor(3) as pool:
        found = []
        for value in stream.ahead(work, items(), pool, 3):
            found.append(value)
            taken += 1
    assert found == [i * i for i in range(20)]
    assert sorted(started) == list(range(20))


def test_an_error_in_the_work_reaches_the_reader_in_its_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        found = stream.ahead(lambda i: 1 // i, [2, 1, 0, 3], pool, 2)
        assert [next(found), next(found)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(found)


def test_shards_are_mixed_where_rows_are_shuffled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK", 64)  # several blocks in every shard
    for shard in range(4):
        (tmp_path / f"t.csv-{shard}-of-4").write_text("x\n" + "".join(f"{shard * 100 + i}\n" for i in range(100)))
    table = tables.open_table(tmp_path / "t.csv-*-of-4")

    def order(**options: int) -> list[int]:
        return [int(v) for b in table.batches(16, **options) for v in b["x"]]

    assert order() == list(range(400))
    assert order(shuffle=50, seed=1) == order(shuffle=50, seed=1) != order(shuffle=50, seed=2)
    assert sorted(order(shuffle=50)) == list(range(400))


def test_a_filter_and_an_abandoned_reading(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x\n" + "".join(f"{i}\n" for i in range(1000)))
    table = tables.open_table(tmp_path / "t.csv")
    kept = [int(v) for b in table.batches(7, where=lambda c: c["x"] % 3 == 0) for v in b["x"]]
    assert kept == list(range(0, 1000, 3))
    before = threading.active_count()
    reading = table.batches(7)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("given_", "wanted"), [((50_000, 5, 32), (5, 312)), ((64, 2, 32), (2, 1)), ((100, 1, 1), (1, 100))]
)
def test_steps_of_the_course(given_: tuple[int, int, int], wanted: tuple[int, int]) -> None:
    assert steps(*given_) == Steps(epochs=wanted[0], steps_per_epoch=wanted[1])


@given(st.integers(1, 10**9), st.integers(1, 100), st.integers(1, 4096))
def test_steps_train_on_almost_all_examples_and_never_on_more(examples: int, evaluations: int, batch: int) -> None:
    if examples < evaluations * batch:
        with pytest.raises(UsageError, match="less than one batch"):
            steps(examples, evaluations, batch)
        return
    plan = steps(examples, evaluations, batch)
    seen = plan.epochs * plan.steps_per_epoch * batch
    assert examples - evaluations * batch < seen <= examples


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-5, 1, 1)])
def test_steps_of_nothing(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        steps(*wrong)
