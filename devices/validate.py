"""Two targets, the same inputs, one Comparison: does the edge still answer like the cloud? In one block, in memory.

Sets that do not fit in memory go the same way block by block: :mod:`devices.evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from devices.evaluation import budgets, facts, question, worst
from devices.evaluation.conclude import FEWEST_AGREE, STARTING_TOLERANCE, conclude
from devices.evaluation.facts import Side
from devices.evaluation.table import Block
from devices.evaluation.worst import WORST
from toolkit.errors import UsageError
from toolkit.records import Comparison, Tolerance

__all__ = ["BUDGETS", "FEWEST_AGREE", "STARTING_TOLERANCE", "WORST", "compare"]

BUDGETS = budgets.BUDGETS


def compare(
    *,
    recipe: str,
    target: str,
    against: str,
    edge: Side,
    cloud: Side,
    labels: np.ndarray | None = None,
    budget: float | Mapping[str, float] | None = BUDGETS,
    metric: str | None = None,
    tolerance: Tolerance | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    output: str | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compares the edge's answers with the cloud's on the same samples.

    With labels the metric is accuracy, and it passes only if the whole 95 % interval of the paired difference
    (Tango's) keeps the budget. Where the output is one number a sample it is rmse, in the same way, its interval by
    bootstrap. Without labels it is ``"parity"``, judged by the tolerance over every output.
    NaN and infinity always fail.

    Args:
        recipe: label of the edge's artifact.
        target: where the edge answered.
        against: where the cloud answered.
        edge: its answer, or real-valued outputs by name, ``[N, ...]``.
        cloud: the reference, the same.
        labels: the right class of every sample, integers ``[N]``; for rmse the right value, or values shaped like the
            outputs.
        budget: largest tolerated drop of the accuracy, a fraction, 0 to 1; for rmse the largest tolerated rise, as a
            share of the cloud's rmse. By metric, or one number for either. ``None`` reports without judging.
        metric: ``"accuracy"``, ``"rmse"`` or ``"parity"``; ``None`` chooses. Without labels it is parity.
        tolerance: of parity; :data:`STARTING_TOLERANCE` without one.
        inputs: the samples, by name: the worst are kept as pictures if they are some.
        output: the output with the class scores or the value; needed where several could be it.
        data: what to record about the samples.
        seed: of the run, recorded; only rmse's interval is drawn with it.

    Raises:
        BrokenInput: outputs or labels that do not belong together.
        UsageError: a metric there is none of, labels that are no classes, a budget that is no fraction.
    """
    if metric not in (None, "accuracy", "rmse", "parity"):
        raise UsageError(f"there is no metric {metric!r}", remedy="use accuracy, rmse or parity")
    for given in budget.values() if isinstance(budget, Mapping) else [budget]:
        budgets.check(given)
    edge = facts.paired(edge, cloud)
    left, where = facts.outputs_of(cloud), f"{target} against {against}"
    facts.check_names(left, facts.outputs_of(edge), where)
    asked = question.decide(left, labels, output=output, metric=metric)
    found = facts.of(cloud, edge, labels, asked, where=where)
    block = Block(index=0, facts=found, worst=worst.of(found, inputs=inputs))
    return conclude(
        lambda: [block],
        asked,
        recipe=recipe,
        target=target,
        against=against,
        budget=budget,
        tolerance=tolerance,
        data=data,
        seed=seed,
    )
