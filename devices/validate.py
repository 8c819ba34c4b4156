"""Two targets, the same inputs, one Comparison: does the edge still answer like the cloud?"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from devices import regression
from devices.device import Answer
from toolkit import parity, statistics
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Comparison, Tolerance

WORST = 12
"""How many of the most disagreeing samples are kept."""

STARTING_TOLERANCE = Tolerance(
    reason="int8's starting tolerance: about 5 bits of the outputs' range, and one sample in a hundred",
    psnr_db=30.0,
    top1=0.99,
    tie=2 / 256,
)
"""What parity is judged by where neither labels nor a tolerance are given."""

BUDGETS: Mapping[str, float] = {"accuracy": 0.005, "rmse": 0.02}
"""What an artifact may lose where the user says nothing: half a point of accuracy, which is a tenth of the errors of a
classifier that is right in 95 %, or a fiftieth of the rmse."""

FEWEST_AGREE = 0.9
"""Share of samples on which cloud and edge must give the same class, whatever their accuracies: two models that are
right equally often on different samples are two models. Recipes that retrain stay above it; a mix-up does not."""

Side = Answer | Mapping[str, np.ndarray]


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
    (Tango's) keeps the budget. Where the output is one number a sample it is rmse, in the same way
    (:mod:`devices.regression`). Without labels it is ``"parity"``, judged by the tolerance over every output.
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
    for given in budget.values() if isinstance(budget, Mapping) else [budget or 0.0]:
        if not 0 <= given <= 1:
            raise UsageError(f"a budget of {given:g} is no fraction", remedy="write 0.005 for half a point")
    edge = _renamed(edge, cloud)
    left, right = _outputs(cloud), _outputs(edge)
    try:
        distances = parity.compare(left, right, tie=(tolerance or STARTING_TOLERANCE).tie)
    except ValueError as error:
        raise BrokenInput(
            f"the two sides' outputs do not match: {error}", where=f"{target} against {against}"
        ) from error
    scored = _scored(left, output, None if metric == "parity" else labels)
    reference, observed = left[scored], right[scored]
    if not len(reference):
        raise BrokenInput("there are no samples to compare", where=f"{target} against {against}")
    targets = regression.are_targets(labels, reference)
    metric = metric or ("rmse" if targets or regression.one_number(reference) else "accuracy")
    if isinstance(budget, Mapping):
        budget = budget.get(metric)
    if labels is not None:
        values = metric == "rmse" or (metric == "parity" and (targets or regression.one_number(reference)))
        labels = (regression.values if values else _classes)(labels, reference)
    judged: dict[str, Any]
    if labels is not None and metric == "accuracy":
        judged = _accuracy(reference, observed, labels, budget)
    elif labels is not None and metric == "rmse":
        judged = regression.judge(reference, observed, labels, budget, seed=seed)
    else:
        judged = _parity(distances, tolerance or STARTING_TOLERANCE)
    agreed = distances[scored].top1_decided
    if (
        judged["metric"] == "accuracy"
        and judged["passed"]
        and budget is not None
        and agreed is not None
        and agreed < FEWEST_AGREE
    ):
        what = f"broken: only {agreed:.1%} of the answers agree, which is not one model on two sides"
        judged = {**judged, "passed": False, "verdict": what}
    if not all(distance.finite for distance in distances.values()):
        bad = next(name for name, distance in distances.items() if not distance.finite)
        judged = {**judged, "passed": False, "verdict": f"broken: NaN or infinity in output {bad!r}"}
    distance, beside = distances[scored], judged.pop("data", {})
    return Comparison(
        recipe=recipe,
        target=target,
        against=against,
        # The largest of a picture's pixels is no answer.
        agreement=None if targets else distance.top1,
        max_abs_error=_number(distance.max_abs),
        mean_abs_error=_number(distance.mean_abs),
        cosine=_number(distance.cosine),
        psnr_db=distance.psnr_db if distance.finite else None,
        n=len(reference),
        lsb_histogram=_lsb_histogram(cloud, edge, scored),
        worst=_worst(reference, observed, labels, inputs),
        data={
            **(data or {}),
            **beside,
            "seed": seed,
            "output": scored,
            "outputs": {name: parity.describe(d) for name, d in distances.items()} if len(distances) > 1 else {},
        },
        **judged,
    )


def _outputs(side: Side) -> dict[str, np.ndarray]:
    return dict(side.outputs if isinstance(side, Answer) else side)


def _renamed(edge: Side, cloud: Side) -> Side:
    """The edge's answer with its only output called as the cloud's only one: there is one way to pair them.

    Keras and the converter make names up where the author gave none, and not the same ones.
    """
    (left, right) = (list(_outputs(side)) for side in (cloud, edge))
    if len(left) != 1 or len(right) != 1 or left == right:
        return edge
    if not isinstance(edge, Answer):
        return {left[0]: edge[right[0]]}
    raw = {left[0]: edge.raw[right[0]]} if right[0] in edge.raw else {}
    return dataclasses.replace(edge, outputs={left[0]: edge.outputs[right[0]]}, raw=raw)


def _scored(outputs: Mapping[str, np.ndarray], wanted: str | None, labels: np.ndarray | None) -> str:
    """The output that is judged: the one asked for, the only one, or the only one that fits the labels.

    Labels that are no integers fit one number a sample, others class scores, or one number where there are none.
    """
    if wanted is not None:
        if wanted not in outputs:
            raise BrokenInput(f"there is no output {wanted!r}", remedy=f"there are: {', '.join(sorted(outputs))}")
        return wanted
    if not outputs:
        raise BrokenInput("there are no outputs to compare")
    scores = [n for n, a in outputs.items() if a.ndim == 2 and a.shape[-1] > 1 and a.dtype.kind == "f"]
    shaped = [n for n, a in outputs.items() if regression.are_targets(labels, a)]
    if len(shaped) == 1:
        return shaped[0]
    if labels is not None and (labels.dtype.kind == "f" or not scores):
        scores = [n for n, a in outputs.items() if regression.one_number(a) and a.dtype.kind == "f"]
    if len(outputs) == 1 or (labels is not None and len(scores) != 1):
        if len(outputs) > 1:
            what = "value" if labels is not None and labels.dtype.kind == "f" else "class scores"
            raise UsageError(f"several outputs could be the {what}", remedy=f"name one of {', '.join(outputs)}")
        return next(iter(outputs))
    return (scores or sorted(outputs))[0]


def _classes(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    found = np.asarray(labels)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or len(found) != len(scores):
        raise BrokenInput(f"{list(found.shape)} labels do not fit {len(scores)} samples", where="labels")
    if found.dtype.kind not in "iu":
        raise UsageError(
            f"labels are {found.dtype}, not classes, and outputs of shape {list(scores.shape)} are no regression's",
            remedy="give class numbers as integers, or leave the labels out",
        )
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise BrokenInput(f"outputs of shape {list(scores.shape)} are no class scores", where="labels")
    if found.min(initial=0) < 0 or found.max(initial=0) >= scores.shape[1]:
        where = f"{int(found.min())} to {int(found.max())}"
        raise BrokenInput(f"labels run from {where}, the model has {scores.shape[1]} classes", where="labels")
    return found


def _accuracy(reference: np.ndarray, observed: np.ndarray, labels: np.ndarray, budget: float | None) -> dict[str, Any]:
    n = len(labels)
    cloud, edge = reference.argmax(axis=1) == labels, observed.argmax(axis=1) == labels
    gained, lost = int(np.sum(edge & ~cloud)), int(np.sum(cloud & ~edge))
    difference, interval = statistics.paired_difference(gained, lost, n)
    passed, verdict = judge_budget(gained, lost, n, budget)
    return {
        "metric": "accuracy",
        "cloud": float(cloud.mean()),
        "edge": float(edge.mean()),
        "difference": difference,
        "interval": interval,
        "budget": budget,
        "passed": passed,
        "verdict": verdict,
        "flips": {"gained": gained, "lost": lost},
        "p_value": statistics.mcnemar_exact(gained, lost),
    }


def judge_budget(gained: int, lost: int, n: int, budget: float | None) -> tuple[bool, str]:
    """Whether the data show that the drop stays within the budget, and what they show instead.

    ``kept`` if the interval's bad end is within it. ``broken`` if its good end is beyond it, or the point is, so
    that no number of samples is expected to help. Else how many more samples, flipping at the same rates, would do.

    Args:
        gained: samples only the edge gets right.
        lost: samples only the cloud gets right.
        n: all samples.
        budget: largest tolerated drop, a fraction; ``None`` judges nothing.
    """
    if budget is None:
        return True, "not judged: no budget"
    difference, interval = statistics.paired_difference(gained, lost, n)
    if interval[0] >= -budget:
        return True, "kept"
    needed = statistics.samples_needed(difference, (gained + lost) / n, budget, n)
    if interval[1] < -budget or difference < -budget:
        return False, "broken"
    if needed is None:
        return False, "not enough samples: no number of them can show it"
    needed = max(needed, n + 1)
    # The normal approximation behind ``needed`` can be too hopeful for Tango's interval; a budget of 0 never ends.
    for _ in range(400):
        more = needed / n
        _, (low, _) = statistics.paired_difference(round(gained * more), math.ceil(lost * more), needed)
        if low >= -budget:
            return False, f"not enough samples: {needed - n} more needed"
        needed = math.ceil(needed * 1.05)
    return False, "not enough samples: no number of them can show it"


def _parity(distances: Mapping[str, parity.Parity], tolerance: Tolerance) -> dict[str, Any]:
    many = len(distances) > 1
    wrong = [
        f"{name}: {reason}" if many else reason
        for name, distance in distances.items()
        for reason in parity.within(distance, tolerance)
    ]
    return {
        "metric": "parity",
        "cloud": None,
        "edge": None,
        "difference": None,
        "interval": None,
        "budget": None,
        "passed": not wrong,
        "verdict": f"broken: {'; '.join(wrong)}" if wrong else "kept",
    }


def _lsb_histogram(cloud: Side, edge: Side, output: str) -> dict[str, int] | None:
    """How often raw integer outputs differ by how many steps; ``None`` unless both sides have them."""
    if not (isinstance(cloud, Answer) and isinstance(edge, Answer)):
        return None
    a, b = cloud.raw.get(output), edge.raw.get(output)
    if a is None or b is None or a.dtype != b.dtype or a.dtype.kind not in "iu":
        return None
    steps, counts = np.unique(b.astype(np.int64) - a.astype(np.int64), return_counts=True)
    return {str(int(step)): int(count) for step, count in zip(steps, counts, strict=True)}


def _worst(
    reference: np.ndarray, observed: np.ndarray, labels: np.ndarray | None, inputs: Mapping[str, np.ndarray] | None
) -> tuple[dict[str, Any], ...]:
    """The samples with the largest output difference, those first whose top-1 differs; none that agree exactly."""
    n = len(reference)
    with np.errstate(invalid="ignore"):
        error = np.abs(reference.astype(np.float64) - observed.astype(np.float64)).reshape(n, -1).max(axis=1)
    error = np.where(np.isnan(error), np.inf, error)
    scores = reference.ndim == 2 and reference.shape[1] > 1
    top = (reference.argmax(axis=1), observed.argmax(axis=1)) if scores else (np.zeros(n, int), np.zeros(n, int))
    order = np.lexsort((np.arange(n), -error, top[0] == top[1]))[:WORST]
    found = []
    for i in (int(index) for index in order if error[index] > 0):
        sample: dict[str, Any] = {"index": i, "label": None if labels is None or labels.ndim > 1 else labels[i].item()}
        if scores:
            cloud, edge = int(top[0][i]), int(top[1][i])
            sample |= {"cloud": cloud, "edge": edge}
            sample |= {"cloud_p": _number(reference[i, cloud]), "edge_p": _number(observed[i, edge])}
        elif regression.one_number(reference):
            sample |= {"cloud": _number(reference[i].item()), "edge": _number(observed[i].item())}
        sample["max_abs"] = _number(error[i])
        image = picture(inputs, i, n)
        if image is not None:
            sample["image"] = image
        found.append(sample)
    return tuple(found)


def picture(inputs: Mapping[str, np.ndarray] | None, index: int, n: int) -> dict[str, Any] | None:
    """A sample as an 8-bit picture, if the model takes a single input that is one: grey or RGB, uint8 or 0 to 1."""
    if inputs is None or len(inputs) != 1:
        return None
    array = np.asarray(next(iter(inputs.values())))
    if array.ndim not in (3, 4) or len(array) != n or (array.ndim == 4 and array.shape[-1] not in (1, 3)):
        return None
    sample = array[index]
    if sample.dtype.kind == "f" and np.isfinite(sample).all() and sample.min() >= 0 and sample.max() <= 1:
        sample = np.rint(sample * 255).astype(np.uint8)
    if sample.dtype != np.uint8:
        return None
    if sample.ndim == 3 and sample.shape[-1] == 1:
        sample = sample[..., 0]
    content = base64.b64encode(np.ascontiguousarray(sample).tobytes()).decode()
    return {"shape": list(sample.shape), "dtype": "uint8", "base64": content}


def _number(value: Any) -> float | None:
    """A float for JSON: ``None`` where NaN or infinity leave no number."""
    return float(value) if math.isfinite(value) else None
