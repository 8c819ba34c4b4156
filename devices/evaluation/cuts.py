"""How rows are divided into slices: what the user writes, and which slice each row falls into.

label                       by the label: by class, or by fifths of a value
payment_type                by a column's values
trip_miles:quantiles=5      by fifths of a number
trip_miles:edges=1;5        by given edges: below 1, 1 to 5, from 5 on
payment_type*trip_miles:quantiles=5     by both at once
checks.py:by_night          by what a function of the user's says of the rows
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.errors import BrokenInput, UsageError

LABEL = "label"
MISSING = "missing"
MOST_VALUES = 20
"""Distinct numbers that a column may have to be cut by its values."""
FIFTHS = 5


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One column, cut by its values, by quantiles or at edges."""

    column: str
    quantiles: int | None = None
    edges: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Slicing:
    """One way to divide the rows: by one column or by two at once; ``text`` is as the user wrote it."""

    text: str
    cuts: tuple[Cut, ...]


def parse(text: str) -> tuple[Slicing, ...]:
    """What the user wrote, divided by commas.

    Raises:
        UsageError: it is no slicing, or crosses more than two columns.
    """
    found = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            raise UsageError("is empty", where=f"--slices {text}", remedy="write COLUMN[:quantiles=N][*COLUMN],...")
        cuts = tuple(_cut(each.strip(), part) for each in part.split("*"))
        if len(cuts) > 2:
            raise UsageError("crosses more than two columns", where=f"--slices {part}", remedy="cross two")
        found.append(Slicing(text=part, cuts=cuts))
    return tuple(found)


def columns(slicings: Sequence[Slicing]) -> tuple[str, ...]:
    """The columns that they read, each once, without the label."""
    return tuple(dict.fromkeys(c.column for s in slicings for c in s.cuts if c.column != LABEL))


def _cut(text: str, whole: str) -> Cut:
    where, remedy = f"--slices {whole}", "write COLUMN, COLUMN:quantiles=5 or COLUMN:edges=1;10"
    if re.search(r"\.py:\w+$", text):
        return Cut(column=text)
    name, colon, option = text.partition(":")
    if not name:
        raise UsageError("names no column", where=where, remedy=remedy)
    if not colon:
        return Cut(column=name)
    key, _, value = option.partition("=")
    if key == "quantiles" and value.isdigit() and 2 <= int(value) <= 100:
        return Cut(column=name, quantiles=int(value))
    if key == "edges":
        try:
            edges = tuple(float(each) for each in value.split(";"))
        except ValueError:
            edges = ()
        if edges and all(map(math.isfinite, edges)) and list(edges) == sorted(set(edges)):
            return Cut(column=name, edges=edges)
        raise UsageError("has edges that do not rise", where=where, remedy=remedy)
    raise UsageError(f"{option!r} is unknown, or no number from 2 to 100", where=where, remedy=remedy)


class Cutter:
    """Gives the rows of every block their slice of one cut; what needs all rows is learned from ``sample``.

    Args:
        cut: which.
        sample: values of that column, of all rows or of many chosen at random.

    Raises:
        BrokenInput: texts have no quantiles; a number has too many values to be cut by them.
    """

    def __init__(self, cut: Cut, sample: np.ndarray) -> None:
        self.cut, self.edges = cut, cut.edges
        texts = sample.dtype.kind in "USO"
        if (cut.quantiles or cut.edges) and (texts or sample.dtype.kind == "b"):
            raise BrokenInput(
                "holds texts, which have no quantiles", where=f"column {cut.column!r}", remedy="cut it by its values"
            )
        if texts or sample.dtype.kind == "b" or self.edges is not None:
            return
        known = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
        quantiles = cut.quantiles
        if quantiles is None:
            values = np.unique(known)
            if len(values) <= MOST_VALUES or (cut.column == LABEL and sample.dtype.kind in "iu"):
                return
            if cut.column != LABEL:
                raise BrokenInput(
                    f"has {len(values)} different numbers",
                    where=f"column {cut.column!r}",
                    remedy=f"cut it: {cut.column}:quantiles=5",
                )
            quantiles = FIFTHS
        inner = np.quantile(known, np.arange(1, quantiles) / quantiles) if len(known) else np.empty(0)
        self.edges = tuple(dict.fromkeys(float(edge) for edge in inner))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Names of the slices ``[N]`` (texts)."""
        if self.edges is not None:
            numbers = values.astype(np.float64)
            names = np.array([*self._ranges(), MISSING])
            place = np.searchsorted(np.array(self.edges), numbers, side="right")
            found: np.ndarray = names[np.where(np.isnan(numbers), len(names) - 1, place)]
            return found
        if values.dtype.kind == "f":
            different, place = np.unique(values, return_inverse=True)
            return np.array([MISSING if math.isnan(v) else f"{v:g}" for v in different.tolist()] or [""])[place]
        texts: np.ndarray = values.astype(str)
        return np.where(texts == "", MISSING, texts)

    def _ranges(self) -> list[str]:
        edges = [f"{edge:g}" for edge in self.edges or ()]
        if not edges:
            return ["all"]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
        return [f"below {edges[0]}", *between, f"from {edges[-1]}"]


def values_of(name: str, columns: Mapping[str, np.ndarray], slices: Mapping[str, np.ndarray]) -> np.ndarray:
    """A block's values of a column: the label's among its facts, others among what was kept for slices.

    Raises:
        BrokenInput: there is no such column.
    """
    found = columns.get("label") if name == LABEL else slices.get(name)
    if found is None:
        what = "there are no labels" if name == LABEL else f"there is no column {name!r}"
        there = ", ".join(sorted({*slices, *(["label"] if "label" in columns else [])})) or "none"
        raise BrokenInput(what, where="--slices", remedy=f"there are: {there}")
    return found
