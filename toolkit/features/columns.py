"""What all kinds of columns have in common, how their options are checked, and their limits. Standard library only."""

from __future__ import annotations

import keyword
import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from toolkit.errors import BrokenInput

MISSING_INT = -(2**31)
"""How a value that no int32 holds (none at all, a fraction, too large) travels in an integer input."""

INT_MAX = 2**31 - 1
DEFAULT_BUCKETS = 16
"""Buckets learned where a bucketized column names no number: the deck's NBUCKETS."""

MAX_WIDTH = 256
"""Most bytes of a text that travel to the device."""

DEFAULT_WIDTH = 32
VOCABULARY_LIMIT = 100_000
"""Most words of a vocabulary: up to here a 32-bit key that tells all words apart is found in a few tries."""

TABLE_LIMIT = 2**20
"""Most ids that a size learned from data, or an unsized cross, may have (4 MB of float32 weights)."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What all kinds have. ``input`` is the raw input it reads, by default the one of its own name."""

    name: str
    input: str | None = None
    kind: str = field(default="", init=False)

    def __post_init__(self) -> None:
        for text in (self.name, self.source):
            if not isinstance(text, str) or not text.strip():
                self.refuse(f"the name {text!r} is none", "give a text that is not empty")

    @property
    def source(self) -> str:
        """The raw input this column reads."""
        return self.name if self.input is None else self.input

    @property
    def tensor(self) -> str:
        """The tensor that the raw input travels in."""
        return identifier(self.source)

    @property
    def unlearned(self) -> tuple[str, ...]:
        """Options that are still to be learned by adapt."""
        return ()

    def refuse(self, what: str, remedy: str) -> NoReturn:
        """Raises the one-line BrokenInput that names this column."""
        raise BrokenInput(what, where=f"column {self.name!r}", remedy=remedy)

    def _need_number(self, *options: str) -> None:
        for option in options:
            value = getattr(self, option)
            if value is not None and not (is_number(value) and math.isfinite(value)):
                self.refuse(f"{option} = {value!r} is no finite number", f"give a number as {option}")

    def _need_whole(self, option: str, low: int, high: int = INT_MAX, *, optional: bool = True) -> None:
        value = getattr(self, option)
        if not (value is None and optional) and not (type(value) is int and low <= value <= high):
            self.refuse(f"{option} = {value!r} is out of range", f"give a whole number from {low} to {high}")

    def _need_one_of(self, option: str, known: Iterable[str], *, optional: bool = True) -> None:
        value = getattr(self, option)
        if not (value is None and optional) and value not in (names := tuple(known)):
            self.refuse(f"{option} = {value!r} is unknown", f"there are: {', '.join(names)}")

    def _need_list(self, option: str) -> None:
        value = getattr(self, option)
        if value is None or isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            self.refuse(f"{option} = {value!r} is not a list", f"write {option} = [...]")
        object.__setattr__(self, option, tuple(value))


@dataclass(frozen=True, kw_only=True)
class IdColumn(Column):
    """A column that gives ids, and what is made of them.

    ``wide``: one weight per id in the wide part. ``embedding``: a learned vector of that size, or ``"auto"``, the
    fourth root of the number of ids, rounded up. ``indicator``: the id as one-hot input of the deep part.
    """

    embedding: int | str | None = None
    indicator: bool = False
    wide: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding is not None and self.embedding != "auto":
            self._need_whole("embedding", 1, 4096)
        for option in ("indicator", "wide"):
            if type(getattr(self, option)) is not bool:
                self.refuse(f"{option} = {getattr(self, option)!r} is neither true nor false", "write true or false")


def identifier(name: str) -> str:
    """``name`` as a signature may hold it: letters, digits and ``_``, a letter first (``hours-per-week``: ``_``)."""
    plain = re.sub("[^A-Za-z0-9_]", "_", name)
    return plain if plain[0].isalpha() and not keyword.iskeyword(plain) else f"x_{plain}"


def float32(value: float) -> float:
    """``value`` rounded to float32; infinite beyond its range."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a float, or an int that fits one; true and false are neither."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**1023)
