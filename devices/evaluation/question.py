"""What is asked of the answers: which output is judged, and what its numbers are, by the first block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from devices import regression
from toolkit.errors import BrokenInput, UsageError

CLASSES = "classes"
"""One score a class: ``[N, C]``, labels are class numbers."""
VALUE = "value"
"""One number a sample; labels are values."""
VALUES = "values"
"""Several numbers a sample, and labels shaped like them, as of an autoencoder."""
PARITY = "parity"
"""Nobody knows what is right: the two sides' outputs are compared with each other alone."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Args:
    output: the cloud's output that is judged.
    kind: :data:`CLASSES`, :data:`VALUE`, :data:`VALUES` or :data:`PARITY`.
    labelled: whether labels are known.
    classes: how many there are, where the output holds scores (also where there are no labels).
    binary: the only output is the probability of class 1: it is taken as the scores of two classes.
    functions: metrics of the user's own, each ``FILE.py:FUNCTION``.
    """

    output: str
    kind: str
    labelled: bool
    classes: int | None = None
    binary: bool = False
    functions: tuple[str, ...] = ()

    @property
    def primary(self) -> str:
        """The metric that stands for the whole where nobody names one."""
        if not self.labelled:
            return PARITY
        return {CLASSES: "accuracy", PARITY: PARITY}.get(self.kind, "rmse")


def decide(
    outputs: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    *,
    output: str | None = None,
    metric: str | None = None,
    functions: tuple[str, ...] = (),
) -> Question:
    """The question for outputs like these.

    Args:
        outputs: the cloud's, by name, ``[N, ...]``.
        labels: class numbers ``[N]``, values ``[N]``, or values shaped like an output; ``None``: there are none.
        output: the one to judge; needed where several could be it.
        metric: what the user asks for, if anything: ``"parity"`` leaves labels out, ``"accuracy"`` and ``"rmse"`` say
            what the labels are; with ``"accuracy"`` one number a sample is the probability of class 1.
        functions: see :class:`Question`.

    Raises:
        BrokenInput: there is no such output, or none at all.
        UsageError: several could be it; a metric that does not fit.
    """
    name = scored(outputs, output, None if metric == PARITY else labels)
    found = outputs[name]
    scores = found.ndim == 2 and found.shape[1] > 1 and found.dtype.kind == "f"
    one = regression.one_number(found)
    classes = int(found.shape[1]) if scores else None
    if labels is None or metric == PARITY:
        return Question(output=name, kind=PARITY, labelled=labels is not None, classes=classes)
    if metric == "accuracy" and one:
        return Question(output=name, kind=CLASSES, labelled=True, classes=2, binary=True, functions=functions)
    targets = regression.are_targets(labels, found)
    if targets and not one:
        return Question(output=name, kind=VALUES, labelled=True, classes=None, functions=functions)
    if metric == "rmse" and not one:
        raise UsageError(
            f"rmse is of one number a sample, the outputs have shape {list(found.shape)}", remedy="use accuracy"
        )
    if one:
        return Question(output=name, kind=VALUE, labelled=True, functions=functions)
    return Question(output=name, kind=CLASSES, labelled=True, classes=classes, functions=functions)


def scored(outputs: Mapping[str, np.ndarray], wanted: str | None, labels: np.ndarray | None) -> str:
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


def checked(labels: np.ndarray, outputs: np.ndarray, asked: Question) -> np.ndarray:
    """Labels as the question takes them: int64 ``[N]``, or float64 ``[N]`` or shaped like the outputs.

    Raises:
        BrokenInput: they do not fit the outputs.
        UsageError: they are values, and the outputs class scores.
    """
    if asked.kind in (VALUE, VALUES) or (asked.kind == PARITY and regression.one_number(outputs)):
        return regression.values(labels, outputs)
    if asked.kind == PARITY and regression.are_targets(labels, outputs):
        return regression.values(labels, outputs)
    return classes_of(labels, outputs, 2 if asked.binary else None)


def classes_of(labels: np.ndarray, scores: np.ndarray, known: int | None = None) -> np.ndarray:
    """Labels as class numbers ``[N]``, all of them classes of the scores ``[N, C]`` (or of ``known`` ones)."""
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
    if known is None and (scores.ndim != 2 or scores.shape[1] < 2):
        raise BrokenInput(f"outputs of shape {list(scores.shape)} are no class scores", where="labels")
    count = known or scores.shape[1]
    if found.min(initial=0) < 0 or found.max(initial=0) >= count:
        where = f"{int(found.min())} to {int(found.max())}"
        raise BrokenInput(f"labels run from {where}, the model has {count} classes", where="labels")
    return found
