"""Regressions: the interval of two rmse on the same samples, what is shown of a budget, labels that do not fit."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import validate
from devices.evaluation import budgets, metrics, paired
from devices.evaluation.question import VALUE, Question
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Comparison, from_json, to_json

P = "price"
RNG = np.random.default_rng(5)
LABELS = 200 + 50 * RNG.standard_normal(2000)
CLOUD = (LABELS + 10 * RNG.standard_normal(2000)).astype(np.float32)[:, None]


def compare(cloud: Any, edge: Any, **options: Any) -> Comparison:
    return validate.compare(recipe="int8", target="cpu", against="saved-model", cloud=cloud, edge=edge, **options)


def errors(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a cloud with standard normal errors, and of an edge that adds noise of 0.1 and a bias of 0.02 to it."""
    rng = np.random.default_rng(seed)
    cloud = rng.standard_normal(n)
    return cloud, cloud + 0.1 * rng.standard_normal(n) + 0.02


def measured(
    name: str, cloud: np.ndarray, edge: np.ndarray, *, seed: int = 0, block: int = 700, most: int = 20_000
) -> paired.Result:
    """A metric of two sides' errors, from blocks of rows."""
    asked = Question(output=P, kind=VALUE, labelled=True)

    def blocks() -> Any:
        for start in range(0, len(cloud), block):
            left, right = (side[start : start + block] for side in (cloud, edge))
            zero = np.zeros(len(left))
            yield start, {"label": zero, "cloud_value": left, "edge_value": right, "far": np.abs(left - right)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "ROWS_DRAWN", most)
        return paired.evaluate(blocks, [metrics.load(name, asked)], len(cloud), seed=seed)[0]


# ---- the interval


@pytest.mark.parametrize(("n", "most"), [(200, 20_000), (1_000, 250)], ids=["rows", "groups of rows"])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int, most: int) -> None:
    truth = math.sqrt(1 + 0.1**2 + 0.02**2) - 1
    runs = 500
    hits = 0
    for seed in range(runs):
        interval = measured("rmse", *errors(seed, n), seed=seed, most=most).interval
        assert interval is not None
        hits += interval[0] <= truth <= interval[1]
    assert 0.93 <= hits / runs <= 0.97


def test_the_measures_are_those_of_the_textbook() -> None:
    cloud, edge = errors(1, 500)
    rmse, mae = (measured(name, cloud, edge) for name in ("rmse", "mae"))
    assert rmse.cloud == pytest.approx(math.sqrt(np.mean(cloud**2)))
    assert rmse.edge == pytest.approx(math.sqrt(np.mean(edge**2)))
    assert rmse.difference == pytest.approx(rmse.edge - rmse.cloud)
    assert (mae.cloud, mae.edge) == (pytest.approx(np.abs(cloud).mean()), pytest.approx(np.abs(edge).mean()))
    assert mae.difference == pytest.approx(mae.edge - mae.cloud)


def test_the_interval_is_the_plain_bootstraps() -> None:
    cloud, edge = errors(2, 300)
    rng = np.random.default_rng(9)
    drawn = []
    for _ in range(4000):
        rows = rng.integers(0, 300, 300)
        drawn.append(math.sqrt(np.mean(edge[rows] ** 2)) - math.sqrt(np.mean(cloud[rows] ** 2)))
    low, high = np.percentile(drawn, [2.5, 97.5])
    interval = measured("rmse", cloud, edge).interval
    assert interval == pytest.approx((low, high), abs=0.06 * (high - low))


def test_groups_of_rows_say_what_rows_say() -> None:
    cloud, edge = errors(3, 5000)
    rows = measured("rmse", cloud, edge)
    groups = measured("rmse", cloud, edge, most=1001)
    assert (groups.cloud, groups.difference) == (pytest.approx(rows.cloud), pytest.approx(rows.difference))
    assert rows.interval is not None
    assert groups.interval == pytest.approx(rows.interval, abs=0.1 * (rows.interval[1] - rows.interval[0]))


