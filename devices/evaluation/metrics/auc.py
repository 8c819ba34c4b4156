"""Area under the ROC curve of class 1 of two: the chance that a sample of class 1 scores above one of class 0."""

from __future__ import annotations

import numpy as np

from devices.evaluation.metrics import FRACTION, ORDER, Columns, Metric, Ordered, needs_classes
from devices.evaluation.question import Question

EXAMPLE = "auc"
SUMMARY = "area under the ROC curve, of two classes; its paired difference by DeLong's variance"


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    if name != EXAMPLE:
        return None
    if problem := needs_classes(asked):
        return problem
    if asked.classes != 2:
        return f"is of two classes, and this model has {asked.classes}"
    needs = ("label", "cloud_one", "edge_one")
    return Metric(name=name, higher=True, unit=FRACTION, method=ORDER, ordered=delong, needs=needs, few=100)


def delong(columns: Columns) -> Ordered:
    """Both areas and the standard error of their difference on the same samples.

    DeLong, DeLong & Clarke-Pearson, Biometrics 44:837–845 (1988), by midranks as in Sun & Xu, IEEE Signal Processing
    Letters 21:1389–1393 (2014). NaN where a class has no sample.
    """
    positive = columns["label"] == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return Ordered(np.nan, np.nan, np.nan)
    areas, above, below = [], [], []
    for side in ("cloud", "edge"):
        scores = columns[f"{side}_one"].astype(np.float64)
        ranks = midranks(scores)
        inner, outer = midranks(scores[positive]), midranks(scores[~positive])
        above.append((ranks[positive] - inner) / n)
        below.append(1 - (ranks[~positive] - outer) / m)
        areas.append(float((ranks[positive].sum() - m * (m + 1) / 2) / (m * n)))
    variance = 0.0
    for parts in (above, below):
        gap = parts[1] - parts[0]
        variance += float(gap.var(ddof=1)) / len(gap) if len(gap) > 1 else np.nan
    return Ordered(areas[0], areas[1], float(np.sqrt(variance)))


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return found
