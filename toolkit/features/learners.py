"""What adapt learns a column by, each in one pass and bounded memory, the same however the rows were batched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput

SAMPLE = 65_536
"""Rows kept for quantiles. Up to as many they are exact; beyond, with 95 % certainty no quantile's rank is off by more
than sqrt(ln(2 / 0.05) / (2 * SAMPLE)) = 0.53 % of the rows (Dvoretzky–Kiefer–Wolfowitz, Massart's constant)."""

DISTINCT_LIMIT = 2**20
"""Different words counted at most."""

_BLOCK = 8192


class Moments:
    """Mean and standard deviation (of the population) in float64: blocks of fixed size, merged pairwise.

    Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0
        self._waiting = np.empty(0, dtype=np.float64)

    def add(self, values: np.ndarray) -> None:
        """Takes finite numbers ``[N]``."""
        # Blocks of one size whatever the batches were: sums in another order would round differently.
        waiting = np.concatenate([self._waiting, values.astype(np.float64)])
        whole = len(waiting) - len(waiting) % _BLOCK
        for start in range(0, whole, _BLOCK):
            self._merge(waiting[start : start + _BLOCK])
        self._waiting = waiting[whole:]

    def finish(self) -> tuple[float, float]:
        """Mean and standard deviation; ``(nan, nan)`` of nothing."""
        if len(self._waiting):
            self._merge(self._waiting)
            self._waiting = self._waiting[:0]
        return (self.mean, math.sqrt(self._squares / self.count)) if self.count else (math.nan, math.nan)

    def _merge(self, block: np.ndarray) -> None:
        mean, n = float(block.mean()), len(block)
        total = self.count + n
        step = mean - self.mean
        self._squares += float(((block - mean) ** 2).sum()) + step**2 * self.count * n / total
        self.mean += step * n / total
        self.count = total


class Extremes:
    """Smallest and largest number; infinities the wrong way round of nothing."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def add(self, values: np.ndarray) -> None:
        """Takes finite numbers ``[N]``."""
        if len(values):
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))


class Sample:
    """A uniform sample of the rows: those :data:`SAMPLE` whose number hashes lowest, whatever batch they came in."""

    def __init__(self, size: int = SAMPLE) -> None:
        self._size, self._rows = size, 0
        self._priority = np.empty(0, dtype=np.uint64)
        self._values = np.empty(0, dtype=np.float32)

    def add(self, values: np.ndarray) -> None:
        """Takes finite numbers ``[N]``."""
        order = _splitmix(np.arange(self._rows, self._rows + len(values), dtype=np.uint64))
        self._rows += len(values)
        priority = np.concatenate([self._priority, order])
        kept = np.concatenate([self._values, values.astype(np.float32)])
        if len(kept) > self._size:
            chosen = np.argpartition(priority, self._size)[: self._size]
            priority, kept = priority[chosen], kept[chosen]
        self._priority, self._values = priority, kept

    def finish(self) -> np.ndarray:
        """The sample in increasing order, float32."""
        return np.sort(self._values)


class Counts:
    """How often each word occurs, in the order words are given out: the most frequent first, ties by value."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: dict[Any, int] = {}

    def add(self, words: list[Any]) -> None:
        """Takes words: integers, or texts as bytes.

        Raises:
            BrokenInput: there are more different ones than :data:`DISTINCT_LIMIT`.
        """
        for word in words:
            self._found[word] = self._found.get(word, 0) + 1
        if len(self._found) > DISTINCT_LIMIT:
            raise BrokenInput(
                f"has more than {DISTINCT_LIMIT} different words",
                where=f"column {self._name!r}",
                remedy="use hash_bucket",
            )

    def finish(self, min_count: int, max_size: int | None) -> list[Any]:
        """The words that occur ``min_count`` times or more, at most ``max_size`` of them."""
        often = [(-n, word) for word, n in self._found.items() if n >= min_count]
        return [word for _, word in sorted(often)][:max_size]


def cut(sample: np.ndarray, buckets: int) -> tuple[float, ...]:
    """Boundaries that cut a sorted sample in buckets of equal share; fewer where many values are equal.

    Every boundary is a value of the sample, above its smallest, so that no bucket is empty.
    """
    # A value as far up as its share, for a boundary belongs to the bucket above it.
    found = np.unique(sample[np.arange(1, buckets) * len(sample) // buckets])
    found = found[found > sample[0]]
    if not len(found):  # nearly all rows hold the smallest value: it against the rest
        found = sample[sample > sample[0]][:1]
    return tuple(float(b) for b in found)


def _splitmix(numbers: np.ndarray) -> np.ndarray:
    """A hash of row numbers, uint64 (SplitMix64: Steele, Lea, Flood, 2014)."""
    z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
