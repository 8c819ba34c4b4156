"""The share of samples whose largest score is the label's class."""

from __future__ import annotations

from devices.evaluation.metrics import FRACTION, PROPORTION, Metric, Term, needs_classes
from devices.evaluation.question import Question

EXAMPLE = "accuracy"
SUMMARY = "share of samples whose largest score is the label's"


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    if name != EXAMPLE:
        return None
    return needs_classes(asked) or Metric(
        name=name,
        higher=True,
        unit=FRACTION,
        method=PROPORTION,
        terms=lambda columns, side: [Term(None, columns[f"{side}_top"] == columns["label"])],
    )
