"""Percentiles, intervals and paired tests, as functions of the raw samples. Numpy only.

Everything random takes a seed, so that a report made twice says the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054
"""97.5 % point of the standard normal distribution: two-sided 95 % intervals."""

_TAIL_SAMPLES = {90: 64, 95: 130, 99: 662}
"""Fewest samples for a percentile to be quoted (exact binomial, as in MLPerf's early stopping)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A latency distribution in µs. ``p90_us`` is ``None`` below 64 samples, with ``p90_reason``."""

    n: int
    median_us: float
    interval_us: tuple[float, float]
    p90_us: float | None
    p90_reason: str | None
    mad_us: float
    cv: float
    min_us: float
    max_us: float
    process_spread: float


def percentile(samples: Sequence[float] | np.ndarray, q: float) -> tuple[float | None, str | None]:
    """The ``q``-th percentile, or ``None`` and why there are too few samples for it.

    Args:
        samples: any unit, at least one value.
        q: 0–100. At and above 90 the number of samples decides whether it can be quoted; above 99 none is.
    """
    values = np.asarray(samples, dtype=np.float64)
    if q > max(_TAIL_SAMPLES):
        return None, f"not available: {len(values)} samples, no number is known to be enough for p{q:g}"
    for level in sorted(_TAIL_SAMPLES):
        if q <= level and q >= 90 and len(values) < _TAIL_SAMPLES[level]:
            return None, f"not available: {len(values)} samples, p{q:g} needs {_TAIL_SAMPLES[level]}"
        if q <= level:
            break
    return float(np.percentile(values, q)), None


def summarize(processes: Sequence[Sequence[float]], *, seed: int = 0, draws: int = 1000) -> Summary:
    """The distribution of one measurement.

    Args:
        processes: per fresh process, its samples in ns per inference.
        seed: of the bootstrap.
        draws: bootstrap resamples.

    Raises:
        ValueError: no samples at all.
    """
    groups = [np.asarray(p, dtype=np.float64) / 1e3 for p in processes if len(p)]
    if not groups:
        raise ValueError("no samples")
    values = np.concatenate(groups)
    median = float(np.median(values))
    p90, reason = percentile(values, 90)
    medians = [float(np.median(g)) for g in groups]
    return Summary(
        n=len(values),
        median_us=median,
        interval_us=median_interval(groups, seed=seed, draws=draws),
        p90_us=p90,
        p90_reason=reason,
        mad_us=float(np.median(np.abs(values - median))),
        cv=robust_cv(values),
        min_us=float(values.min()),
        max_us=float(values.max()),
        process_spread=(max(medians) - min(medians)) / median if median else 0.0,
    )


def robust_cv(samples: np.ndarray) -> float:
    """Coefficient of variation (standard deviation over mean) of the samples, 0 for fewer than two."""
    if len(samples) < 2 or not samples.mean():
        return 0.0
    return float(samples.std(ddof=1) / samples.mean())


def median_interval(groups: Sequence[np.ndarray], *, seed: int = 0, draws: int = 1000) -> tuple[float, float]:
    """Bootstrap 95 % interval of the median over samples that come in groups (processes).

    Processes are resampled first, then the samples inside each: the spread between processes dominates,
    and a plain bootstrap would call two processes' thousand samples a thousand independent ones
    (Davison & Hinkley 1997, section 3.8).
    """
    rng = np.random.default_rng(seed)
    groups = condense(groups)
    medians = [np.median(_resample(groups, rng)) for _ in range(draws)]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def condense(groups: Sequence[np.ndarray], most: int = 1001) -> list[np.ndarray]:
    """Groups of samples cut to at most ``most`` order statistics each, evenly spread, the same share of every group.

    A full run has ten thousand samples in a process, and a thousand resamples of all of them take seconds. Fewer
    samples can only make a bootstrap interval wider; their quantiles stay. Small groups are returned as they are.
    """
    share = most / max(len(g) for g in groups)
    if share >= 1:
        return list(groups)
    counts = [max(1, round(share * len(g))) for g in groups]
    return [np.sort(g)[((np.arange(n) + 0.5) * len(g) / n).astype(int)] for g, n in zip(groups, counts, strict=True)]


def ratio_of_medians(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], *, seed: int = 0, draws: int = 1000
) -> tuple[float, tuple[float, float]]:
    """Median of ``a`` over median of ``b`` with its bootstrap 95 % interval, paired by round.

    Args:
        a: per round, samples of the first artifact.
        b: per round, samples of the second, taken next to ``a``'s of the same index.

    Raises:
        ValueError: different numbers of rounds, or none.
    """
    if len(a) != len(b) or not a:
        raise ValueError("a paired ratio needs the same rounds on both sides")
    left = [np.asarray(x, dtype=np.float64) for x in a]
    right = [np.asarray(x, dtype=np.float64) for x in b]
    ratio = float(np.median(np.concatenate(left)) / np.median(np.concatenate(right)))
    low, high = np.percentile(_ratio_draws(left, right, seed, draws), [2.5, 97.5])
    return ratio, (float(low), float(high))


