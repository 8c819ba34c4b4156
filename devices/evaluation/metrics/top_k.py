"""The share of samples whose label is among the k largest scores; of equal scores the lower class counts as larger."""

from __future__ import annotations

import re

from devices.evaluation.metrics import FRACTION, PROPORTION, Metric, Term, needs_classes
from devices.evaluation.question import Question

EXAMPLE = "top5"
SUMMARY = "share of samples whose label is among the k largest scores, k from 2 up to the number of classes less one"


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    found = re.fullmatch(r"top(\d{1,6})", name)
    if found is None:
        return None
    k = int(found[1])
    if problem := needs_classes(asked):
        return problem
    if not 1 <= k < (asked.classes or 0):
        return f"says nothing of {asked.classes} classes"
    return Metric(
        name=name,
        higher=True,
        unit=FRACTION,
        method=PROPORTION,
        terms=lambda columns, side: [Term(None, columns[f"{side}_rank"] < k)],
    )
