"""What the ids of a column stand for, in words: to label weights and embedding vectors with."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from toolkit.features.kinds import Bucketized, Crossed, HashBucket, Identity, Vocabulary
from toolkit.features.spec import FeatureSpec

MISSING = "missing"
"""The id of a bucketized column that no number has."""

CROSS = " × "

_OURS = re.compile(r"^['\"]|^\(unknown|\(\+\d+ more\)$|×")
"""What names made here look like; a word of the data that looks so is quoted, so that no two ids share a name."""


def id_names(spec: FeatureSpec, column: str) -> Sequence[str]:
    """A name for each id of a column, one line of printable text; made when asked for, as a cross may have 2**31.

    A bucket is its range, e.g. ``[40.7, 40.75)``, in the shortest digits that are the same float32, and ``missing``
    for what is no number. A word is itself, quoted where it would not show (spaces at its ends, none at all); unknown
    words are ``(unknown)``, or ``(unknown 0)`` and so on. An integer that others are mapped to is ``23 (or other)``.
    An exact cross is ``a × b`` of its members' names, with ``(+2 more)`` where a modulo folds that many other
    combinations onto the id. What is hashed is ``bucket 17``. No two ids of a column have the same name.

    Args:
        spec: an adapted spec.
        column: name of a column that has ids.

    Raises:
        BrokenInput: there is no such column.
        UsageError: it is numeric, or has not been adapted.
    """
    found, count = spec.column(column), spec.count(column)
    if isinstance(found, Bucketized):
        names = [*range_names(found.boundaries or ()), MISSING]
        return _Names(count, names.__getitem__)
    if isinstance(found, Vocabulary):
        oov, words = found.oov_buckets, found.vocabulary or ()
        return _Names(count, lambda i: _unknown(i, oov) if i < oov else word(words[i - oov]))
    if isinstance(found, Identity):
        default = found.default
        return _Names(count, lambda i: f"{i} (or other)" if i == default else str(i))
    if isinstance(found, HashBucket):
        return _Names(count, lambda i: f"bucket {i}")
    assert isinstance(found, Crossed)
    return _crossed(spec, found, count)


def range_names(boundaries: Sequence[float]) -> list[str]:
    """The ranges between ascending boundaries, those at both ends too: one more than there are boundaries."""
    shown = [_digits(b) for b in boundaries]
    inner = [f"[{low}, {high})" for low, high in itertools.pairwise(shown)]
    return [f"< {shown[0]}", *inner, f"≥ {shown[-1]}"]


def _digits(value: float) -> str:
    """The shortest digits that come back as the same float32; 0 of -0."""
    exact = np.float32(value) + np.float32(0)
    if exact and not 1e-4 <= abs(exact) < 1e9:
        return str(exact)
    return np.format_float_positional(exact, trim="-")


def word(value: str | int) -> str:
    """A word of the data as a name: itself, or as Python quotes it where it would not show or be mistaken."""
    text = str(value)
    plain = text and text.isprintable() and text == text.strip() and not _OURS.search(text)
    return text if plain else repr(text)


def _unknown(number: int, of: int) -> str:
    return "(unknown)" if of == 1 else f"(unknown {number})"


def _crossed(spec: FeatureSpec, column: Crossed, count: int) -> Sequence[str]:
    if not spec.is_exact(column):
        return _Names(count, lambda i: f"bucket {i}")
    members = [id_names(spec, name) for name in column.of]
    cells = math.prod(map(len, members))

    def name(i: int) -> str:
        parts, rest = [], i
        for member in reversed(members):
            rest, own = divmod(rest, len(member))
            parts.append(member[own])
        return CROSS.join(reversed(parts)) + folded(cells, count, i)

    return _Names(count, name)


def folded(cells: int, count: int, i: int) -> str:
    """What a cross's name says of the other combinations that ``cell % count`` puts on id ``i``, if any."""
    others = (cells - 1 - i) // count
    return f" (+{others} more)" if others else ""


class _Names(Sequence[str]):
    """A sequence of ``count`` texts, each made by ``name`` when asked for."""

    def __init__(self, count: int, name: Callable[[int], str]) -> None:
        self._ids, self._name = range(count), name

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._name(i) for i in self._ids[index]]
        return self._name(self._ids[index])
