"""Root of the mean square error, in the label's unit."""

from __future__ import annotations

import numpy as np

from devices.evaluation.metrics import LABEL_UNIT, SUMS, Columns, Metric, Term, mean
from devices.evaluation.metrics._errors import of
from devices.evaluation.question import VALUE, VALUES, Question

EXAMPLE = "rmse"
SUMMARY = "root of the mean square error, in the label's unit"


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    if name != EXAMPLE:
        return None
    if asked.kind not in (VALUE, VALUES):
        return "is of values, and this model answers with class scores"
    return Metric(
        name=name,
        higher=False,
        unit=LABEL_UNIT,
        method=SUMS,
        terms=_terms,
        value=lambda sums: np.sqrt(mean(sums)),
        size=2,
        relative=True,
        few=30,
    )


def _terms(columns: Columns, side: str) -> list[Term]:
    error = of(columns, side)
    return [Term(None, error * error), Term(np.ones(len(error), dtype=np.int64), np.ones(len(error)))]
