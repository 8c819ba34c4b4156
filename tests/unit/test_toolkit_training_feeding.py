"""The order of training: a function of seed and step, divided among replicas without loss and without a double."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.training import feeding
from toolkit.training.feeding import Feed


def _feed(samples: int, batch_size: int, seed: int = 0) -> Feed:
    """Every sample's input and label are its row number."""
    rows = np.arange(samples)
    return Feed(inputs={"x": rows.astype(np.float32)}, labels=rows, batch_size=batch_size, seed=seed)


FEEDS = st.builds(_feed, st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32 - 1))


@given(feed=FEEDS, passes=st.integers(1, 3))
def test_every_pass_is_a_permutation_in_batches_of_the_size_asked_for(feed: Feed, passes: int) -> None:
    rows = feed.rows()
    for _ in range(passes):
        batches = list(itertools.islice(rows, feed.steps_per_pass))
        assert sorted(np.concatenate(batches)) == list(feed.labels)
        assert {len(batch) for batch in batches[:-1]} <= {feed.batch_size}
        assert 1 <= len(batches[-1]) <= feed.batch_size


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    def one_pass(seed: int, number: int) -> list[int]:
        return list(next(_feed(50, 50, seed).rows(number)))

    orders = {tuple(one_pass(seed, number)) for seed in range(4) for number in range(4)}
    assert len(orders) == 16
    assert one_pass(3, 2) == one_pass(3, 2)


@given(feed=FEEDS, first=st.integers(0, 200), steps=st.integers(1, 20))
def test_a_training_that_is_taken_up_again_sees_the_rest_of_the_same_batches(
    feed: Feed, first: int, steps: int
) -> None:
    whole = itertools.islice(feed.batches(), first, first + steps)
    rest = itertools.islice(feed.batches(first), steps)
    for (inputs, labels), (again, labels_again) in zip(whole, rest, strict=True):
        assert (labels == labels_again).all()
        assert (inputs["x"] == labels).all()
        assert (again["x"] == labels).all()


@given(feed=FEEDS, of=st.integers(1, 9), first=st.integers(0, 30))
def test_the_replicas_shares_are_every_batch_each_sample_once(feed: Feed, of: int, first: int) -> None:
    shares = feed.shares(first, tuple(range(of)), of)
    for batch in itertools.islice(feed.rows(first), 2 * feed.steps_per_pass):
        parts = list(itertools.islice(shares, of))
        real = [rows for rows, samples in parts if samples]
        assert sorted(np.concatenate(real)) == sorted(batch)
        assert {samples for _, samples in parts} <= {len(batch), 0}
        assert max(map(len, real)) - min(map(len, real)) <= 1
        # Nobody is left without a sample: a mean over none is no number, and all must take part in every step.
        for rows, samples in parts:
            assert samples or (len(rows) == 1 and rows[0] in batch)
        assert len(real) == min(of, len(batch))


@given(feed=FEEDS, first=st.integers(0, 30), data=st.data())
def test_two_processes_feed_what_one_would(feed: Feed, first: int, data: st.DataObject) -> None:
    of = data.draw(st.integers(2, 6))
    cut = data.draw(st.integers(1, of - 1))
    left, right = tuple(range(cut)), tuple(range(cut, of))
    steps = 5
    apart = [list(itertools.islice(feed.shares(first, mine, of), steps * len(mine))) for mine in (left, right)]
    one = feed.shares(first, left + right, of)
    for step in range(steps):
        for mine, parts in zip((left, right), apart, strict=True):
            for rows, samples in parts[step * len(mine) : (step + 1) * len(mine)]:
                expected, expected_samples = next(one)
                assert rows.tolist() == expected.tolist()
                assert samples == expected_samples


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    feed=st.builds(_feed, st.integers(1, 60), st.integers(1, 70), st.integers(0, 99)),
    first=st.integers(0, 30),
    of=st.integers(1, 4),
    chunk=st.sampled_from([1, 7, 64, 8192]),
)
def test_the_dataset_gives_the_same_batches(feed: Feed, first: int, of: int, chunk: int) -> None:
    kept, feeding.CHUNK = feeding.CHUNK, chunk
    try:
        steps = feed.steps_per_pass + 2
        whole = feed.dataset(first).as_numpy_iterator()
        for (inputs, labels), (got, got_labels) in itertools.islice(
            zip(feed.batches(first), whole, strict=False), steps
        ):
            assert (got_labels == labels).all()
            assert (got["x"] == inputs["x"]).all()
            assert got["x"].dtype == inputs["x"].dtype

        divided = feed.dataset(first, replicas=tuple(range(of)), of=of).as_numpy_iterator()
        for batch in itertools.islice(feed.rows(first), steps):
            seen: list[int] = []
            weights = 0.0
            for _ in range(of):
                inputs, labels, weight = next(divided)
                assert (inputs["x"] == labels).all()
                assert weight.dtype == np.float32
                seen += labels[weight > 0].tolist()
                weights += float(weight.sum(dtype=np.float64))
                assert set(weight.tolist()) <= {float(np.float32(1 / len(batch))), 0.0}
            assert sorted(seen) == sorted(batch.tolist())
            assert weights == pytest.approx(1, rel=1e-6)
    finally:
        feeding.CHUNK = kept


@given(feed=FEEDS)
def test_a_pass_has_as_many_steps_as_it_says(feed: Feed) -> None:
    assert feed.steps_per_pass == math.ceil(len(feed.labels) / feed.batch_size)
    second = next(itertools.islice(feed.rows(), feed.steps_per_pass, None))
    assert (second == next(feed.rows(feed.steps_per_pass))).all()
