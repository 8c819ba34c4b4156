"""Cloud against edge on made-up answers: metrics, budgets, the worst samples, what does not fit together."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import validate
from devices.device import Answer
from devices.evaluation import budgets, worst
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Comparison, Tolerance, from_json, to_json

P = "probabilities"


def scores(classes: np.ndarray, n_classes: int = 10) -> np.ndarray:
    """Softmax-like outputs whose arg-max is the class."""
    found = np.full((len(classes), n_classes), 0.01, dtype=np.float32)
    found[np.arange(len(classes)), classes] = 0.91
    return found


def answer(outputs: np.ndarray, raw: np.ndarray | None = None) -> Answer:
    return Answer(
        outputs={P: outputs},
        raw={P: outputs if raw is None else raw},
        delegated_ops=None,
        partitions=None,
        seconds=0.0,
    )


def compare(cloud: Any, edge: Any, **options: Any) -> Comparison:
    return validate.compare(recipe="int8", target="cpu", against="saved-model", cloud=cloud, edge=edge, **options)


LABELS = np.arange(2000) % 10


def flipped(lost: int, gained: int) -> tuple[np.ndarray, np.ndarray]:
    """Cloud and edge scores where the edge loses the first ``lost`` and gains the last ``gained`` samples."""
    cloud, edge = LABELS.copy(), LABELS.copy()
    edge[:lost] = (edge[:lost] + 1) % 10
    if gained:
        cloud[-gained:] = (cloud[-gained:] + 1) % 10
    return scores(cloud), scores(edge)


def test_identical_sides_keep_the_budget() -> None:
    same = scores(LABELS)
    found = compare({P: same}, {P: same}, labels=LABELS, budget=0.005)
    assert (found.metric, found.cloud, found.edge, found.difference) == ("accuracy", 1.0, 1.0, 0.0)
    assert (found.passed, found.verdict, found.agreement) == (True, "kept", 1.0)
    assert (found.max_abs_error, found.psnr_db, found.cosine) == (0.0, math.inf, pytest.approx(1.0))
    assert (found.worst, found.p_value, found.flips) == ((), 1.0, {"gained": 0, "lost": 0})
    assert from_json(Comparison, json.loads(json.dumps(to_json(found)))) == found


def test_known_flips() -> None:
    cloud, edge = flipped(lost=9, gained=2)
    found = compare({P: cloud}, {P: edge}, labels=LABELS, budget=0.02)
    assert found.cloud == pytest.approx(1998 / 2000)
    assert found.edge == pytest.approx(1991 / 2000)
    assert found.difference == pytest.approx(-7 / 2000)
    assert found.flips == {"gained": 2, "lost": 9}
    assert found.agreement == pytest.approx(1989 / 2000)
    assert found.p_value == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert found.max_abs_error == pytest.approx(0.9)
    assert found.psnr_db == pytest.approx(10 * math.log10(0.91**2 / (11 * 2 * 0.9**2 / 20000)), rel=1e-5)
    assert found.passed


@pytest.mark.parametrize(
    ("gained", "lost", "n", "budget", "passed", "verdict"),
    [
        (0, 0, 2000, 0.005, True, "kept"),
        (0, 8, 1000, 0.005, False, "broken"),
        (1, 60, 1000, 0.005, False, "broken"),
        (5, 0, 1000, 0.0, True, "kept"),
        (0, 0, 1000, 0.0, False, "not enough samples: no number of them can show it"),
        (0, 60, 1000, None, True, "not judged: no budget"),
    ],
)
def test_budgets(gained: int, lost: int, n: int, budget: float | None, passed: bool, verdict: str) -> None:
    assert budgets.of_flips(gained, lost, n, budget) == (passed, verdict)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(20, 900), st.sampled_from([0.005, 0.01, 0.02]))
@settings(max_examples=60, deadline=None)
def test_the_samples_asked_for_are_enough(gained: int, lost: int, n: int, budget: float) -> None:
    passed, verdict = budgets.of_flips(gained, lost, n, budget)
    if passed or not verdict.endswith("more needed"):
        return
    total = n + int(verdict.split()[3])
    more = total / n
    assert budgets.of_flips(round(gained * more), math.ceil(lost * more), total, budget) == (True, "kept")


def test_no_more_samples_are_asked_for_than_needed() -> None:
    # The normal approximation is content with 615 here and Tango's interval with 1,000 is not.
    passed, verdict = budgets.of_flips(2, 2, 1000, 0.005)
    assert not passed
    assert verdict.startswith("not enough samples: ")
    total = 1000 + int(verdict.split()[3])
    assert not budgets.of_flips(2, 3, 1000 + (total - 1000) // 2, 0.005)[0]
    assert total < 1500


def test_the_interval_decides_not_the_point() -> None:
    cloud, edge = flipped(lost=6, gained=0)  # 0.3 points on 2,000: within half a point, but not shown to be
    found = compare({P: cloud}, {P: edge}, labels=LABELS, budget=0.005)
    assert found.interval is not None
    assert found.difference is not None
    assert found.interval[0] < -0.005 < found.difference
    assert not found.passed
    assert found.verdict.startswith("not enough samples: ")


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("labels", [LABELS, None])
def test_nan_and_infinity_always_fail(poison: float, labels: np.ndarray | None) -> None:
    cloud = scores(LABELS)
    edge = cloud.copy()
    edge[17, 3] = poison
    found = compare({P: cloud}, {P: edge}, labels=labels, budget=1.0, tolerance=Tolerance(reason="none"))
    assert not found.passed
    assert found.verdict == f"broken: NaN or infinity in output {P!r}"
    assert (found.max_abs_error, found.psnr_db) == (None, None)
    assert found.worst[0]["index"] == 17
    json.dumps(to_json(found), allow_nan=False)


def test_without_labels_parity_is_judged_by_the_tolerance() -> None:
    cloud = scores(LABELS)
    edge = cloud + np.float32(0.001)
    close = compare({P: cloud}, {P: edge})
    assert (close.metric, close.cloud, close.budget, close.passed) == ("parity", None, None, True)
    strict = compare({P: cloud}, {P: edge}, tolerance=Tolerance(reason="tight", max_abs=1e-4))
    assert not strict.passed
    assert strict.verdict.startswith("broken: max-abs")


def test_every_output_counts_for_parity() -> None:
    rng = np.random.default_rng(0)
    cloud = {"boxes": rng.random((50, 4), dtype=np.float32), "score": rng.random((50, 1), dtype=np.float32)}
    edge = {"boxes": cloud["boxes"], "score": cloud["score"] + np.float32(0.5)}
    found = compare(cloud, edge)
    assert not found.passed
    assert "score: PSNR" in found.verdict
    assert set(found.data["outputs"]) == {"boxes", "score"}


def test_the_worst_samples_come_flips_first() -> None:
    cloud = scores(LABELS[:100])
    edge = cloud.copy()
    edge[40] -= np.float32(5)  # further off than any, the same class
    edge[7] = scores(np.array([(LABELS[7] + 1) % 10]))[0]
    edge[7, LABELS[7]] = 0.9
    for i in range(60, 90):
        edge[i, 0] += np.float32(0.001 * i)
    pixels = np.linspace(0, 1, 100 * 28 * 28, dtype=np.float32).reshape(100, 28, 28)
    found = compare({P: cloud}, {P: edge}, labels=LABELS[:100], inputs={"image": pixels})
    assert len(found.worst) == validate.WORST
    first, second = found.worst[:2]
    assert (first["index"], first["label"], first["cloud"], first["edge"]) == (7, 7, 7, 8)
    assert first["cloud_p"] == pytest.approx(0.91)
    assert second["index"] == 40
    errors = [s["max_abs"] for s in found.worst[1:]]
    assert errors == sorted(errors, reverse=True)
    image = first["image"]
    assert (image["shape"], image["dtype"]) == ([28, 28], "uint8")
    shown = np.frombuffer(base64.b64decode(image["base64"]), dtype=np.uint8).reshape(28, 28)
    assert np.array_equal(shown, np.rint(pixels[7] * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("shape", "dtype", "high", "expected"),
    [
        ((3, 28, 28), np.float32, 1, [28, 28]),
        ((3, 28, 28, 1), np.uint8, 255, [28, 28]),
        ((3, 8, 9, 3), np.float32, 1, [8, 9, 3]),
        ((3, 8, 9, 2), np.float32, 1, None),
        ((3, 28, 28), np.float32, 255, None),
        ((3, 40), np.float32, 1, None),
        ((3, 28, 28), np.int32, 1, None),
    ],
)
def test_only_pictures_are_shown(shape: tuple, dtype: type, high: float, expected: list | None) -> None:
    array = np.full(shape, high).astype(dtype)
    found = worst.picture({"x": array}, 1, 3)
    assert (found and found["shape"]) == expected
    assert worst.picture({"x": array, "y": array}, 1, 3) is None


def test_integer_outputs_have_a_histogram_of_steps() -> None:
    raw = np.zeros((4, 10), dtype=np.int8)
    other = raw.copy()
    other[0, 0], other[1, 1] = 1, -2
    real = [(r.astype(np.float32) + 128) / 256 for r in (raw, other)]
    found = compare(answer(real[0], raw), answer(real[1], other))
    assert found.lsb_histogram == {"-2": 1, "0": 38, "1": 1}
    assert compare(answer(real[0]), answer(real[1], other)).lsb_histogram is None


def test_labels_may_be_a_column() -> None:
    same = scores(LABELS)
    assert compare({P: same}, {P: same}, labels=LABELS[:, None], budget=0.005).cloud == 1.0


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        (LABELS[:5], BrokenInput, "[5] labels do not fit 2000 samples"),
        (LABELS + 1, BrokenInput, "labels run from 1 to 10, the model has 10 classes"),
        (LABELS - 1, BrokenInput, "labels run from -1"),
        (LABELS.astype(np.float32), UsageError, "regression"),
    ],
)
def test_labels_that_do_not_fit(labels: np.ndarray, error: type[Exception], said: str) -> None:
    same = scores(LABELS)
    with pytest.raises(error) as caught:
        compare({P: same}, {P: same}, labels=labels)
    assert said in str(caught.value)


def test_outputs_that_do_not_match() -> None:
    same = scores(LABELS)
    with pytest.raises(BrokenInput, match=r"shapes differ: \[2000, 10\] and \[2000, 9\]"):
        compare({P: same}, {P: same[:, :9]}, labels=LABELS)
    with pytest.raises(BrokenInput, match="output_0"):
        compare({P: same, "more": same}, {"output_0": same}, labels=LABELS)
    with pytest.raises(BrokenInput, match="no samples"):
        compare({P: same[:0]}, {P: same[:0]})
    with pytest.raises(BrokenInput, match="no outputs"):
        compare({}, {})


def test_several_score_outputs_need_a_choice() -> None:
    same = {"a": scores(LABELS), "b": scores(LABELS)}
    with pytest.raises(UsageError, match="several outputs"):
        compare(same, same, labels=LABELS)
    assert compare(same, same, labels=LABELS, output="b").data["output"] == "b"
    with pytest.raises(BrokenInput, match="no output 'c'"):
        compare(same, same, labels=LABELS, output="c")


@pytest.mark.parametrize("options", [{"budget": -0.1}, {"budget": 1.5}, {"metric": "rmse"}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    same = scores(LABELS)
    with pytest.raises(UsageError):
        compare({P: same}, {P: same}, labels=LABELS, **options)
