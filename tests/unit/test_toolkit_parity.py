"""Distances between outputs, against formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit import parity
from toolkit.records import Tolerance

scores = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6),
                    elements=st.floats(-4, 4, width=32))  # fmt: skip


@given(scores)
def test_equal_outputs_are_at_no_distance(array: np.ndarray) -> None:
    found = parity.measure(array, array.copy())
    assert (found.max_abs, found.mean_abs, found.psnr_db, found.top1) == (0, 0, math.inf, 1)
    assert found.cosine == pytest.approx(1)


@given(scores, st.floats(0.001, 2))
def test_a_shift_is_measured_as_such(array: np.ndarray, shift: float) -> None:
    moved = array.astype(np.float64) + shift
    found = parity.measure(array.astype(np.float64), moved)
    assert found.max_abs == pytest.approx(shift)
    assert found.mean_abs == pytest.approx(shift)
    peak = np.abs(array).max()
    if peak:
        assert found.psnr_db == pytest.approx(20 * math.log10(peak / shift), abs=1e-3)


def test_top1_counts_the_same_winner() -> None:
    reference = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]], np.float32)
    observed = np.array([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3], [0.6, 0.4]], np.float32)
    assert parity.agreement(reference, observed) == 0.75
    assert parity.agreement(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32)) is None
    assert parity.agreement(np.zeros((3, 2), np.int32), np.zeros((3, 2), np.int32)) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_always_fail(bad: float) -> None:
    found = parity.measure(np.ones((1, 2)), np.array([[1.0, bad]]))
    assert parity.within(found, Tolerance(reason="anything goes")) == ["NaN or infinite outputs"]


def test_each_bound_is_judged() -> None:
    reference = np.tile([[1.0, 0.0], [0.0, 1.0]], (2, 1))
    found = parity.measure(reference, np.tile([[0.9, 0.1], [0.6, 0.4]], (2, 1)))
    assert parity.within(found, Tolerance(reason="", max_abs=0.7, psnr_db=5, top1=0.5)) == []
    wrong = parity.within(found, Tolerance(reason="", max_abs=0.5, psnr_db=50, top1=0.9))
    assert len(wrong) == 3
    assert len(parity.within(found, Tolerance(reason="", top1=0.9), judge_top1=False)) == 0


def test_a_single_sample_that_flips_breaks_nothing_and_two_do() -> None:
    reference = np.tile([[1.0, 0.0]], (64, 1))
    for flipped, broken in ((1, 0), (2, 1)):
        observed = reference.copy()
        observed[:flipped] = [[0.4, 0.6]]
        found = parity.measure(reference, observed)
        assert len(parity.within(found, Tolerance(reason="", top1=0.99))) == broken


def test_max_abs_grows_with_the_outputs() -> None:
    reference = np.array([[1000.0, 10.0]])
    assert not parity.within(parity.measure(reference, reference + 0.05), Tolerance(reason="", max_abs=1e-4))
    assert parity.within(parity.measure(reference, reference + 0.2), Tolerance(reason="", max_abs=1e-4))


def test_other_shapes_and_missing_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        parity.measure(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="outputs y are missing"):
        parity.compare({"y": np.zeros((1, 2))}, {"z": np.zeros((1, 2))})
