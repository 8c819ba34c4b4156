"""Mean of -ln of the probability given to the label's class, in nats."""

from __future__ import annotations

import numpy as np

from devices.evaluation.metrics import MEAN, NATS, Columns, Metric, Term, needs_classes
from devices.evaluation.question import Question

EXAMPLE = "log_loss"
SUMMARY = "mean of -ln(probability of the label's class), in nats; probabilities below 1e-7 count as 1e-7"

FLOOR = 1e-7
"""Keras's own epsilon: a class that was given no chance costs 16 nats, not infinity. An int8 softmax has many."""


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    if name != EXAMPLE:
        return None
    return needs_classes(asked) or Metric(name=name, higher=False, unit=NATS, method=MEAN, terms=_terms, few=30)


def _terms(columns: Columns, side: str) -> list[Term]:
    given = columns[f"{side}_true"].astype(np.float64)
    return [Term(None, -np.log(np.clip(given, FLOOR, 1.0)))]
