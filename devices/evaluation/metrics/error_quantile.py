"""A quantile of the absolute error, in the label's unit."""

from __future__ import annotations

import re

import numpy as np

from devices.evaluation import sections
from devices.evaluation.metrics import LABEL_UNIT, ORDER, Columns, Metric, Ordered, needs_value
from devices.evaluation.metrics._errors import of
from devices.evaluation.question import Question

EXAMPLE = "p95_error"
SUMMARY = "a quantile of the absolute error (p50_error is the median), in the label's unit"


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    found = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)_error", name)
    if found is None:
        return None
    q = float(found[1])
    if problem := needs_value(asked):
        return problem
    if not 0 < q < 100:
        return "is no quantile"

    def ordered(columns: Columns) -> Ordered:
        cloud, edge = np.abs(of(columns, "cloud")), np.abs(of(columns, "edge"))
        error = sections.error(lambda rows: float(np.percentile(edge[rows], q) - np.percentile(cloud[rows], q)), cloud)
        return Ordered(float(np.percentile(cloud, q)), float(np.percentile(edge, q)), error)

    # As many rows beyond the quantile as a mean needs in all: 30.
    few = int(np.ceil(30 / min(q / 100, 1 - q / 100)))
    needs = ("label", "cloud_value", "edge_value")
    return Metric(
        name=name, higher=False, unit=LABEL_UNIT, method=ORDER, ordered=ordered, needs=needs, relative=True, few=few
    )
