"""Is a regression as good at the edge as in the cloud? The rmse of both sides on the same samples, and its budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from toolkit import statistics
from toolkit.errors import BrokenInput, UsageError

FEWEST = 30
"""Samples below which nothing is shown to be kept: a percentile bootstrap's intervals are too narrow there, by about
a tenth at 10 rows (Hesterberg, The American Statistician 69:371–386, 2015, section 4.3)."""

UNIT = "label unit"


def one_number(outputs: np.ndarray) -> bool:
    """Whether outputs ``[N]``, ``[N, 1]`` or longer hold one number a sample."""
    return math.prod(outputs.shape[1:]) == 1


def are_targets(labels: np.ndarray | None, outputs: np.ndarray) -> bool:
    """Whether labels are what several numbers a sample should have been, as of an autoencoder: shaped like them."""
    return labels is not None and labels.dtype.kind == "f" and labels.ndim > 1 and labels.shape == outputs.shape


def values(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Labels as float64, ``[N]`` or shaped like the outputs.

    Args:
        labels: finite numbers, ``[N]`` or ``[N, 1]``, or shaped like the outputs.
        outputs: what they are to be compared with, one number a sample unless the labels are shaped like them.

    Raises:
        UsageError: the outputs are not one number a sample.
        BrokenInput: labels that do not fit them, or are no finite numbers.
    """
    found = np.asarray(labels)
    if are_targets(found, outputs) and not one_number(outputs) and np.isfinite(found).all():
        return found.astype(np.float64)
    if not one_number(outputs):
        raise UsageError(
            f"rmse is of one number a sample, the outputs have shape {list(outputs.shape)}", remedy="use accuracy"
        )
    if not found.ndim or len(found) != len(outputs) or not one_number(found):
        raise BrokenInput(f"{list(found.shape)} labels do not fit {len(outputs)} samples", where="labels")
    if found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise BrokenInput("are not all finite numbers", where="labels", remedy="remove rows without a value")
    return found.reshape(len(found)).astype(np.float64)


def judge(
    reference: np.ndarray, observed: np.ndarray, labels: np.ndarray, budget: float | None, *, seed: int = 0
) -> dict[str, Any]:
    """The fields of a Comparison that rmse decides; mae stands beside it in ``data``.

    Args:
        reference: the cloud's outputs, one number a sample.
        observed: the edge's.
        labels: the right values, float64 ``[N]``, or shaped like the outputs: a sample's error is then the root of its
            mean square over all of its numbers, so that the rmse is the one over all numbers of all samples.
        budget: largest tolerated rise, as a share of the cloud's rmse; ``None`` judges nothing.
        seed: of the bootstrap.
    """
    cloud, edge = (_errors(side, labels) for side in (reference, observed))
    fields: dict[str, Any] = {"metric": "rmse", "unit": UNIT, "budget": budget, "budget_kind": "relative"}
    if not (np.isfinite(cloud).all() and np.isfinite(edge).all()):
        # Whoever compares the outputs says which is not finite; there is no rmse of it.
        unknown = dict.fromkeys(("cloud", "edge", "difference", "interval"))
        return {**fields, **unknown, "passed": False, "verdict": "broken"}
    found = statistics.paired_errors(cloud, edge, seed=seed)
    passed, verdict = judge_budget(found["rmse"], len(labels), budget)
    if labels.ndim > 1:
        return {**fields, **vars(found["rmse"]), "passed": passed, "verdict": verdict}
    mae = vars(found["mae"])
    if mae["interval"]:
        mae = {**mae, "interval": list(mae["interval"])}
    return {**fields, **vars(found["rmse"]), "passed": passed, "verdict": verdict, "data": {"mae": mae}}


def _errors(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One error a sample, ``[N]``."""
    if labels.ndim == 1:
        return outputs.reshape(len(outputs)).astype(np.float64) - labels
    squares = (outputs.astype(np.float64) - labels) ** 2
    return np.sqrt(squares.reshape(len(squares), -1).mean(axis=1))


def judge_budget(rmse: statistics.PairedError, n: int, budget: float | None) -> tuple[bool, str]:
    """Whether the data show that the rise stays within the budget, and what they show instead.

    The words and their order are those of accuracy (:func:`devices.validate.judge_budget`), with the high end as the
    bad one. The samples needed follow from the interval's width, which falls with the root of their number.

    Args:
        rmse: both sides' error and the interval of their difference.
        n: samples.
        budget: largest tolerated rise, as a share of the cloud's rmse; ``None`` judges nothing.
    """
    if budget is None:
        return True, "not judged: no budget"
    room = budget * rmse.cloud - rmse.difference
    if rmse.interval is None:
        return False, f"not enough samples: {FEWEST - n} more needed"
    low, high = rmse.interval
    if high <= budget * rmse.cloud and n >= FEWEST:
        return True, "kept"
    if low > budget * rmse.cloud or room < 0:
        return False, "broken"
    if room == 0 and high > rmse.difference:
        return False, "not enough samples: no number of them can show it"
    share = (high - rmse.difference) / room if room else 0.0
    # A difference that is nearly the budget asks for more samples than anybody has; beyond 2**53 it is not a number.
    needed = max(math.ceil(min(n * share**2, 2.0**53)), n + 1, FEWEST)
    return False, f"not enough samples: {needed - n} more needed"
