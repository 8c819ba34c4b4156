"""Metrics of an evaluation against their textbook forms, and intervals that cover the truth as often as they say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from devices.evaluation import budgets, facts, metrics, paired, question, sections
from devices.evaluation.metrics.auc import delong, midranks
from toolkit.errors import BrokenInput, UsageError

P = "p"


def softmax(logits: np.ndarray) -> np.ndarray:
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)


def classified(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and a cloud and an edge that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = 2 * np.eye(classes)[labels] + rng.standard_normal((n, classes))
    return labels, softmax(logits), softmax(logits + 0.5 * rng.standard_normal((n, classes)))


def evaluated(
    labels: np.ndarray,
    cloud: np.ndarray,
    edge: np.ndarray,
    names: tuple[str, ...],
    *,
    block: int = 10_000,
    **options: Any,
) -> dict[str, paired.Result]:
    asked = question.decide({P: cloud}, labels, **options)

    def blocks() -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
        for start in range(0, len(labels), block):
            rows = slice(start, start + block)
            yield start, facts.of({P: cloud[rows]}, {P: edge[rows]}, labels[rows], asked).columns

    chosen = [metrics.load(name, asked) for name in names]
    return {found.metric: found for found in paired.evaluate(blocks, chosen, len(labels))}


@pytest.mark.parametrize("classes", [2, 7])
def test_the_metrics_of_classes_are_those_of_the_textbook(classes: int) -> None:
    labels, cloud, edge = classified(1, 800, classes)
    names = ("accuracy", "log_loss", "calibration_error", "precision", "recall", *(("top2",) if classes > 2 else ()))
    found = evaluated(labels, cloud, edge, names, block=130)
    for side, scores in (("cloud", cloud), ("edge", edge)):
        top, p = scores.argmax(axis=1), scores.max(axis=1).astype(np.float64)
        right = top == labels
        confusion = np.zeros((classes, classes))
        np.add.at(confusion, (labels, top), 1)
        kept = slice(1, 2) if classes == 2 else slice(None)
        expected = {
            "accuracy": right.mean(),
            "log_loss": -np.log(scores[np.arange(800), labels].astype(np.float64)).mean(),
            "precision": (np.diag(confusion) / confusion.sum(axis=0))[kept].mean(),
            "recall": (np.diag(confusion) / confusion.sum(axis=1))[kept].mean(),
            "calibration_error": sum(
                abs(right[inside].mean() - p[inside].mean()) * inside.mean()
                for low in range(15)
                if (inside := (p > low / 15) & (p <= (low + 1) / 15)).any()
            ),
            "top2": (np.argsort(-scores, axis=1, kind="stable")[:, :2] == labels[:, None]).any(axis=1).mean(),
        }
        for name, one in found.items():
            assert getattr(one, side) == pytest.approx(expected[name], rel=1e-6), name
    for one in found.values():
        assert one.interval is not None
        assert one.difference == pytest.approx(one.edge - one.cloud)  # type: ignore[operator]
        assert one.interval[0] <= one.difference <= one.interval[1]  # type: ignore[operator]


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    labels, cloud, edge = classified(9, 600, 5)
    cloud, edge = np.round(cloud, 1), np.round(edge, 1)
    found = evaluated(labels, cloud, edge, ("top2", "top3"))
    for k in (2, 3):
        expected = (np.argsort(-edge, axis=1, kind="stable")[:, :k] == labels[:, None]).any(axis=1).mean()
        assert found[f"top{k}"].edge == pytest.approx(expected)


def test_every_bin_of_confidence_is_one_of_its_own() -> None:
    # Too sure in the last bin, not sure enough in the one before: together they would make up for each other.
    cloud = np.tile(np.array([[0.96, 0.04], [0.91, 0.09]], np.float32), (50, 1))
    labels = np.where(np.arange(100) % 2 == 0, np.arange(100) % 4 // 2, 0)
    found = evaluated(labels, cloud, cloud, ("calibration_error",))["calibration_error"]
    assert found.cloud == pytest.approx((0.96 - 0.5) / 2 + (1 - 0.91) / 2)


def test_the_area_under_the_curve_is_the_chance_of_the_right_order() -> None:
    labels, cloud, edge = classified(2, 300, 2)
    cloud = np.round(cloud, 1)  # ties count half
    found = evaluated(labels, cloud, edge, ("auc",))["auc"]
    for side, scores in (("cloud", cloud[:, 1]), ("edge", edge[:, 1])):
        left, right = scores[labels == 1][:, None], scores[labels == 0][None]
        assert getattr(found, side) == pytest.approx(((left > right) + 0.5 * (left == right)).mean())
    assert midranks(np.array([3.0, 1.0, 3.0])).tolist() == [2.5, 1.0, 2.5]
    assert math.isnan(delong({"label": np.ones(3), "cloud_one": np.ones(3), "edge_one": np.ones(3)}).cloud)


def test_one_sigmoid_may_be_two_classes() -> None:
    labels, cloud, edge = classified(3, 400, 2)
    two = evaluated(labels, cloud, edge, ("auc", "accuracy"))
    one = evaluated(labels, cloud[:, 1:], edge[:, 1:], ("auc", "accuracy"), metric="accuracy")
    assert one["auc"].cloud == pytest.approx(two["auc"].cloud)
    assert one["accuracy"].edge == two["accuracy"].edge
    with pytest.raises(BrokenInput, match="no probabilities of class 1"):
        evaluated(labels, 2 * cloud[:, 1:], edge[:, 1:], ("auc",), metric="accuracy")


def test_blocks_of_any_size_say_the_same() -> None:
    labels, cloud, edge = classified(4, 2000, 4)
    names = metrics.usual(question.decide({P: cloud}, labels))
    one, other = (evaluated(labels, cloud, edge, names, block=size) for size in (2000, 77))
    for name in names:
        assert one[name].cloud == pytest.approx(other[name].cloud, rel=1e-12)
        assert one[name].interval == pytest.approx(other[name].interval, rel=1e-9, abs=1e-12)


def test_many_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, cloud, edge = classified(5, 6000, 2)
    whole = evaluated(labels, cloud, edge, ("auc", "calibration_error"))
    monkeypatch.setattr(paired, "PART", 1000)
    monkeypatch.setattr(paired, "ROWS_DRAWN", 1500)
    parts = evaluated(labels, cloud, edge, ("auc", "calibration_error"), block=512)
    assert parts["auc"].cloud == pytest.approx(whole["auc"].cloud, abs=0.002)
    for name in parts:
        low, high = whole[name].interval  # type: ignore[misc]
        assert parts[name].interval == pytest.approx((low, high), abs=0.35 * (high - low))


def test_the_means_interval_covers_the_truth_as_often_as_it_says() -> None:
    runs = hits = 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        labels = rng.standard_normal(150)
        cloud, edge = (labels + scale * rng.standard_normal(150) for scale in (1.0, 1.1))
        found = evaluated(labels, cloud[:, None], edge[:, None], ("mae",))["mae"]
        truth = 0.1 * math.sqrt(2 / math.pi)
        runs += 1
        hits += found.interval[0] <= truth <= found.interval[1]  # type: ignore[index]
    assert 0.93 <= hits / runs <= 0.97


def test_the_areas_interval_covers_the_truth_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        labels = np.arange(300) % 2
        cloud, edge = (labels * shift + rng.standard_normal(300) for shift in (1.2, 1.0))
        found = delong({"label": labels, "cloud_one": cloud, "edge_one": edge})
        # The chance that a normal is above one whose mean is lower by d: Phi(d / sqrt 2).
        area = [0.5 * math.erfc(-shift / 2) for shift in (1.2, 1.0)]
        hits += abs(found.edge - found.cloud - (area[1] - area[0])) <= 1.96 * found.error
    assert 0.93 <= hits / 1000 <= 0.97


def test_a_quantiles_interval_covers_the_truth_as_often_as_it_says() -> None:
    hits, runs = 0, 300
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        cloud = rng.standard_normal(400)
        edge = cloud * 1.1 + 0.2 * rng.standard_normal(400)
        truth = 1.959963985 * (math.sqrt(1.1**2 + 0.2**2) - 1)
        zero = np.zeros(400)
        found = metrics.load("p95_error", question.Question(output=P, kind="value", labelled=True))
        assert found.ordered is not None
        got = found.ordered({"label": zero, "cloud_value": cloud, "edge_value": edge})
        hits += abs(got.edge - got.cloud - truth) <= 1.96 * got.error
    assert 0.92 <= hits / runs <= 0.985


def test_sections_of_many_rows_say_what_a_bootstrap_of_few_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal(6000)
    drawn = sections.error(lambda some: float(np.percentile(rows[some], 90)), rows)
    monkeypatch.setattr(sections, "FEW", 100)
    assert sections.error(lambda some: float(np.percentile(rows[some], 90)), rows) == pytest.approx(drawn, rel=0.4)


def test_a_budget_is_kept_lost_or_open_by_the_bad_end() -> None:
    labels, cloud, edge = classified(6, 3000, 3)
    found = evaluated(labels, cloud, edge, ("log_loss", "precision"))
    loss, precision = found["log_loss"], found["precision"]
    assert loss.interval is not None
    assert precision.interval is not None
    assert budgets.judge(loss, loss.interval[1] + 1e-6) == (True, "kept")
    assert budgets.judge(loss, 0.0)[1] == "broken"
    near = budgets.judge(loss, (loss.difference + loss.interval[1]) / 2)  # type: ignore[operator]
    # Twice as narrow an interval needs four times the rows.
    assert near == (False, "not enough samples: 9000 more needed")
    assert budgets.judge(precision, -precision.interval[0] + 1e-6) == (True, "kept")
    assert budgets.judge(precision, -precision.interval[0] - 1e-6)[0] is False
    assert budgets.judge(precision, None) == (True, "not judged: no budget")


def test_what_is_not_finite_has_no_number() -> None:
    labels, cloud, edge = classified(7, 100, 3)
    edge[3] = np.nan
    found = evaluated(labels, cloud, edge, ("log_loss", "calibration_error", "accuracy"))
    assert found["log_loss"].edge is None
    assert found["log_loss"].interval is None
    assert budgets.judge(found["log_loss"], 1.0) == (False, "broken")
    assert found["accuracy"].edge is not None


def test_names() -> None:
    assert metrics.known("top3")
    assert not metrics.known("topmost")
    assert set(metrics.summaries()) == set(metrics.names())
    asked = question.Question(output=P, kind="classes", labelled=True, classes=3)
    with pytest.raises(UsageError, match="accuracy"):
        metrics.load("acuracy", asked)
    with pytest.raises(UsageError, match="is of values"):
        metrics.load("rmse", asked)
    with pytest.raises(UsageError, match="says nothing of 3 classes"):
        metrics.load("top3", asked)
    with pytest.raises(UsageError, match="is of two classes, and this model has 3"):
        metrics.load("auc", asked)
    with pytest.raises(UsageError, match="needs labels"):
        metrics.load("accuracy", question.Question(output=P, kind="parity", labelled=False))


def test_functions_of_the_users() -> None:
    labels, cloud, edge = classified(8, 200, 3)
    asked = question.decide({P: cloud}, labels, functions=("own.py:brier_loss",))

    def brier(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return ((outputs - np.eye(3)[labels]) ** 2).sum(axis=1)

    columns = facts.of({P: cloud}, {P: edge}, labels, asked, functions=[brier]).columns
    metric = metrics.load("own.py:brier_loss", asked)
    (found,) = paired.evaluate(lambda: [(0, columns)], [metric], 200)
    assert (found.higher, found.unit) == (False, "own")
    assert found.cloud == pytest.approx(brier(cloud, labels).mean())
    with pytest.raises(BrokenInput, match="one number a row"):
        facts.of({P: cloud}, {P: edge}, labels, asked, functions=[lambda o, y: 1.0])
    with pytest.raises(BrokenInput, match="raised ZeroDivisionError"):
        facts.of({P: cloud}, {P: edge}, labels, asked, functions=[lambda o, y: 1 / 0])
