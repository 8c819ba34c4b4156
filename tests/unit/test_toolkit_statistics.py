"""Properties of the statistics: coverage by simulation, exact small values, what may be quoted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit import statistics

POSITIVE = st.lists(st.floats(min_value=0.1, max_value=1e6), min_size=2, max_size=60)


@pytest.mark.parametrize(("n", "q01", "q10"), [(1000, 0.01, 0.02), (500, 0.03, 0.03), (2000, 0.004, 0.01)])
def test_tango_covers_the_truth_in_95_of_100(n: int, q01: float, q10: float) -> None:
    rng = np.random.default_rng(n)
    draws = rng.multinomial(n, [q01, q10, 1 - q01 - q10], size=1500)
    covered = 0
    for gained, lost, _ in draws:
        low, high = statistics.paired_difference(int(gained), int(lost), n)[1]
        covered += low <= q01 - q10 <= high
    assert 0.93 <= covered / len(draws) <= 0.97


def _score(gained: int, lost: int, n: int, delta: float) -> float:
    """Tango's statistic with the nuisance parameter found by brute force instead of by its closed form."""
    p21 = np.linspace(max(0.0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9, 400_001)
    likelihood = gained * np.log(p21 + delta) + lost * np.log(p21) + (n - gained - lost) * np.log(1 - 2 * p21 - delta)
    best = p21[likelihood.argmax()]
    return float((gained - lost - n * delta) / np.sqrt(n * (2 * best + delta * (1 - delta))))


@pytest.mark.parametrize(("gained", "lost", "n"), [(1, 1, 50), (2, 9, 60), (12, 3, 44), (1, 5, 1000)])
def test_tango_ends_where_the_score_test_does(gained: int, lost: int, n: int) -> None:
    low, high = statistics.paired_difference(gained, lost, n)[1]
    assert _score(gained, lost, n, low) == pytest.approx(statistics.Z95, abs=1e-3)
    assert _score(gained, lost, n, high) == pytest.approx(-statistics.Z95, abs=1e-3)


def test_tango_without_disagreement() -> None:
    difference, (low, high) = statistics.paired_difference(0, 0, 100)
    edge = statistics.Z95**2 / (100 + statistics.Z95**2)
    assert (difference, low, high) == pytest.approx((0, -edge, edge))


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 400))
@settings(max_examples=60)
def test_paired_difference_is_ordered_and_antisymmetric(gained: int, lost: int, rest: int) -> None:
    n = gained + lost + rest
    if n == 0:
        return
    difference, (low, high) = statistics.paired_difference(gained, lost, n)
    assert -1 <= low <= difference <= high <= 1
    mirrored, (other_low, other_high) = statistics.paired_difference(lost, gained, n)
    assert mirrored == pytest.approx(-difference)
    assert (other_low, other_high) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("counts", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_paired_difference_refuses_impossible_counts(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        statistics.paired_difference(*counts)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (0, 1, 1.0), (0, 5, 2 / 32), (1, 5, 14 / 64), (5, 5, 1.0), (2, 8, 112 / 1024), (0, 10, 2 / 1024)],
)
def test_mcnemar_exact_small_values(gained: int, lost: int, p: float) -> None:
    assert statistics.mcnemar_exact(gained, lost) == pytest.approx(p)
    assert statistics.mcnemar_exact(lost, gained) == pytest.approx(p)


@given(POSITIVE, POSITIVE)
@settings(max_examples=25, deadline=None)
def test_median_interval_contains_the_median(first: list[float], second: list[float]) -> None:
    groups = [np.array(first), np.array(first[::-1]), np.array(second), np.array(second)]
    low, high = statistics.median_interval(groups, draws=200)
    every = np.concatenate(groups)
    assert every.min() <= low <= high <= every.max()
    assert low <= np.median(every) <= high


