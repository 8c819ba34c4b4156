"""Learns what a spec leaves out, in one pass over the data."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from toolkit.errors import BrokenInput
from toolkit.features.columns import DEFAULT_BUCKETS, MISSING_INT, TABLE_LIMIT, VOCABULARY_LIMIT, Column, float32
from toolkit.features.encoding import column_of, floats, integers, texts
from toolkit.features.kinds import Bucketized, Identity, Numeric, Vocabulary
from toolkit.features.learners import Counts, Extremes, Moments, Sample, cut
from toolkit.features.scaling import LIMIT
from toolkit.features.spec import FeatureSpec


def adapt(spec: FeatureSpec, batches: Iterable[Mapping[str, Any]]) -> FeatureSpec:
    """The spec with everything learned that it left out; what it gives stays as it is.

    Means, standard deviations and ranges (of finite values, in float64), boundaries, vocabularies, identity sizes,
    whether an integer or a text is meant, and the task where the batches hold the label. Memory is bounded; the result
    is the same, bit for bit, however the rows are cut into batches. Quantiles are exact up to 65,536 rows and within
    0.53 % of rank beyond (95 %, see :mod:`toolkit.features.learners`).

    Args:
        spec: what is declared.
        batches: raw rows as :func:`toolkit.features.encode` takes them, gone through once; the label may be there too.

    Raises:
        BrokenInput: a column is missing or of the wrong type, or holds nothing to learn from.
    """
    learners: list[_Learner] | None = None
    task, reads_label = spec.task, spec.task is None
    if not spec.unlearned and not reads_label:
        return spec
    for batch in batches:
        if learners is None:
            learners = [_LEARNERS[type(column)](column) for column in spec.columns if column.unlearned]
        for learner in learners:
            learner.read(batch)
        if reads_label and task is None and spec.label in batch:
            task = _task(column_of(batch, spec.label))
        if not learners and (task or spec.label not in batch):
            break
    if learners is None and spec.unlearned:
        raise BrokenInput("no rows to learn from", where="data", remedy="give a data set that is not empty")
    learned = {learner.column.name: learner.finish() for learner in learners or ()}
    columns = tuple(learned.get(column.name, column) for column in spec.columns)
    return dataclasses.replace(spec, task=task, columns=columns)


class _Learner(abc.ABC):
    """One column on its way to being adapted."""

    column: Any

    def read(self, batch: Mapping[str, Any]) -> None:
        """Takes a batch of raw rows."""
        self.add(column_of(batch, self.column.source))

    @abc.abstractmethod
    def add(self, values: np.ndarray) -> None:
        """Takes this column's raw values."""

    @abc.abstractmethod
    def finish(self) -> Column:
        """The adapted column."""

    def finite(self, values: np.ndarray) -> np.ndarray:
        """The numbers that count, as the graph will see them."""
        numbers = floats(values, self.column.source)
        return numbers[np.abs(numbers) < LIMIT]


class _Numeric(_Learner):
    def __init__(self, column: Numeric) -> None:
        self.column, self._moments, self._range = column, Moments(), Extremes()

    def add(self, values: np.ndarray) -> None:
        numbers = self.finite(values)
        self._range.add(numbers)
        if self.column.normalisation == "zscore":
            self._moments.add(numbers)

    def finish(self) -> Column:
        column, low, high = self.column, self._range.low, self._range.high
        if low > high:
            _nothing(column, "number")
        if column.normalisation == "minmax":
            low = low if column.minimum is None else column.minimum
            high = high if column.maximum is None else column.maximum
            # One value only: it becomes 0, as with a standard deviation of 0.
            return dataclasses.replace(column, minimum=low, maximum=high if high > low else low + max(1.0, abs(low)))
        mean, std = self._moments.finish()
        # What float32 cannot tell from a constant is one: its noise must not be blown up.
        std = std if low < high and std > abs(mean) * 2.0**-24 else max(1.0, abs(mean))
        return dataclasses.replace(
            column,
            mean=mean if column.mean is None else column.mean,
            std=std if column.std is None else column.std,
        )


