"""What a block of samples says, row by row: a few numbers of each side, from which every metric is made.

Columns of a row, all ``[N]``; those of the two sides begin with ``cloud_`` and ``edge_``:

=========== ======================= ================================================================================
``label``   with labels             class number, or value
``top``     where there are scores  class with the largest score
``p``       where there are scores  its score
``true``    classes with labels     score of the label's class
``rank``    classes with labels     how many classes the side puts before the label's: 0 is right
``one``     of two classes          score of class 1
``value``   one number a sample     the output
``error``   several numbers         root of the mean square error over all of a sample's numbers
``own_i``   the user's functions    what the i-th one says
``margin``  where there are scores  how far the edge's class is behind in the cloud's scores (one column)
``far``     always                  largest absolute difference of the judged output, infinite for NaN (one column)
=========== ======================= ================================================================================
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from devices import regression
from devices.device import Answer
from devices.evaluation import question as questions
from devices.evaluation.question import Question
from toolkit import parity
from toolkit.errors import BrokenInput

Side = Answer | Mapping[str, np.ndarray]
Function = Callable[[np.ndarray, np.ndarray], Any]

SIDES = ("cloud", "edge")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """A block's.

    Args:
        columns: by name, ``[N]``.
        sums: the outputs' distances, by output; see :class:`toolkit.parity.Sums`.
        steps: how often raw integer outputs differ by so many steps, edge minus cloud; ``None``: they are no integers.
    """

    columns: Mapping[str, np.ndarray]
    sums: dict[str, parity.Sums]
    steps: dict[int, int] | None

    def __len__(self) -> int:
        return len(self.columns["far"])


def outputs_of(side: Side) -> dict[str, np.ndarray]:
    """The real-valued outputs by name."""
    return dict(side.outputs if isinstance(side, Answer) else side)


def paired(edge: Side, cloud: Side) -> Side:
    """The edge's answer with its only output called as the cloud's only one: there is one way to pair them.

    Keras and the converter make names up where the author gave none, and not the same ones.
    """
    (left, right) = (list(outputs_of(side)) for side in (cloud, edge))
    if len(left) != 1 or len(right) != 1 or left == right:
        return edge
    if not isinstance(edge, Answer):
        return {left[0]: edge[right[0]]}
    raw = {left[0]: edge.raw[right[0]]} if right[0] in edge.raw else {}
    return dataclasses.replace(edge, outputs={left[0]: edge.outputs[right[0]]}, raw=raw)


def of(
    cloud: Side,
    edge: Side,
    labels: np.ndarray | None,
    asked: Question,
    *,
    where: str = "",
    functions: Sequence[Function] = (),
) -> Facts:
    """A block's facts.

    Args:
        cloud: its answers.
        edge: its answers to the same samples, outputs named like the cloud's (:func:`paired`).
        labels: of the samples.
        asked: see :class:`devices.evaluation.question.Question`.
        where: what to call the two in errors.
        functions: those of ``asked.functions``, loaded: ``(outputs [N, ...], labels [N])`` to one number a row.

    Raises:
        BrokenInput: outputs or labels that do not belong together.
    """
    left, right = outputs_of(cloud), outputs_of(edge)
    check_names(left, right, where)
    try:
        sums = parity.sums(left, right)
    except ValueError as error:
        raise BrokenInput(f"the two sides' outputs do not match: {error}", where=where) from error
    reference, observed = left[asked.output], right[asked.output]
    if not len(reference):
        raise BrokenInput("there are no samples to compare", where=where)
    columns: dict[str, np.ndarray] = {"far": _far(reference, observed)}
    if labels is not None:
        labels = questions.checked(labels, reference, asked)
        if labels.ndim == 1:
            columns["label"] = labels
    for name, outputs in zip(SIDES, (reference, observed), strict=True):
        found = _side(outputs, labels, asked)
        columns |= {f"{name}_{key}": values for key, values in found.items()}
        if labels is not None:
            for i, function in enumerate(functions):
                columns[f"{name}_own_{i}"] = _own(function, outputs, labels, asked.functions[i])
    if "edge_top" in columns:
        scores = _scores(reference, asked)
        rows = np.arange(len(scores))
        columns["margin"] = scores[rows, columns["cloud_top"]] - scores[rows, columns["edge_top"]]
    return Facts(columns=columns, sums=sums, steps=_steps(cloud, edge, asked.output))


def check_names(cloud: Mapping[str, np.ndarray], edge: Mapping[str, np.ndarray], where: str) -> None:
    """Refuses an edge that lacks an output of the cloud (raises :class:`BrokenInput`)."""
    missing = sorted(set(cloud) - set(edge))
    if missing:
        raise BrokenInput(
            f"the two sides' outputs do not match: {', '.join(missing)} missing; there are {', '.join(sorted(edge))}",
            where=where,
        )


def _side(outputs: np.ndarray, labels: np.ndarray | None, asked: Question) -> dict[str, np.ndarray]:
    if asked.kind == questions.VALUES:
        assert labels is not None
        squares = (outputs.astype(np.float64) - labels) ** 2
        return {"error": np.sqrt(squares.reshape(len(squares), -1).mean(axis=1))}
    if asked.classes is None:
        # Where there is one number a sample, it is shown beside the other side's, judged or not.
        return {"value": outputs.reshape(len(outputs))} if regression.one_number(outputs) else {}
    scores = _scores(outputs, asked)
    rows, top = np.arange(len(scores)), scores.argmax(axis=1)
    found = {"top": top.astype(np.int32), "p": scores[rows, top]}
    if asked.kind == questions.CLASSES and labels is not None:
        true = scores[rows, labels]
        before = (scores > true[:, None]).sum(axis=1)
        # Of equal scores the lower class number comes first, as arg-max has it.
        before += ((scores == true[:, None]) & (np.arange(scores.shape[1]) < labels[:, None])).sum(axis=1)
        # Nothing compares with NaN: a row with one is right where arg-max says so, and else last.
        odd = np.isnan(scores).any(axis=1)
        before = np.where(odd, np.where(top == labels, 0, scores.shape[1]), before)
        found |= {"true": true, "rank": before.astype(np.int32)}
    if asked.classes == 2:
        found["one"] = scores[:, 1]
    return found


def _scores(outputs: np.ndarray, asked: Question) -> np.ndarray:
    if not asked.binary:
        return outputs
    one = outputs.reshape(len(outputs))
    if np.any((one < 0) | (one > 1)):
        raise BrokenInput(
            f"runs from {one.min():.4g} to {one.max():.4g}, which are no probabilities of class 1",
            where=f"output {asked.output!r}",
            remedy="end the model with a sigmoid, or leave --metric accuracy out",
        )
    return np.stack([1 - one, one], axis=1)


def _far(reference: np.ndarray, observed: np.ndarray) -> np.ndarray:
    n = len(reference)
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(reference.astype(np.float64) - observed.astype(np.float64)).reshape(n, -1)
    far = far.max(axis=1, initial=0.0)
    return np.where(np.isnan(far), np.inf, far)


def _own(function: Function, outputs: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    try:
        found = np.asarray(function(outputs, labels))
    except Exception as error:  # the user's code raises what it likes
        what = f"raised {type(error).__name__}: {error}"
        raise BrokenInput(what, where=f"metric {name}", remedy="it is given outputs [N, ...] and labels [N]") from error
    if found.shape != (len(outputs),) or found.dtype.kind not in "biuf":
        raise BrokenInput(
            f"gave {found.dtype} {list(found.shape)} for {len(outputs)} rows",
            where=f"metric {name}",
            remedy="let it return one number a row: array [N]",
        )
    return found.astype(np.float64)


def _steps(cloud: Side, edge: Side, output: str) -> dict[int, int] | None:
    """How often raw integer outputs differ by how many steps; ``None`` unless both sides have them."""
    if not (isinstance(cloud, Answer) and isinstance(edge, Answer)):
        return None
    a, b = cloud.raw.get(output), edge.raw.get(output)
    if a is None or b is None or a.dtype != b.dtype or a.dtype.kind not in "iu":
        return None
    steps, counts = np.unique(b.astype(np.int64) - a.astype(np.int64), return_counts=True)
    return {int(step): int(count) for step, count in zip(steps, counts, strict=True)}
