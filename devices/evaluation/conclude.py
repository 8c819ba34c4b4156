"""From the facts of an evaluation to its Comparison: the metric that stands for it, others, parity, the worst."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from devices.evaluation import budgets, metrics, paired, worst
from devices.evaluation.question import PARITY, Question
from devices.evaluation.table import Block
from toolkit import parity
from toolkit.errors import BrokenInput
from toolkit.records import Comparison, Tolerance

STARTING_TOLERANCE = Tolerance(
    reason="int8's starting tolerance: about 5 bits of the outputs' range, and one sample in a hundred",
    psnr_db=30.0,
    top1=0.99,
    tie=2 / 256,
)
"""What parity is judged by where neither labels nor a tolerance are given."""

FEWEST_AGREE = 0.9
"""Share of samples on which cloud and edge must give the same class, whatever their accuracies: two models that are
right equally often on different samples are two models. Recipes that retrain stay above it; a mix-up does not."""

Blocks = Callable[[], Iterable[Block]]


def conclude(
    blocks: Blocks,
    asked: Question,
    *,
    recipe: str,
    target: str,
    against: str,
    metric: str | None = None,
    more: Sequence[str] | None = None,
    budget: float | Mapping[str, float] | None = budgets.BUDGETS,
    tolerance: Tolerance | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Comparison:
    """One artifact on one target against the cloud.

    Args:
        blocks: the facts, given anew each time it is called.
        asked: what was asked of the answers.
        recipe: label of the artifact.
        target: where the edge answered.
        against: where the cloud answered.
        metric: that stands for the whole; by default accuracy, rmse or parity, as the question is.
        more: other metrics to report; ``None``: the usual ones.
        budget: by metric, or one number for the one that stands for the whole; ``None`` judges nothing.
        tolerance: of parity; :data:`STARTING_TOLERANCE` without one.
        data: what to record about the samples.
        seed: of what is drawn.

    Raises:
        BrokenInput: there are no rows.
        UsageError: a metric that is not there, or a budget that is no fraction.
    """
    sums, steps, worst_rows, n = _read(blocks)
    if not n:
        raise BrokenInput("there are no samples to compare", where=f"{target} against {against}")
    name = metric or asked.primary
    judged_by = tolerance or STARTING_TOLERANCE
    distances = {key: found.parity(tie=judged_by.tie) for key, found in sums.items()}
    wanted = list(dict.fromkeys([*([name] if name != PARITY else []), *_more(more, asked)]))
    chosen = [metrics.load(each, asked) for each in wanted]
    for given in budget.values() if isinstance(budget, Mapping) else [budget]:
        budgets.check(given)
    found = paired.evaluate(_columns(blocks), chosen, n, seed=seed)
    allowed = dict(budget) if isinstance(budget, Mapping) else {} if budget is None else {name: budget}
    rows = [_row(one, allowed.get(one.metric)) for one in found]
    judged = _of_parity(distances, judged_by) if name == PARITY else _of_metric(rows[0])
    distance = distances[asked.output]
    judged = _agreeing(judged, distance)
    if not all(each.finite for each in distances.values()):
        bad = next(key for key, each in distances.items() if not each.finite)
        judged |= {"passed": False, "verdict": f"broken: NaN or infinity in output {bad!r}"}
    return Comparison(
        recipe=recipe,
        target=target,
        against=against,
        # The largest of a picture's pixels is no answer.
        agreement=None if asked.kind == "values" else distance.top1,
        max_abs_error=worst.number(distance.max_abs),
        mean_abs_error=worst.number(distance.mean_abs),
        cosine=worst.number(distance.cosine),
        psnr_db=distance.psnr_db if distance.finite else None,
        n=n,
        lsb_histogram=None if steps is None else {str(k): steps[k] for k in sorted(steps)},
        worst=worst_rows,
        metrics=tuple(rows),
        data={
            **(data or {}),
            **({"mae": _beside(rows, "mae")} if name == "rmse" and _beside(rows, "mae") else {}),
            "seed": seed,
            "output": asked.output,
            "outputs": {key: parity.describe(d) for key, d in distances.items()} if len(distances) > 1 else {},
        },
        **judged,
    )


def _more(more: Sequence[str] | None, asked: Question) -> Sequence[str]:
    if more is not None:
        return more
    return metrics.usual(asked) if asked.kind != PARITY else ()


def _columns(blocks: Blocks) -> paired.Blocks:
    return lambda: ((block.start, block.facts.columns) for block in blocks())


def _read(blocks: Blocks) -> tuple[dict[str, parity.Sums], dict[int, int] | None, tuple[dict[str, Any], ...], int]:
    parts: dict[str, list[parity.Sums]] = {}
    steps: dict[int, int] | None = {}
    worst_rows: tuple[dict[str, Any], ...] = ()
    n = 0
    for block in blocks():
        n += len(block)
        for key, found in block.facts.sums.items():
            parts.setdefault(key, []).append(found)
        counted = block.facts.steps
        if counted is None or steps is None:
            steps = None
        else:
            for step, count in counted.items():
                steps[step] = steps.get(step, 0) + count
        worst_rows = worst.merged([worst_rows, block.worst])
    return {key: parity.Sums.merged(found) for key, found in parts.items()}, steps, worst_rows, n


def _row(found: paired.Result, budget: float | None) -> dict[str, Any]:
    """A metric as JSON, judged."""
    passed, verdict = budgets.judge(found, budget)
    row = {k: v for k, v in dataclasses.asdict(found).items() if k not in ("relative", "few", "gained", "lost")}
    row["interval"] = None if found.interval is None else list(found.interval)
    row["budget_kind"] = "relative" if found.relative else "absolute"
    row |= {"budget": budget, "passed": passed, "verdict": verdict}
    if found.gained is not None:
        row["flips"] = {"gained": found.gained, "lost": found.lost}
    return row


def _of_metric(row: Mapping[str, Any]) -> dict[str, Any]:
    interval = row["interval"]
    return {
        **{k: row[k] for k in ("metric", "cloud", "edge", "difference", "budget", "budget_kind", "unit", "p_value")},
        "passed": row["passed"],
        "verdict": row["verdict"],
        "interval": None if interval is None else tuple(interval),
        "flips": row.get("flips", {}),
    }


def _beside(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    row = next((row for row in rows if row["metric"] == name), None)
    return None if row is None else {k: row[k] for k in ("cloud", "edge", "difference", "interval", "p_value")}


def _agreeing(judged: dict[str, Any], distance: parity.Parity) -> dict[str, Any]:
    agreed = distance.top1_decided
    kept = judged["metric"] == "accuracy" and judged["passed"] and judged["budget"] is not None
    if kept and agreed is not None and agreed < FEWEST_AGREE:
        what = f"broken: only {agreed:.1%} of the answers agree, which is not one model on two sides"
        return {**judged, "passed": False, "verdict": what}
    return judged


def _of_parity(distances: Mapping[str, parity.Parity], tolerance: Tolerance) -> dict[str, Any]:
    many = len(distances) > 1
    wrong = [
        f"{name}: {reason}" if many else reason
        for name, distance in distances.items()
        for reason in parity.within(distance, tolerance)
    ]
    return {
        "metric": PARITY,
        "cloud": None,
        "edge": None,
        "difference": None,
        "interval": None,
        "budget": None,
        "passed": not wrong,
        "verdict": f"broken: {'; '.join(wrong)}" if wrong else "kept",
    }
