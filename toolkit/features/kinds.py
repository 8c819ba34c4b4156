"""The kinds of columns, each checked by itself. Standard library only.

A numeric column gives one float; every other kind gives one id from 0 up to, but not, its count. What adapt may
learn is ``None`` until then. Anything wrong is a BrokenInput: a spec is input, wherever it was written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from toolkit.features.columns import (
    DEFAULT_WIDTH,
    INT_MAX,
    MAX_WIDTH,
    MISSING_INT,
    TABLE_LIMIT,
    VOCABULARY_LIMIT,
    Column,
    IdColumn,
    float32,
    is_number,
)

_SMALLEST_NORMAL = 2.0**-126


@dataclass(frozen=True, kw_only=True)
class Numeric(Column):
    """One number, normalised: ``zscore`` (x - mean) / std, ``minmax`` (x - minimum) / (maximum - minimum), or ``none``.

    What is not finite, or 2**96 and more, becomes ``default``, in the column's own unit; without one, what normalises
    to 0.
    """

    normalisation: str = "zscore"
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    default: float | None = None
    kind: str = field(default="numeric", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_one_of("normalisation", _LEARNED, optional=False)
        self._need_number("mean", "std", "minimum", "maximum", "default")
        for option in ("mean", "std", "minimum", "maximum"):
            if getattr(self, option) is not None and option not in _LEARNED[self.normalisation]:
                self.refuse(f"{option} has no meaning with normalisation {self.normalisation!r}", "leave one out")
        if self.std is not None and self.std <= 0:
            self.refuse(f"std = {self.std!r} is not above 0", "give a standard deviation above 0")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            self.refuse("minimum is not below maximum", "give a range that is not empty")

    @property
    def unlearned(self) -> tuple[str, ...]:
        """See :attr:`Column.unlearned`."""
        return tuple(option for option in _LEARNED[self.normalisation] if getattr(self, option) is None)


_LEARNED: dict[str, tuple[str, ...]] = {"none": (), "zscore": ("mean", "std"), "minmax": ("minimum", "maximum")}


@dataclass(frozen=True, kw_only=True)
class Bucketized(IdColumn):
    """Bucket i holds boundaries[i-1] <= x < boundaries[i]; a missing number has an id of its own, the last one.

    Without ``boundaries``, adapt cuts ``buckets`` of equal share (``method`` quantiles, the default) or width (linear).
    """

    boundaries: tuple[float, ...] | None = None
    buckets: int | None = None
    method: str | None = None
    kind: str = field(default="bucketized", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_whole("buckets", 2, 10_000)
        self._need_one_of("method", ("quantiles", "linear"))
        if self.boundaries is None:
            return
        self._need_list("boundaries")
        if self.buckets is not None or self.method is not None:
            self.refuse("has boundaries, so nothing is left for buckets or method to say", "leave them out")
        if not self.boundaries:
            self.refuse("has no boundaries in its list", "give one at least, or leave boundaries out to learn them")
        rounded = [float32(b) if is_number(b) else math.nan for b in self.boundaries]
        for given, b in zip(self.boundaries, rounded, strict=True):
            if not math.isfinite(b) or 0 < abs(b) < _SMALLEST_NORMAL:
                self.refuse(f"boundary {given!r} is no float32", "give finite numbers")
        for i in range(1, len(rounded)):
            if rounded[i - 1] >= rounded[i]:
                first, second = self.boundaries[i - 1], self.boundaries[i]
                self.refuse(f"boundaries do not increase as float32: {first!r}, {second!r}", "sort and separate them")

    @property
    def unlearned(self) -> tuple[str, ...]:
        """See :attr:`Column.unlearned`."""
        return ("boundaries",) if self.boundaries is None else ()


@dataclass(frozen=True, kw_only=True)
class Vocabulary(IdColumn):
    """Known words, texts or integers; ids follow the ``oov_buckets`` that unknown ones are hashed to (one: id 0).

    Without ``vocabulary``, adapt learns the words that occur ``min_count`` times or more, at most ``max_size`` of them.
    """

    vocabulary: tuple[str, ...] | tuple[int, ...] | None = None
    dtype: str | None = None
    min_count: int | None = None
    max_size: int | None = None
    oov_buckets: int = 1
    kind: str = field(default="vocabulary", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_one_of("dtype", ("string", "integer"))
        self._need_whole("min_count", 1)
        self._need_whole("max_size", 1, VOCABULARY_LIMIT)
        self._need_whole("oov_buckets", 1, TABLE_LIMIT, optional=False)
        if self.vocabulary is None:
            return
        self._need_list("vocabulary")
        if self.min_count is not None or self.max_size is not None:
            self.refuse("has its words, so nothing is left for min_count or max_size to say", "leave them out")
        if not self.vocabulary:
            self.refuse("has an empty vocabulary", "list its words, or leave vocabulary out to learn them")
        if len(self.vocabulary) > VOCABULARY_LIMIT:
            self.refuse(f"has {len(self.vocabulary)} words, more than {VOCABULARY_LIMIT}", "use hash_bucket")
        if self.dtype is None:
            object.__setattr__(self, "dtype", "integer" if type(self.vocabulary[0]) is int else "string")
        seen: set[Any] = set()
        for word in self.vocabulary:
            self._check_word(word)
            if word in seen:
                self.refuse(f"has {word!r} twice in its vocabulary", "list every word once")
            seen.add(word)

    def _check_word(self, word: Any) -> None:
        if self.dtype == "integer":
            if type(word) is not int or not MISSING_INT < word <= INT_MAX:
                self.refuse(f"has {word!r} in a vocabulary of integers", "give whole numbers that fit 32 bits")
            return
        try:
            size = len(word.encode()) if type(word) is str else -1
        except UnicodeEncodeError:
            size = -1
        if size < 0 or "\0" in word:
            self.refuse(f"has {word!r} in a vocabulary of texts", "give texts of valid Unicode without NUL")
        if size >= MAX_WIDTH:
            self.refuse(f"has a word of {size} bytes ({word[:20]!r}...)", f"stay below {MAX_WIDTH} or use hash_bucket")

    @property
    def unlearned(self) -> tuple[str, ...]:
        """See :attr:`Column.unlearned`."""
        return ("vocabulary",) if self.vocabulary is None else ()

    @property
    def width(self) -> int:
        """Bytes of text this column looks at: one more than the longest word, so that no longer text equals a word."""
        longest = max(len(str(word).encode()) for word in self.vocabulary or ("",)) + 1
        return longest if self.oov_buckets == 1 else max(longest, DEFAULT_WIDTH)


@dataclass(frozen=True, kw_only=True)
class Identity(IdColumn):
    """The integer itself where it is from 0 up to, but not, ``size``; else ``default``. An unknown size is learned."""

    size: int | None = None
    default: int = 0
    kind: str = field(default="identity", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_whole("size", 1)
        self._need_whole("default", 0, INT_MAX if self.size is None else self.size - 1, optional=False)

    @property
    def unlearned(self) -> tuple[str, ...]:
        """See :attr:`Column.unlearned`."""
        return ("size",) if self.size is None else ()


@dataclass(frozen=True, kw_only=True)
class HashBucket(IdColumn):
    """A hash of a text's first ``max_bytes`` bytes, or of an integer, modulo ``size``."""

    size: int
    dtype: str = "string"
    max_bytes: int = DEFAULT_WIDTH
    kind: str = field(default="hash_bucket", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_whole("size", 1, optional=False)
        self._need_one_of("dtype", ("string", "integer"), optional=False)
        self._need_whole("max_bytes", 1, MAX_WIDTH, optional=False)

    @property
    def width(self) -> int:
        """Bytes of text this column looks at."""
        return self.max_bytes


@dataclass(frozen=True, kw_only=True)
class Crossed(IdColumn):
    """One id per combination of other columns' ids, modulo ``size`` where there are more cells than that."""

    of: tuple[str, ...]
    size: int | None = None
    kind: str = field(default="crossed", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_list("of")
        self._need_whole("size", 1)
        if self.input is not None:
            self.refuse("is a cross and reads columns, not an input", "leave input out")
        if len(self.of) < 2 or not all(isinstance(name, str) for name in self.of):
            self.refuse(f"crosses {list(self.of)!r}", "name two columns or more")
        if len(set(self.of)) < len(self.of):
            self.refuse("crosses a column with itself", "name every column once")


KINDS: dict[str, type[Column]] = {
    "numeric": Numeric,
    "bucketized": Bucketized,
    "vocabulary": Vocabulary,
    "identity": Identity,
    "hash_bucket": HashBucket,
    "crossed": Crossed,
}
