"""Expected calibration error: how far confidence and accuracy are apart, by the confidence (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np

from devices.evaluation.metrics import FRACTION, SUMS, Columns, Metric, Term, needs_classes
from devices.evaluation.question import Question

EXAMPLE = "calibration_error"
SUMMARY = "how far confidence and accuracy are apart, mean over 15 equal bins of confidence (arXiv:1706.04599)"

BINS = 15
"""As in the paper's tables."""


def named(name: str, asked: Question) -> Metric | str | None:
    """See :mod:`devices.evaluation.metrics`."""
    if name != EXAMPLE:
        return None
    return needs_classes(asked) or Metric(
        name=name, higher=False, unit=FRACTION, method=SUMS, terms=_terms, value=_value, size=BINS + 1, few=100
    )


def _terms(columns: Columns, side: str) -> list[Term]:
    confidence = columns[f"{side}_p"].astype(np.float64)
    bins = np.clip(np.nan_to_num(np.ceil(confidence * BINS)) - 1, 0, BINS - 1).astype(np.int64)
    gap = (columns[f"{side}_top"] == columns["label"]) - confidence
    return [Term(bins, gap), Term(np.full(len(bins), BINS), np.ones(len(bins)))]


def _value(sums: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.abs(sums[..., :BINS]).sum(axis=-1) / sums[..., BINS]
    return found
