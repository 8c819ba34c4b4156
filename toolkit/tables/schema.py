"""What a table's columns are: names, types, and what stands in where a field is empty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, UsageError, unknown_name

DTYPES: dict[str, Any] = {"float": np.float32, "int": np.int64, "string": object}
"""numpy dtype of a column in memory. Strings are arrays of ``str``: fixed widths would cost the widest row's bytes."""

Value = float | int | str


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column. ``default`` stands in for an empty field; ``None``: an empty field is a malformed row."""

    name: str
    type: str = "float"
    default: Value | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a column without a name", remedy="name every column")
        if self.type not in DTYPES:
            raise unknown_name("column type", self.type, DTYPES)
        kinds = {"float": (float, int), "int": (int,), "string": (str,)}[self.type]
        if self.default is not None and (isinstance(self.default, bool) or not isinstance(self.default, kinds)):
            raise UsageError(
                f"default {self.default!r} is not a {self.type}",
                where=f"column {self.name!r}",
                remedy="give a default of the column's own type, or none",
            )


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns that are read, in order, and which of them is the label.

    Args:
        columns: names are unique. With ``header`` they are found by name, in any order, and a file may have more;
            without, they are all of a file's columns from left to right.
        label: one of the columns, or ``None``. A label is never empty and always finite.
        header: whether the first line of every CSV file names its columns.
        classes: for a text label, its values in the order of their class numbers; ``None``: learned when needed.

    Raises:
        UsageError: no columns, a name twice, a label that is no column, or a class twice.
    """

    columns: tuple[Column, ...]
    label: str | None = None
    header: bool = True
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        names = [c.name for c in self.columns]
        twice = sorted({n for n in names if names.count(n) > 1})
        if not names or twice:
            what = f"column {twice[0]!r} is there twice" if twice else "a schema without columns"
            raise UsageError(what, remedy="name every column once")
        if self.label is not None and self.label not in names:
            raise unknown_name("label column", self.label, names)
        if self.label is not None and self[self.label].default is not None:
            # An invented label would be learned from and judged by.
            fixed = tuple(replace(c, default=None) if c.name == self.label else c for c in self.columns)
            object.__setattr__(self, "columns", fixed)
        if self.classes is not None:
            if self.label is None or self[self.label].type != "string":
                raise UsageError("classes belong to a text label", remedy="leave classes out, or name the label")
            if len(set(self.classes)) != len(self.classes) or not self.classes:
                raise UsageError("classes are empty or hold a value twice", remedy="name every class once")

    def __getitem__(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(c.name for c in self.columns)

    @property
    def inputs(self) -> tuple[str, ...]:
        """All columns but the label."""
        return tuple(n for n in self.names if n != self.label)

    def with_label(self, label: str | None) -> Schema:
        """The same columns with another label."""
        return replace(self, label=label, classes=self.classes if label == self.label else None)

    def positions(self, header: Sequence[str], where: str) -> list[int]:
        """Where this schema's columns are in a file whose header is ``header``.

        Raises:
            BrokenInput: a column is missing or there twice.
        """
        missing = [n for n in self.names if n not in header]
        if missing:
            said = "its label column" if missing == [self.label] else f"column {', '.join(map(repr, missing))}"
            has = ", ".join(header)
            raise BrokenInput(
                f"lacks {said}{f' {self.label!r}' if missing == [self.label] else ''} (it has: {has[:300]})",
                where=where,
                remedy="correct its header line, or name the columns if it has none",
            )
        twice = [n for n in self.names if list(header).count(n) > 1]
        if twice:
            raise BrokenInput(f"has column {twice[0]!r} twice", where=where, remedy="name every column once")
        return [list(header).index(n) for n in self.names]

    def cast(self, column: Column, values: Any) -> np.ndarray:
        """Values as this schema keeps them in memory: float32, int64 or ``str`` objects, ``[N]``."""
        if column.type != "string":
            return np.asarray(values, dtype=DTYPES[column.type])
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array


_EMPTY: dict[str, Value] = {"float": math.nan, "int": 0, "string": ""}


def missing(column: Column) -> Value:
    """What an empty field becomes in a row that is dropped anyway, or ``default``."""
    if column.default is not None:
        return column.default
    return _EMPTY[column.type]
