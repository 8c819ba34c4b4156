"""Slices: a defect of one group is found, clean models raise no more alarms than stated, wrong slicings are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from devices.evaluation import cuts, facts, question, slices
from devices.evaluation.table import ROWS, Block
from toolkit import statistics
from toolkit.errors import BrokenInput, UsageError

P = "p"


def blocks(
    labels: np.ndarray | None, cloud: np.ndarray, edge: np.ndarray, columns: dict[str, np.ndarray]
) -> tuple[Any, question.Question]:
    asked = question.decide({P: cloud}, labels)
    found = []
    for index, start in enumerate(range(0, len(cloud), ROWS)):
        rows = slice(start, start + ROWS)
        made = facts.of({P: cloud[rows]}, {P: edge[rows]}, None if labels is None else labels[rows], asked)
        found.append(Block(index=index, facts=made, slices={k: v[rows] for k, v in columns.items()}))
    return (lambda: found), asked


def classifier(seed: int, n: int = 4000, classes: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, a cloud that is right in 95 %, and an edge that differs from it in 1 % at random, either way."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    top = np.where(rng.random(n) < 0.95, labels, rng.integers(0, classes, n))
    moved = rng.random(n) < 0.01
    other = np.where(rng.random(n) < 0.5, labels, rng.integers(0, classes, n))
    return (
        labels,
        np.eye(classes, dtype=np.float32)[top],
        np.eye(classes, dtype=np.float32)[np.where(moved, other, top)],
    )


def find(source: Any, asked: question.Question, text: str, **options: Any) -> dict[str, Any]:
    n = sum(len(block) for block in source())
    return slices.find(source, cuts.parse(text), asked, n=n, **{"budget": 0.005, **options})


def test_a_class_that_is_broken_is_found() -> None:
    labels, cloud, edge = classifier(0)
    bad = (labels == 7) & (np.random.default_rng(1).random(len(labels)) < 0.3)
    edge[bad] = np.eye(10, dtype=np.float32)[3]
    source, asked = blocks(labels, cloud, edge, {})
    found = find(source, asked, "label")
    assert [s["name"] for s in found["slices"] if s["verdict"] == "worse"] == ["label: 7"]
    assert (found["tested"], found["worse"], found["too_small"]) == (10, 1, 0)
    worst = found["slices"][0]
    assert worst["n"] == int((labels == 7).sum())
    assert worst["edge"] < worst["cloud"] - 0.2
    assert worst["interval"][0] <= worst["difference"] <= worst["interval"][1]


@pytest.mark.parametrize("text", ["miles:quantiles=5", "miles:edges=8;9", "town*miles:quantiles=5"])
def test_a_region_that_is_broken_is_found(text: str) -> None:
    rng = np.random.default_rng(2)
    n = 20_000
    miles, town = rng.uniform(0, 10, n), rng.choice(["A", "B", ""], n, p=[0.6, 0.399, 0.001])
    labels = miles + rng.standard_normal(n)
    cloud = miles + 0.1 * rng.standard_normal(n)
    edge = cloud + np.where(miles > 8, 1.0, 0.0) * rng.choice([-1, 1], n)
    source, asked = blocks(labels, cloud[:, None], edge[:, None], {"miles": miles, "town": town})
    found = find(source, asked, text, budget=0.05)
    worse = [s for s in found["slices"] if s["verdict"] == "worse"]
    assert worse
    bad = ("from 8", "8 to 9", "from 9", "from 7.9")
    assert all(any(part in s["name"] for part in bad) for s in worse), worse
    if "*" in text:
        assert {s["values"]["town"] for s in worse} == {"A", "B"}
        assert found["too_small"] > 0  # hardly any row without a town
    assert find(source, asked, "town", budget=5.0)["worse"] == 0


def test_clean_models_raise_no_alarm_more_often_than_stated() -> None:
    runs, alarms = 200, 0
    for seed in range(runs):
        labels, cloud, edge = classifier(seed, n=2000)
        group = np.random.default_rng(seed + 999).integers(0, 20, 2000)
        source, asked = blocks(labels, cloud, edge, {"group": group})
        alarms += find(source, asked, "label,group", budget=0.0)["worse"] > 0
    assert alarms / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
    values = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        y = rng.standard_normal(2000)
        left, right = (y + rng.standard_normal(2000) for _ in range(2))
        source, asked = blocks(y, left[:, None], right[:, None], {"group": rng.integers(0, 20, 2000)})
        values += find(source, asked, "group", budget=0.0)["worse"] > 0
    assert values / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5


def test_a_few_flips_of_a_small_slice_are_no_alarm() -> None:
    labels = np.zeros(40, dtype=np.int64)
    cloud = np.eye(2, dtype=np.float32)[labels]
    edge = cloud.copy()
    edge[:4] = edge[:4, ::-1]
    source, asked = blocks(labels, cloud, edge, {})
    (only,) = find(source, asked, "label", budget=0.0)["slices"]
    # The score test alone would say 0.02 of four lost and none gained; the exact one says 1 in 16.
    assert (only["p_value"], only["verdict"]) == (pytest.approx(1 / 16), "not shown")


def test_a_drop_within_the_budget_is_no_alarm() -> None:
    labels, cloud, _ = classifier(3, n=100_000)
    edge = cloud.copy()
    flip = (labels == 4) & (np.random.default_rng(0).random(len(labels)) < 0.01)
    edge[flip] = np.eye(10, dtype=np.float32)[5]
    source, asked = blocks(labels, cloud, edge, {})
    assert find(source, asked, "label", budget=0.02)["worse"] == 0
    assert [s["name"] for s in find(source, asked, "label", budget=0.002)["slices"][:1]] == ["label: 4"]
    assert find(source, asked, "label", budget=0.002)["worse"] == 1


def test_without_labels_classes_that_change_are_found() -> None:
    _, cloud, edge = classifier(4)
    group = np.arange(4000) % 4
    edge[group == 2] = np.roll(edge[group == 2], 1, axis=1)
    source, asked = blocks(None, cloud, edge, {"group": group})
    found = find(source, asked, "group", budget=0.05)
    assert [(s["name"], s["metric"]) for s in found["slices"] if s["verdict"] == "worse"] == [("group: 2", "agreement")]
    one, question_of_one = blocks(None, cloud[:, :1], edge[:, :1], {"group": group})
    with pytest.raises(UsageError, match="slices need labels"):
        find(one, question_of_one, "group")


def test_an_edge_that_answers_nan_in_a_slice_has_lost_it() -> None:
    y = np.arange(200.0)
    edge = y[:, None].copy()
    edge[:50] = np.nan
    source, asked = blocks(y, y[:, None] + 1, edge, {"group": np.arange(200) // 50})
    found = find(source, asked, "group")
    assert [(s["name"], s["edge"]) for s in found["slices"] if s["verdict"] == "worse"] == [("group: 0", None)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,,b", "is empty"),
        ("a*b*c", "more than two"),
        (":quantiles=5", "names no column"),
        ("a:quantiles=1", "no number from 2 to 100"),
        ("a:edges=5;1", "do not rise"),
        ("a:edges=x", "do not rise"),
        ("a:deciles", "unknown"),
    ],
)
def test_slicings_that_are_none(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cuts.parse(text)


def test_columns_that_cannot_be_cut_that_way() -> None:
    labels, cloud, edge = classifier(5, n=500)
    columns = {"town": np.array(["x", "y"] * 250), "miles": np.linspace(0, 1, 500), "id": np.arange(500).astype(str)}
    source, asked = blocks(labels, cloud, edge, columns)
    with pytest.raises(BrokenInput, match="there is no column 'nope'"):
        find(source, asked, "nope")
    with pytest.raises(BrokenInput, match="which have no quantiles"):
        find(source, asked, "town:quantiles=3")
    with pytest.raises(BrokenInput, match=r"500 different numbers; cut it: miles:quantiles=5"):
        find(source, asked, "miles")
    assert find(source, asked, "id")["too_small"] == 500
    assert [s.text for s in cuts.parse("a, b:edges=1;2*c ,f.py:g")] == ["a", "b:edges=1;2*c", "f.py:g"]


def test_missing_numbers_and_texts_are_a_slice_of_their_own() -> None:
    cutter = cuts.Cutter(cuts.Cut(column="x", edges=(1.0, 2.0)), np.empty(0))
    assert cutter(np.array([0.5, 1.0, 2.5, np.nan])).tolist() == ["below 1", "1 to 2", "from 2", "missing"]
    texts = cuts.Cutter(cuts.Cut(column="t"), np.array(["a"]))
    assert texts(np.array(["a", ""])).tolist() == ["a", "missing"]


def test_benjamini_and_hochberg() -> None:
    # Their paper's example (section 3.2): at 5 % the four smallest of fifteen are found.
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    adjusted = statistics.benjamini_hochberg(p[::-1])[::-1]
    assert sum(q <= 0.05 for q in adjusted) == 4
    assert adjusted[0] == pytest.approx(0.0015)
    assert adjusted == sorted(adjusted)
    assert statistics.benjamini_hochberg([]) == []


def test_one_sided_tests() -> None:
    assert statistics.flips_tail(3, 4, 0.5) == pytest.approx(5 / 16)
    assert statistics.flips_tail(0, 4, 0.5) == 1.0
    assert statistics.paired_tail(0, 0, 100, 0.0) > 0.4
    assert statistics.paired_tail(0, 40, 100, 0.005) < 1e-6
    assert statistics.paired_tail(40, 0, 100, 0.005) > 0.99
    assert statistics.student_t(29) == pytest.approx(2.0452296)
    assert statistics.t_tail(1.0, 5) == pytest.approx(0.1816087)
    assert statistics.t_p_value(0.0, 0.0, 5) == 1.0