def test_the_order_of_rows_decides_nothing() -> None:
    # Rows in order of their error: groups of neighbours would vary too much, every hundredth row too little.
    cloud = np.sort(np.abs(np.random.default_rng(3).standard_normal(5000)))
    rows = measured("rmse", cloud, 1.2 * cloud).interval
    groups = measured("rmse", cloud, 1.2 * cloud, most=1000).interval
    assert rows is not None
    assert groups == pytest.approx(rows, abs=0.15 * (rows[1] - rows[0]))


def test_what_both_sides_share_cancels() -> None:
    cloud = np.random.default_rng(4).standard_normal(400)
    found = measured("rmse", cloud, cloud + 1e-9)
    assert found.interval is not None
    assert max(map(abs, found.interval)) < 1e-8
    same = measured("rmse", cloud, -cloud)
    assert (same.difference, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)


@pytest.mark.parametrize("factor", [1e-100, 1e100, 3.7])
def test_units_do_not_matter(factor: float) -> None:
    cloud, edge = errors(6, 100)
    one, other = (measured("rmse", f * cloud, f * edge) for f in (1.0, factor))
    assert one.interval is not None
    assert other.cloud == pytest.approx(factor * one.cloud, rel=1e-9, abs=0)
    assert other.interval == pytest.approx([factor * end for end in one.interval], rel=1e-9, abs=0)
    assert one.p_value == other.p_value


def test_one_sides_numbers_do_not_depend_on_the_other() -> None:
    cloud, edge = errors(7, 100)
    found = {measured("rmse", cloud, f * edge).cloud for f in (0.0, 1.0, 1.7, 23.0)}
    assert len(found) == 1


def test_the_seed_decides() -> None:
    cloud, edge = errors(8, 100)
    one, again, other = (measured("rmse", cloud, edge, seed=s).interval for s in (1, 1, 2))
    assert one == again != other


def test_the_p_value_is_small_where_the_interval_excludes_nothing_changed() -> None:
    cloud, edge = errors(9, 4000)
    found = measured("rmse", cloud, edge)
    assert found.interval is not None
    assert found.interval[0] > 0
    assert found.p_value == pytest.approx(2 / 2001)
    noise = np.random.default_rng(0).standard_normal((2, 300))
    close = measured("rmse", *noise)
    assert close.interval is not None
    assert close.p_value is not None
    assert (close.p_value > 0.05) == (close.interval[0] < 0 < close.interval[1])


def test_a_single_row_has_no_interval_and_none_no_error() -> None:
    found = measured("rmse", np.ones(1), np.zeros(1))
    assert (found.cloud, found.edge, found.interval, found.p_value) == (1.0, 0.0, None, None)
    none = measured("rmse", np.ones(0), np.ones(0))
    assert (none.n, none.cloud, none.interval) == (0, None, None)
    assert budgets.judge(none, 0.1) == (False, "not decided: there are no rows")


# ---- the budget


def error(cloud: float, difference: float, half_width: float, n: int) -> paired.Result:
    return paired.Result(
        metric="rmse",
        n=n,
        cloud=cloud,
        edge=cloud + difference,
        difference=difference,
        interval=(difference - half_width, difference + half_width),
        p_value=0.5,
        method="bootstrap",
        unit="label unit",
        higher=False,
        relative=True,
        few=30,
    )