def test_median_interval_covers_the_median_over_processes() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(80):
        groups = [100 * (1 + 0.03 * rng.standard_normal()) + rng.standard_normal(30) for _ in range(12)]
        low, high = statistics.median_interval(groups, seed=trial, draws=100)
        covered += low <= 100 <= high
    assert covered >= 0.85 * 80  # a bootstrap over samples alone covers about a quarter


@pytest.mark.parametrize(("q", "enough"), [(90, 64), (95, 130), (99, 662)])
def test_a_tail_needs_its_samples(q: float, enough: int) -> None:
    value, reason = statistics.percentile(np.arange(enough - 1.0), q)
    assert value is None
    assert reason == f"not available: {enough - 1} samples, p{q} needs {enough}"
    assert statistics.percentile(np.arange(float(enough)), q) == (pytest.approx(q / 100 * (enough - 1)), None)


@pytest.mark.parametrize("q", [99.5, 99.9, 100])
def test_beyond_p99_nothing_is_quoted(q: float) -> None:
    value, reason = statistics.percentile(np.arange(5000.0), q)
    assert value is None
    assert reason is not None
    assert f"p{q:g}" in reason


def test_the_median_is_always_quoted() -> None:
    assert statistics.percentile([3.0], 50) == (3.0, None)


def test_summary_of_known_samples() -> None:
    summary = statistics.summarize([[1000.0] * 40, [3000.0] * 40])
    assert (summary.n, summary.median_us, summary.min_us, summary.max_us) == (80, 2.0, 1.0, 3.0)
    assert summary.p90_us == 3.0
    assert summary.mad_us == 1.0
    assert summary.process_spread == 1.0
    with pytest.raises(ValueError, match="no samples"):
        statistics.summarize([[]])


@given(POSITIVE, st.floats(min_value=0.2, max_value=5))
@settings(max_examples=30, deadline=None)
def test_ratio_of_scaled_samples_is_the_scale(samples: list[float], scale: float) -> None:
    rounds = [samples, samples]
    scaled = [[s * scale for s in samples]] * 2
    ratio, (low, high) = statistics.ratio_of_medians(scaled, rounds, draws=200)
    assert ratio == pytest.approx(scale)
    assert low <= scale * (1 + 1e-9)
    assert high >= scale * (1 - 1e-9)


def test_unpaired_rounds_are_refused() -> None:
    for function in (statistics.ratio_of_medians, statistics.ratio_p_value):
        with pytest.raises(ValueError, match="same rounds"):
            function([[1.0]], [])


def test_p_values_are_small_only_for_a_difference() -> None:
    rng = np.random.default_rng(0)
    a, b = ([list(100 + rng.standard_normal(50)) for _ in range(5)] for _ in range(2))
    assert statistics.ratio_p_value(a, b) > 0.05
    assert statistics.ratio_p_value(a, [[2 * s for s in run] for run in b]) == pytest.approx(2 / 1001)


def test_holm_against_the_definition() -> None:
    # 4 · 0.005, 3 · 0.01, 2 · 0.03 and the last not below it.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=20))
def test_holm_keeps_the_order_and_only_raises(p_values: list[float]) -> None:
    adjusted = statistics.holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    by_p = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


@pytest.mark.parametrize(
    ("ratio", "interval", "said"),
    [
        (0.5, (0.4, 0.6), "faster"),
        (2.0, (1.5, 2.5), "slower"),
        (0.94, (0.85, 1.01), "about the same, maybe"),
        (0.97, (0.96, 0.98), "about the same, maybe"),
        (1.01, (1.005, 1.015), "no difference"),
    ],
)
def test_speed_verdicts(ratio: float, interval: tuple[float, float], said: str) -> None:
    assert statistics.speed_verdict(ratio, interval) == said


def test_samples_needed_shrinks_with_room() -> None:
    assert statistics.samples_needed(-0.006, 0.01, 0.005, 1000) is None
    near, far = (statistics.samples_needed(d, 0.01, 0.005, 1000) for d in (-0.004, 0.0))
    assert near is not None
    assert far is not None
    assert near > far == 1537  # z² · 0.01 / 0.005²
