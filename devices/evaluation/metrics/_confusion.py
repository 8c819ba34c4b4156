"""What precision and recall share: how many samples of each class were right, and how many there were."""

from __future__ import annotations

import numpy as np

from devices.evaluation.metrics import FRACTION, SUMS, Columns, Metric, Term, needs_classes
from devices.evaluation.question import Question


def metric(name: str, asked: Question, *, given: bool) -> Metric | str:
    """Right samples of a class over those given it (``given``), or over those of it.

    A class that none was given (or that has no sample) does not count in the mean over classes.
    """
    if problem := needs_classes(asked):
        return problem
    count = asked.classes or 0

    def terms(columns: Columns, side: str) -> list[Term]:
        top, label = columns[f"{side}_top"], columns["label"]
        return [Term(label, top == label), Term(count + (top if given else label), np.ones(len(top)))]

    def value(sums: np.ndarray) -> np.ndarray:
        right, all_ = sums[..., :count], sums[..., count:]
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = right / all_
        if count == 2:
            found: np.ndarray = shares[..., 1]
            return found
        there = all_ > 0
        mean: np.ndarray = np.where(there, shares, 0.0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
        return mean

    return Metric(name=name, higher=True, unit=FRACTION, method=SUMS, terms=terms, value=value, size=2 * count, few=100)