@pytest.mark.parametrize(
    ("cloud", "difference", "half_width", "n", "budget", "expected"),
    [
        (1000.0, 2.0, 2.0, 100, 0.005, (True, "kept")),
        (1000.0, 6.0, 0.5, 100, 0.005, (False, "broken")),
        (1000.0, 6.0, 5.0, 100, 0.005, (False, "broken")),  # the point is beyond: more samples would not help
        (1000.0, -20.0, 5.0, 100, 0.0, (True, "kept")),
        (1000.0, 3.0, 4.0, 100, 0.005, (False, "not enough samples: 300 more needed")),  # (4 / 2)² times as many
        (1000.0, 3.0, 2.01, 100, 0.005, (False, "not enough samples: 2 more needed")),
        (1000.0, 0.0, 1.0, 100, 0.0, (False, "not enough samples: no number of them can show it")),
        (1000.0, 0.0, 0.0, 100, 0.0, (True, "kept")),
        (0.0, 0.5, 0.1, 100, 0.005, (False, "broken")),
        (0.0, 0.0, 0.0, 100, 0.005, (True, "kept")),
        (1000.0, 0.0, 0.0, 29, 0.005, (False, "not enough samples: 1 more needed")),
        (1000.0, 900.0, 1.0, 100, None, (True, "not judged: no budget")),
    ],
)
def test_budgets(
    cloud: float, difference: float, half_width: float, n: int, budget: float | None, expected: tuple[bool, str]
) -> None:
    assert budgets.judge(error(cloud, difference, half_width, n), budget) == expected


@given(st.integers(0, 10_000), st.integers(40, 300), st.sampled_from([0.01, 0.02, 0.05]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_samples_asked_for_are_about_enough(seed: int, n: int, budget: float) -> None:
    cloud, edge = errors(seed, n)
    passed, verdict = budgets.judge(measured("rmse", cloud, edge), budget)
    if passed or not verdict.endswith("more needed"):
        return
    # A third more, for the interval is drawn; samples of the same kind are the same ones again.
    copies = math.ceil(1.33 * (n + int(verdict.split()[3])) / n) + 1
    if copies * n > 500_000:
        return
    found = measured("rmse", np.tile(cloud, copies), np.tile(edge, copies))
    assert budgets.judge(found, budget) == (True, "kept")


# ---- the comparison


def test_one_number_a_sample_is_judged_by_rmse() -> None:
    edge = CLOUD + np.float32(0.01)
    found = compare({P: CLOUD}, {P: edge}, labels=LABELS)
    residuals = CLOUD[:, 0].astype(np.float64) - LABELS
    assert (found.metric, found.unit, found.budget, found.budget_kind) == ("rmse", "label unit", 0.02, "relative")
    assert found.cloud == pytest.approx(math.sqrt(np.mean(residuals**2)))
    assert found.edge is not None
    assert found.cloud is not None
    assert found.difference == pytest.approx(found.edge - found.cloud)
    assert found.data["mae"]["cloud"] == pytest.approx(np.abs(residuals).mean())
    assert (found.passed, found.verdict, found.agreement, found.flips) == (True, "kept", None, {})
    assert from_json(Comparison, json.loads(json.dumps(to_json(found)))) == found


def test_the_budget_is_a_share_of_the_clouds_rmse_whatever_its_size() -> None:
    edge = CLOUD + np.float32(1.5)  # rmse 10 rises by about 0.1
    for factor in (1e-3, 1.0, 1e5):
        sides = ({P: np.float64(factor) * side} for side in (CLOUD, edge))
        verdicts = [
            compare(*pair, labels=factor * LABELS, budget=b).verdict for pair in [list(sides)] for b in (1e-3, 0.1)
        ]
        assert verdicts == ["broken", "kept"]


@pytest.mark.parametrize("shape", [(2000,), (2000, 1), (2000, 1, 1)])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], np.round(LABELS).astype(np.int64)])
def test_shapes_and_whole_labels(shape: tuple[int, ...], labels: np.ndarray) -> None:
    found = compare({P: CLOUD.reshape(shape)}, {P: CLOUD.reshape(shape)}, labels=labels, budget=0.0)
    assert (found.metric, found.difference, found.verdict, found.n) == ("rmse", 0.0, "kept", 2000)
    assert found.cloud == pytest.approx(10, rel=0.1)


def test_without_labels_a_regression_is_judged_by_parity() -> None:
    found = compare({P: CLOUD}, {P: CLOUD + np.float32(0.01)})
    assert (found.metric, found.cloud, found.budget, found.verdict) == ("parity", None, None, "kept")
    asked = compare({P: CLOUD}, {P: CLOUD}, labels=LABELS, metric="parity")
    assert (asked.metric, asked.unit) == ("parity", "fraction")


