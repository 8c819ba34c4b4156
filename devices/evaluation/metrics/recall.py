"""Of the samples of a class, the share that are given it: of class 1 of two, else the mean over classes."""

from __future__ import annotations

from devices.evaluation.metrics import Metric
from devices.evaluation.metrics._confusion import metric
from devices.evaluation.question import Question

EXAMPLE = "recall"
SUMMARY = "of the samples of a class, the share that are given it: class 1 of two, else the mean over the classes"


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    return metric(name, asked, given=False) if name == EXAMPLE else None
