"""The standard error of a difference that is no mean: by bootstrap where rows are few, else by sections of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SECTIONS = 40
FEW = 8000
"""Rows up to which :data:`DRAWS` resamples are taken; beyond, sections have at least 200 rows, and their quantiles'
bias (of the order of 1 / 200) is the same on both sides."""
DRAWS = 400


def error(statistic: Callable[[np.ndarray], float], rows: np.ndarray, *, seed: int = 0) -> float:
    """The standard error of ``statistic``, which is given numbers of rows; NaN below two rows.

    Few rows are resampled (Efron & Tibshirani 1993, chapter 6). Many are dealt into :data:`SECTIONS` parts: the spread
    of the parts' statistics over the root of their number is the error of the whole (Asmussen & Glynn, Stochastic
    Simulation, 2007, section III.5a).
    """
    n = len(rows)
    if n < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    if n <= FEW:
        return float(np.std([statistic(rng.integers(0, n, n)) for _ in range(DRAWS)], ddof=1))
    parts = np.array_split(rng.permutation(n), SECTIONS)
    return float(np.std([statistic(part) for part in parts], ddof=1) / np.sqrt(SECTIONS))
