"""Mean absolute error, in the label's unit."""

from __future__ import annotations

import numpy as np

from devices.evaluation.metrics import LABEL_UNIT, MEAN, Metric, Term, needs_value
from devices.evaluation.metrics._errors import of
from devices.evaluation.question import Question

EXAMPLE = "mae"
SUMMARY = "mean absolute error, in the label's unit"


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    if name != EXAMPLE:
        return None
    return needs_value(asked) or Metric(
        name=name,
        higher=False,
        unit=LABEL_UNIT,
        method=MEAN,
        terms=lambda columns, side: [Term(None, np.abs(of(columns, side)))],
        relative=True,
        few=30,
    )
