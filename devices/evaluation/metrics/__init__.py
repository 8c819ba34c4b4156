"""What a model is judged by: one file per metric, the folder is the registry.

A file has ``SUMMARY``, ``EXAMPLE`` (a name) and ``named(name, asked)``: the metric of that name for a question, why it
cannot be had, or ``None`` where the name is not its own. A metric is a function of sums over rows of each side, or of
the rows in their order.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from devices.evaluation.question import CLASSES, VALUE, VALUES, Question
from toolkit.errors import UsageError, unknown_name

Columns = Mapping[str, np.ndarray]

FRACTION, LABEL_UNIT, NATS, OWN = "fraction", "label unit", "nats", "own"
PROPORTION, MEAN, SUMS, ORDER = "proportion", "mean", "sums", "order"


class Term(NamedTuple):
    """What rows add to the sums: ``weight[i]`` to the sum number ``place[i]``; to number 0 where that is ``None``."""

    place: np.ndarray | None
    weight: np.ndarray


class Ordered(NamedTuple):
    """A metric of rows in their order: both sides' value and the standard error of the difference."""

    cloud: float
    edge: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Args:
        name: what it is asked for by.
        higher: whether more is better.
        unit: of the value.
        method: how its paired difference gets an interval. :data:`PROPORTION`: every row is right or wrong
            (``terms`` gives one term of 0 and 1). :data:`MEAN`: the mean of one number a row. :data:`SUMS`: ``value``
            of ``size`` sums, by bootstrap. :data:`ORDER`: by ``ordered``.
        terms: a block's columns and a side (``"cloud"`` or ``"edge"``) to what its rows add.
        value: sums ``[..., size]`` to values ``[...]``; of a proportion and a mean it is the mean.
        size: how many sums.
        ordered: columns ``[N]`` of some rows to an :class:`Ordered`; ``needs`` names the columns.
        needs: columns that ``ordered`` reads.
        relative: whether a budget is a share of the cloud's value.
        few: rows below which nothing is shown to be kept.
    """

    name: str
    higher: bool
    unit: str
    method: str
    terms: Callable[[Columns, str], list[Term]] | None = None
    value: Callable[[np.ndarray], np.ndarray] | None = None
    size: int = 1
    ordered: Callable[[Columns], Ordered] | None = None
    needs: tuple[str, ...] = ()
    relative: bool = False
    few: int = 1


def names() -> list[str]:
    """An example of every metric's name."""
    return [str(module.EXAMPLE) for module in _modules()]


def summaries() -> dict[str, str]:
    """What each metric is, by the example of its name."""
    return {str(module.EXAMPLE): str(module.SUMMARY) for module in _modules()}


_ANY = Question(output="", kind=CLASSES, labelled=True, classes=1 << 30)


def known(name: str) -> bool:
    """Whether there is a metric of that name, for some model."""
    return any(module.named(name, _ANY) is not None for module in _modules())


def unknown(name: str) -> UsageError:
    """The error for a name that is none."""
    return unknown_name("metric", name, names())


def load(name: str, asked: Question) -> Metric:
    """The metric of that name for a question.

    Raises:
        UsageError: there is none, or not for such a model.
    """
    if not asked.labelled:
        raise UsageError(f"{name} needs labels", remedy="give an array or a column 'label'")
    if name in asked.functions:
        return _own(name, asked.functions.index(name))
    for module in _modules():
        found: Metric | str | None = module.named(name, asked)
        if isinstance(found, str):
            raise UsageError(f"{name} {found}", remedy=f"this model can have: {', '.join(usual(asked))}")
        if found is not None:
            return found
    raise unknown(name)


def usual(asked: Question) -> tuple[str, ...]:
    """The metrics that are reported where nobody asks for some, the one that stands for the whole first."""
    if not asked.labelled:
        return ()
    own = asked.functions
    if asked.kind == CLASSES:
        top = ("top5",) if (asked.classes or 0) > 5 else ()
        auc = ("auc",) if asked.classes == 2 else ()
        return ("accuracy", *top, "log_loss", "calibration_error", *auc, "precision", "recall", *own)
    if asked.kind == VALUE:
        return ("rmse", "mae", "p50_error", "p95_error", *own)
    return ("rmse", *own) if asked.kind == VALUES else own


def _own(name: str, number: int) -> Metric:
    """A function of the user's: the mean of what it says of each row; less is taken to be better for a ``loss``."""
    function = name.rpartition(":")[2]
    lower = any(word in function.lower() for word in ("loss", "error", "cost", "penalty"))
    return Metric(
        name=name,
        higher=not lower,
        unit=OWN,
        method=MEAN,
        terms=lambda columns, side: [Term(None, columns[f"{side}_own_{number}"])],
        few=30,
    )


@functools.cache
def _modules() -> tuple[ModuleType, ...]:
    found = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return tuple(importlib.import_module(f"{__name__}.{name}") for name in found)


def mean(sums: Any) -> Any:
    """Of two sums, a total and a count."""
    return sums[..., 0] / sums[..., 1]


def needs_classes(asked: Question) -> str | None:
    """Why a metric of classes cannot be had."""
    return None if asked.kind == CLASSES else "is of class scores, and this model answers with values"


def needs_value(asked: Question) -> str | None:
    """Why a metric of one value a sample cannot be had."""
    return None if asked.kind == VALUE else "is of one value a sample, and this model answers otherwise"