class _Bucketized(_Learner):
    def __init__(self, column: Bucketized) -> None:
        self.column, self._range, self._sample = column, Extremes(), Sample()

    def add(self, values: np.ndarray) -> None:
        numbers = self.finite(values)
        self._range.add(numbers)
        if self.column.method != "linear":
            self._sample.add(numbers)

    def finish(self) -> Column:
        column, low, high = self.column, self._range.low, self._range.high
        if low > high:
            _nothing(column, "number")
        if low == high:
            column.refuse(f"holds one number only ({low:g})", "leave the column out, or give boundaries")
        buckets = column.buckets or DEFAULT_BUCKETS
        if column.method == "linear":
            edges = sorted({float32(low + (high - low) * i / buckets) for i in range(1, buckets)} - {low})
            found = tuple(edges) or (high,)
        else:
            found = cut(self._sample.finish(), buckets)
        return dataclasses.replace(column, boundaries=found, buckets=None, method=None)


class _Identity(_Learner):
    def __init__(self, column: Identity) -> None:
        self.column, self._largest = column, -1

    def add(self, values: np.ndarray) -> None:
        found = integers(values, self.column.source)
        self._largest = max(self._largest, int(found.max(initial=-1)))

    def finish(self) -> Column:
        if self._largest < 0:
            _nothing(self.column, "integer from 0")
        if self._largest >= TABLE_LIMIT:
            self.column.refuse(f"holds ids up to {self._largest}", "give its size, or use hash_bucket")
        return dataclasses.replace(self.column, size=max(self._largest, self.column.default) + 1)


class _Vocabulary(_Learner):
    def __init__(self, column: Vocabulary) -> None:
        self.column, self._counts = column, Counts(column.name)
        self._dtype = column.dtype

    def add(self, values: np.ndarray) -> None:
        name = self.column.source
        if self._dtype is None:
            first = _first_value(values)
            self._dtype = None if first is None else _dtype(first, self.column)
        if self._dtype == "integer":
            self._counts.add([v for v in integers(values, name).tolist() if v != MISSING_INT])
        elif self._dtype == "string":
            self._counts.add([word for word in texts(values, name) if word])

    def finish(self) -> Column:
        column = self.column
        words = self._counts.finish(column.min_count or 1, column.max_size)
        if not words:
            often = f" {column.min_count} times or more" if (column.min_count or 1) > 1 else ""
            _nothing(column, f"word that occurs{often}")
        if len(words) > VOCABULARY_LIMIT:
            column.refuse(f"has {len(words)} words", "give max_size or a min_count, or use hash_bucket")
        if self._dtype == "string":
            words = [_decoded(column, word) for word in words]
        return dataclasses.replace(column, vocabulary=tuple(words), dtype=self._dtype, min_count=None, max_size=None)


_LEARNERS: dict[type[Column], Any] = {
    Numeric: _Numeric,
    Bucketized: _Bucketized,
    Identity: _Identity,
    Vocabulary: _Vocabulary,
}


def _nothing(column: Column, what: str) -> NoReturn:
    column.refuse(f"has no {what} in the data", "check the column, or give what it should learn")


def _decoded(column: Column, word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        column.refuse(f"holds {word[:20]!r}, which is no UTF-8", "convert the data to UTF-8")


def _first_value(values: np.ndarray) -> Any:
    """The first value that is not missing, ``None`` if all are."""
    if values.dtype.kind in "OSU" or values.dtype.kind == "f":
        return next((v for v in values.tolist() if v is not None and v == v), None)
    return values[0].item() if len(values) else None


def _dtype(value: Any, column: Vocabulary) -> str:
    if isinstance(value, (str, bytes)):
        return "string"
    if not (isinstance(value, (bool, int)) or (isinstance(value, float) and value.is_integer())):
        column.refuse(f"holds {value!r}, which is neither text nor integer", "use bucketized")
    return "integer"


def _task(labels: np.ndarray) -> str | None:
    """Text (and yes or no) is a class, a number is a quantity; ``None`` as long as no label is there."""
    first = _first_value(labels)
    if first is None:
        return None
    return "classification" if isinstance(first, (str, bytes, bool)) else "regression"