def ratio_p_value(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], *, seed: int = 0, draws: int = 1000
) -> float:
    """Two-sided bootstrap p-value that the medians' ratio is 1, from the draws of :func:`ratio_of_medians`.

    Twice the smaller share of draws on either side of 1, with one draw added to each side so that it is never 0
    (Davison & Hinkley 1997, section 4.4). Arguments and errors as there.
    """
    if len(a) != len(b) or not a:
        raise ValueError("a paired ratio needs the same rounds on both sides")
    left = [np.asarray(x, dtype=np.float64) for x in a]
    right = [np.asarray(x, dtype=np.float64) for x in b]
    ratios = np.asarray(_ratio_draws(left, right, seed, draws))
    side = min(int(np.sum(ratios <= 1)), int(np.sum(ratios >= 1)))
    return min(1.0, 2 * (side + 1) / (draws + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of many p-values, in their order (Scandinavian J. of Statistics 6:65–70, 1979).

    The smallest is multiplied by the number of tests, the next by one less, and so on; none falls below the one
    before it. Below 0.05 afterwards, the chance of any false finding among all is below 5 %.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in their order: below q, the expected share of false findings among all found is below q.

    Benjamini & Hochberg, J. of the Royal Statistical Society B 57:289–300, 1995; valid too under the positive
    dependence that overlapping slices have (Benjamini & Yekutieli 2001).
    """
    adjusted = [1.0] * len(p_values)
    smallest = 1.0
    for rank, index in reversed(list(enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i]), start=1))):
        smallest = min(smallest, len(p_values) / rank * p_values[index])
        adjusted[index] = smallest
    return adjusted


def z_p_value(difference: float, error: float) -> float:
    """Two-sided p-value that a normal estimate with that standard error is of 0; 1 where both are 0."""
    return t_p_value(difference, error, math.inf)


def student_t(freedom: float) -> float:
    """97.5 % point of Student's t."""
    from scipy import special  # a fifth of a second, and only intervals of means need it

    return float(special.stdtrit(freedom, 0.975))


def t_tail(t: float, freedom: float) -> float:
    """Chance that Student's t is above ``t``; of infinite freedom it is the standard normal."""
    from scipy import special

    return float(special.ndtr(-t) if math.isinf(freedom) else special.stdtr(freedom, -t))


def t_p_value(difference: float, error: float, freedom: float) -> float:
    """Two-sided p-value that a mean with that standard error is 0; 1 where both are 0, NaN where one is unknown."""
    if math.isnan(error) or math.isnan(difference):
        return math.nan
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return min(1.0, 2 * t_tail(abs(difference) / error, freedom))


def speed_verdict(ratio: float, interval: tuple[float, float]) -> str:
    """What may be said of a latency ratio: the interval must exclude 1 *and* the effect be 5 % or more."""
    low, high = interval
    effect = abs(ratio - 1)
    if effect >= 0.05 and (high < 1 or low > 1):
        return "faster" if ratio < 1 else "slower"
    return "about the same, maybe" if effect >= 0.02 else "no difference"


def paired_difference(gained: int, lost: int, n: int) -> tuple[float, tuple[float, float]]:
    """Difference of two accuracies on the same ``n`` samples, with its 95 % interval.

    Tango's score interval (Statistics in Medicine 17:891–908, 1998): unlike the bootstrap it keeps its
    coverage when few samples or none disagree, which is where good artifacts are.

    Args:
        gained: samples only the second side gets right.
        lost: samples only the first side gets right.
        n: all samples.

    Returns:
        ``(gained - lost) / n`` and the interval, as fractions.

    Raises:
        ValueError: ``n`` is not positive, or the counts do not fit in it.
    """
    if n <= 0 or min(gained, lost) < 0 or gained + lost > n:
        raise ValueError(f"counts {gained}, {lost} do not fit {n} samples")
    difference = (gained - lost) / n
    low = -1.0 if lost == n else _solve(lambda d: _tango(gained, lost, n, d) - Z95, -1.0, difference)
    high = 1.0 if gained == n else _solve(lambda d: _tango(gained, lost, n, d) + Z95, difference, 1.0)
    return difference, (low, high)


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact p-value that both sides are equally accurate (McNemar, binomial with p = 1/2)."""
    n, k = gained + lost, min(gained, lost)
    if n == 0:
        return 1.0
    log_half = n * math.log(2)
    tail = sum(math.exp(_log_choose(n, i) - log_half) for i in range(k + 1))
    return min(1.0, 2 * tail)


def flips_tail(successes: int, n: int, chance: float) -> float:
    """Exact chance of at least so many successes in ``n`` trials: a one-sided binomial test's p-value."""
    from scipy import special

    return float(special.bdtrc(successes - 1, n, chance)) if successes > 0 else 1.0


def paired_tail(gained: int, lost: int, n: int, budget: float) -> float:
    """One-sided p-value that the second side loses no more than ``budget``, by the score test of
    :func:`paired_difference`'s interval."""
    z = _tango(gained, lost, n, -budget)
    return 1 - t_tail(z, math.inf) if math.isfinite(z) else float(z > 0)


def samples_needed(difference: float, disagreement: float, budget: float, n: int) -> int | None:
    """How many samples in all would show that a drop keeps ``budget``; ``None`` if more cannot help.

    n = z² · disagreement / (budget + difference)², the normal approximation of the paired difference.
    ``disagreement`` is never taken below 1/n: with no disagreement seen, one more may come.

    Args:
        difference: edge minus cloud, a fraction (negative: a drop).
        disagreement: share of samples that exactly one side gets right.
        budget: largest tolerated drop, a fraction.
        n: samples seen.
    """
    room = budget + difference
    if room <= 0:
        return None
    return math.ceil(Z95**2 * max(disagreement, 1 / n) / room**2)


def resampled_sums(sums: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """``[draws, k]``: sums over as many columns of ``[k, m]`` as there are, drawn with replacement, in blocks.

    Args:
        sums: ``[k, m]`` float64, what each of m rows (or groups of them) adds to k sums.
        rng: of the draws.
        draws: how many.
    """
    m = sums.shape[1]
    block = max(1, min(draws, 1_000_000 // m))
    found = []
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        chosen = rng.integers(0, m, (rows, m)) + m * np.arange(rows)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=rows * m).reshape(rows, m)
        found.append(counts.astype(np.float64) @ sums.T)
    return np.concatenate(found)


def _resample(groups: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    chosen = rng.integers(0, len(groups), len(groups))
    return np.concatenate([rng.choice(groups[i], len(groups[i])) for i in chosen])


def _ratio_draws(left: Sequence[np.ndarray], right: Sequence[np.ndarray], seed: int, draws: int) -> list[float]:
    rng = np.random.default_rng(seed)
    left, right = condense(left), condense(right)
    ratios = []
    for _ in range(draws):
        rounds = rng.integers(0, len(left), len(left))
        top = np.concatenate([rng.choice(left[i], len(left[i])) for i in rounds])
        bottom = np.concatenate([rng.choice(right[i], len(right[i])) for i in rounds])
        ratios.append(float(np.median(top) / np.median(bottom)))
    return ratios


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _tango(b: int, c: int, n: int, delta: float) -> float:
    """Tango's score statistic for a true difference ``delta``; falls as ``delta`` rises."""
    numerator = b - c - n * delta
    linear = -b - c + (2 * n - b + c) * delta
    constant = -c * delta * (1 - delta)
    p21 = (math.sqrt(max(0.0, linear**2 - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * p21 + delta * (1 - delta))
    if variance <= 0:
        return 0.0 if numerator == 0 else math.copysign(math.inf, numerator)
    return numerator / math.sqrt(variance)


def _solve(f: object, low: float, high: float) -> float:
    """Bisection for a falling function on ``[low, high]``."""
    assert callable(f)
    for _ in range(100):
        middle = (low + high) / 2
        if f(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
