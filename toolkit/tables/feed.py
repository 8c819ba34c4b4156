"""A table as a ``tf.data.Dataset``.

Rows are read, filtered and shuffled as columns in numpy, where a row costs nanoseconds, and handed to TensorFlow in
chunks of whole batches. So training, statistics and evaluation read a file by the same code, and a malformed row is
named with its file and line instead of ending in a graph error.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.errors import EdgeExportError, UsageError
from toolkit.tables import stream
from toolkit.tables.bad_rows import Tally
from toolkit.tables.schema import Schema
from toolkit.tables.table import Columns, Predicate, Table, check_at_least

CHUNK = 8192
"""Rows that TensorFlow is handed at a time: its call into Python costs as much for one batch as for many."""


def dataset(
    table: Table,
    batch_size: int,
    *,
    split: str | None = None,
    where: Predicate | None = None,
    shuffle: int = 0,
    seed: int = 0,
    cache: bool = False,
    repeat: int | None = 1,
    map: Callable[..., Any] | None = None,
    prefetch: int | None = None,
    drop_remainder: bool = False,
    tally: Tally | None = None,
) -> Any:
    """Batches as ``({input: [N]}, label [N])``, or ``{column: [N]}`` of a table without label.

    float32, int64 or string tensors; a text label becomes its class number, int64. Files are parsed in parallel, and
    in turn where rows are shuffled. Every pass has an order of its own, made from ``seed`` and the number of the pass:
    the same seed gives the same orders.

    Args:
        table: the rows.
        batch_size: N; the last batch of a pass is shorter.
        split: train, calibration or evaluation; ``None``: all rows.
        where: filter, as of :meth:`Table.batches`.
        shuffle: rows in the shuffle buffer; 0: no shuffling.
        seed: of the shuffle.
        cache: keep the columns in memory after the first whole pass.
        repeat: passes; ``None``: without end.
        map: of a batch, traced by TensorFlow and run in parallel.
        prefetch: batches made ahead; ``None``: TensorFlow decides.
        drop_remainder: leave the shorter last batch out, which makes N static.
        tally: counts rows over all passes.

    Raises:
        UsageError: a number out of range, an unknown split, or a text label whose classes are not known.
    """
    import tensorflow as tf

    check_at_least(1, batch_size=batch_size, repeat=repeat)
    check_at_least(0, shuffle=shuffle, seed=seed, prefetch=prefetch)
    table.blocks(split=split)  # an unknown split is refused here, not in the graph
    schema = table.schema
    if schema.label and schema[schema.label].type == "string" and schema.classes is None:
        raise UsageError(
            "is text, and its classes are not known",
            where=f"label {schema.label!r}",
            remedy="give the schema its classes, or learn them: table.with_classes()",
        )
    feed = _Feed(table, batch_size, split, where, shuffle, seed, cache, repeat, drop_remainder, tally)
    shape = [None, batch_size if drop_remainder else None]
    dtypes = {"float": tf.float32, "int": tf.int64, "string": tf.string}
    specs = {c.name: tf.TensorSpec(shape, dtypes[c.type]) for c in schema.columns}
    if schema.label is None:
        signature: Any = specs
    else:
        label = specs.pop(schema.label)
        signature = (specs, tf.TensorSpec(shape, tf.int64) if schema.classes else label)
    chunks = tf.data.Dataset.from_generator(feed.chunks, output_signature=signature)
    # Fetched ahead here as well: Python reads the next chunk while TensorFlow cuts this one.
    batches = chunks.prefetch(2).unbatch()
    if map is not None:
        batches = batches.map(map, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE if prefetch is None else prefetch)


@contextlib.contextmanager
def original_errors() -> Iterator[None]:
    """Raises a table's own error where TensorFlow has made one of its own out of it.

    TensorFlow turns what a generator raises into an ``OpError`` with the traceback in its text. Around ``fit``, or
    whatever consumes a dataset of :func:`dataset`, this gives the one line back.
    """
    _raised.clear()
    try:
        yield
    except Exception as error:
        import tensorflow as tf

        if _raised and isinstance(error, tf.errors.OpError):
            raise _raised[-1] from error
        raise


_raised: list[EdgeExportError] = []


@dataclass
class _Feed:
    table: Table
    batch_size: int
    split: str | None
    where: Predicate | None
    shuffle: int
    seed: int
    cache: bool
    repeat: int | None
    drop_remainder: bool
    tally: Tally | None
    kept: list[Columns] | None = None
    passes: Iterator[int] = field(default_factory=itertools.count)

    def chunks(self) -> Iterator[Any]:
        """Chunks of ``[batches, N]``, for as many passes as asked."""
        try:
            for _ in itertools.count() if self.repeat is None else range(self.repeat):
                for chunk in self._one_pass():
                    yield from self._cut(chunk)
        except EdgeExportError as error:
            _raised.append(error)
            raise

    def _one_pass(self) -> Iterator[Columns]:
        rng = np.random.default_rng([self.seed, next(self.passes)])
        rows = self.batch_size * max(1, CHUNK // self.batch_size)
        return stream.arranged(self._blocks(rng), rows, self.shuffle, rng)

    def _blocks(self, rng: np.random.Generator) -> Iterator[Columns]:
        if self.kept is not None:
            yield from self.kept
            return
        kept = []
        mixed = rng if self.shuffle else None
        for block in self.table.blocks(split=self.split, where=self.where, mixed=mixed, tally=self.tally):
            if self.cache:
                kept.append(block)
            yield block
        if self.cache:
            self.kept = kept

    def _cut(self, chunk: Columns) -> Iterator[Any]:
        rows = stream.size(chunk)
        whole = rows - rows % self.batch_size
        for first, last, size in ((0, whole, self.batch_size), (whole, rows, rows - whole)):
            if last > first and not (self.drop_remainder and size < self.batch_size):
                part = stream.take(chunk, slice(first, last))
                yield _structured({n: v.reshape(-1, size) for n, v in part.items()}, self.table.schema)


def _structured(columns: Columns, schema: Schema) -> Any:
    if schema.label is None:
        return columns
    label = columns.pop(schema.label)
    if schema.classes is not None:
        numbers = {name: i for i, name in enumerate(schema.classes)}
        label = np.array([numbers[v] for v in label.ravel()], dtype=np.int64).reshape(label.shape)
    return columns, label
