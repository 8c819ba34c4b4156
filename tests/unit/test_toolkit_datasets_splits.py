"""Who is in which split: the properties every data set relies on, on made-up samples."""

from __future__ import annotations

import hashlib
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.datasets._dataset import Dataset, digest, hold_out, identities, stratified

# Few different samples and few labels, so that duplicates, duplicates across labels, labels with a single
# sample and missing labels are the rule.
SAMPLES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=60)
MANY = st.lists(st.integers(0, 3), min_size=40, max_size=120)
SHARES = st.sampled_from([0.1, 0.4, 0.5, 0.9])


def made(samples: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Identities and labels of samples given as (content, label)."""
    content, labels = np.array(samples, dtype=np.int64).T
    return identities(content.astype(np.uint8)[:, None]), labels


def content(found: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> list[tuple[str, int]]:
    return sorted(zip(found[rows].tolist(), labels[rows].tolist(), strict=True))


@given(SAMPLES, SHARES)
def test_every_row_is_on_one_side_and_no_sample_on_both(samples: list[tuple[int, int]], share: float) -> None:
    found, labels = made(samples)
    train, held = hold_out(found, labels, share)
    assert sorted([*train, *held]) == list(range(len(found)))
    assert not set(found[train]) & set(found[held])


@given(SAMPLES, SHARES, st.randoms(use_true_random=False))
def test_a_split_does_not_depend_on_the_order_of_the_file(
    samples: list[tuple[int, int]], share: float, random: Random
) -> None:
    shuffled = samples.copy()
    random.shuffle(shuffled)
    sides = []
    for order in (samples, shuffled):
        found, labels = made(order)
        train, held = hold_out(found, labels, share)
        chosen = stratified(found, labels, train, 8) if len(train) else train
        sides.append([content(found, labels, rows) for rows in (train, held, chosen)])
        # The order inside a split is the samples' own as well: training sees the same sequence.
        sides[-1].append([list(found[train]), list(found[held])])
    assert sides[0] == sides[1]


@given(MANY, SHARES)
def test_without_duplicates_every_label_gives_its_share(kinds: list[int], share: float) -> None:
    labels = np.array(kinds)
    found = identities(np.arange(len(labels), dtype=np.int64)[:, None])
    _, held = hold_out(found, labels, share)
    for kind in set(kinds):
        assert (labels[held] == kind).sum() == round(kinds.count(kind) * share)


@given(MANY, st.integers(1, 60))
def test_calibration_is_part_of_train_with_every_label_equally_often(kinds: list[int], count: int) -> None:
    labels = np.array(kinds)
    found = identities(np.arange(len(labels), dtype=np.int64)[:, None])
    rows = np.arange(0, len(labels), 2)
    chosen = stratified(found, labels, rows, count)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(rows)
    there = labels[rows]
    each = max(1, count // len(set(there)))
    for kind in set(there):
        assert (labels[chosen] == kind).sum() == min(each, (there == kind).sum())


def test_calibration_is_not_sorted_by_label() -> None:
    labels = np.repeat(np.arange(10), 20)
    found = identities(np.arange(200, dtype=np.int64)[:, None])
    chosen = labels[stratified(found, labels, np.arange(200), 100)]
    assert len(set(chosen[:30])) >= 8


def test_identity_is_the_content_not_the_memory() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turned = np.asfortranarray(image)
    assert identities(image[None])[0] == identities(turned[None])[0]
    assert identities(image[None])[0] != identities(image[None] + 1)[0]


@given(st.lists(st.text(alphabet="0123456789abcdef", min_size=4, max_size=4), min_size=1, max_size=8))
def test_a_digest_tells_sets_apart_and_orders_not(found: list[str]) -> None:
    assert digest(found) == digest(found[::-1])
    assert digest(found) != digest([*found, found[0]])
    assert digest(found) != digest([*found[1:], "zzzz"])


@pytest.mark.parametrize("lines", [1, 2, 3, 100])
def test_a_digest_is_of_the_sorted_lines_however_many_there_are(monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    from toolkit.datasets import _dataset
    from toolkit.tables.identity import names

    monkeypatch.setattr(_dataset, "_LINES", lines)
    rng = np.random.default_rng(0)
    bare = np.frombuffer(rng.bytes(16 * 3), "S16")[rng.integers(0, 3, 20)]
    hexed = [name.decode() for name in names(bare).tolist()]
    for labels in (None, rng.integers(0, 12, 20), rng.normal(size=20).astype(np.float32)):
        wanted = sorted(hexed if labels is None else [f"{i}:{x}" for i, x in zip(hexed, labels, strict=True)])
        wanted_digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
        assert digest(bare, labels) == wanted_digest
        assert digest(np.array(hexed), labels) == wanted_digest, "bare bytes and hex digits are the same identity"
    assert digest([]) == hashlib.sha256(b"").hexdigest()


def tiny(labels: list[int]) -> Dataset:
    samples = np.arange(6, dtype=np.uint8).reshape(6, 1)
    return Dataset(
        name="tiny",
        source="made up",
        inputs={"x": samples.astype(np.float32)},
        labels=np.array(labels),
        identities=identities(samples),
        train_rows=np.array([4, 0, 2, 5]),
        calibration_rows=np.array([2, 4]),
        evaluation_rows=np.array([1, 3]),
        rule="by hand",
        facts={"left_out": 0},
    )


def test_splits_hold_their_rows_and_labels_together() -> None:
    data = tiny([10, 11, 12, 13, 14, 15])
    for split, wanted in ((data.train(), [4, 0, 2, 5]), (data.calibration(), [2, 4]), (data.evaluation(), [1, 3])):
        assert split.inputs["x"][:, 0].tolist() == wanted
        assert split.labels is not None
        assert split.labels.tolist() == [10 + row for row in wanted]
        assert len(split) == len(wanted)
    assert len({data.train().digest, data.calibration().digest, data.evaluation().digest}) == 3


def test_describe_is_json_and_notices_a_corrected_label() -> None:
    before, after = (tiny(labels).describe() for labels in ([0, 1, 0, 1, 0, 1], [0, 1, 0, 0, 0, 1]))
    assert before["splits"]["train"] == after["splits"]["train"]
    assert before["splits"]["evaluation"]["digest"] == after["splits"]["evaluation"]["digest"]
    assert before["splits"]["evaluation"]["labels_digest"] != after["splits"]["evaluation"]["labels_digest"]
    assert before["splits"]["train"]["samples"] == 4
    assert (before["name"], before["source"], before["split_rule"], before["left_out"]) == (
        "tiny",
        "made up",
        "by hand",
        0,
    )