def test_the_worst_are_furthest_apart_with_both_values_and_the_label() -> None:
    edge = CLOUD.copy()
    edge[40] += 30
    edge[7] -= 50
    found = compare({P: CLOUD}, {P: edge}, labels=LABELS).worst
    assert [s["index"] for s in found] == [7, 40]
    assert found[0]["label"] == LABELS[7]
    assert (found[0]["cloud"], found[0]["edge"]) == (float(CLOUD[7, 0]), float(edge[7, 0]))
    assert found[0]["max_abs"] == pytest.approx(50)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nan_and_infinity_always_fail(poison: float) -> None:
    edge = CLOUD.copy()
    edge[17] = poison
    found = compare({P: CLOUD}, {P: edge}, labels=LABELS, budget=1.0)
    assert (found.passed, found.verdict) == (False, f"broken: NaN or infinity in output {P!r}")
    assert (found.edge, found.difference, found.interval) == (None, None, None)
    assert (found.worst[0]["index"], found.worst[0]["edge"]) == (17, None)
    json.dumps(to_json(found), allow_nan=False)


def test_several_outputs_and_labels_that_are_values() -> None:
    both = {"parts": np.ones((2000, 4), np.float32), P: CLOUD}
    assert compare(both, both, labels=LABELS).data["output"] == P
    two = {P: CLOUD, "again": CLOUD}
    with pytest.raises(UsageError, match="several outputs could be the value"):
        compare(two, two, labels=LABELS)
    assert compare(two, two, labels=LABELS, output="again").metric == "rmse"


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (LABELS[:5], {}, r"\[5\] labels do not fit 2000 samples"),
        (np.stack([LABELS, LABELS], axis=1), {}, r"\[2000, 2\] labels"),
        (np.where(np.arange(2000) == 3, np.nan, LABELS), {}, "not all finite numbers"),
        (LABELS.astype(str), {}, "not all finite numbers"),
    ],
)
def test_labels_that_do_not_fit(labels: np.ndarray, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BrokenInput, match=said):
        compare({P: CLOUD}, {P: CLOUD}, labels=labels, **options)


def test_values_are_no_classes_and_classes_no_values() -> None:
    scores = np.full((2000, 3), 0.3, dtype=np.float32)
    with pytest.raises(UsageError, match=r"labels are float64, not classes, and outputs of shape \[2000, 3\]"):
        compare({P: scores}, {P: scores}, labels=LABELS)
    with pytest.raises(UsageError, match="rmse is of one number a sample"):
        compare({P: scores}, {P: scores}, labels=np.arange(2000) % 3, metric="rmse")


def test_a_picture_is_judged_by_the_rmse_over_all_of_its_pixels() -> None:
    rng = np.random.default_rng(3)
    wanted = rng.random((400, 4, 4)).astype(np.float32)
    cloud = (wanted + rng.normal(0, 0.1, wanted.shape)).astype(np.float32)
    edge = (cloud + rng.normal(0, 0.001, wanted.shape)).astype(np.float32)
    code = rng.random((400, 3)).astype(np.float32)
    found = compare({"picture": cloud, "code": code}, {"picture": edge, "code": code}, labels=wanted)
    assert (found.metric, found.unit, found.verdict, found.agreement) == ("rmse", "label unit", "kept", None)
    assert found.cloud == pytest.approx(float(np.sqrt(np.mean((cloud - wanted) ** 2))), rel=1e-5)
    assert found.edge == pytest.approx(float(np.sqrt(np.mean((edge - wanted) ** 2))), rel=1e-5)
    assert found.worst[0]["label"] is None

    blurred = np.full_like(cloud, 0.5)
    assert compare({"picture": cloud}, {"picture": blurred}, labels=wanted).verdict == "broken"
