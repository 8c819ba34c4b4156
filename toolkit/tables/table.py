"""A table: its rows as columns in numpy, in batches or whole, from memory, CSV or TFRecord alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from toolkit.errors import BrokenInput, UsageError
from toolkit.tables import identity, infer, stream
from toolkit.tables.arrays import Arrays
from toolkit.tables.bad_rows import Tally, check_policy
from toolkit.tables.csv_files import CsvFiles
from toolkit.tables.files import Part, find, is_records, of_file
from toolkit.tables.record_files import RecordFiles
from toolkit.tables.schema import Schema

Columns = dict[str, np.ndarray]
Predicate = Callable[[Columns], np.ndarray]

FILES_AT_ONCE = 8
"""Shards that are read in turn when rows are shuffled, so that a buffer sees more than one."""


class Source(Protocol):
    """Where rows come from, in one or more parts."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files, or the one array."""

    def blocks(self, part: Part, schema: Schema, tally: Tally, pool: Executor) -> Iterator[Columns]:
        """The rows of one part in their order; malformed ones go to the tally, by their place in the part."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a schema. Made by :func:`open_table` or :func:`of_arrays`; nothing is read until it is asked for.

    ``bad_rows`` is ``"error"`` (the first malformed row ends the reading) or ``"skip"``.
    """

    schema: Schema
    source: Source
    bad_rows: str = "error"
    shares: identity.Shares = field(default_factory=identity.Shares)

    def __post_init__(self) -> None:
        check_policy(self.bad_rows)

    @property
    def names(self) -> list[str]:
        """The parts' names, for messages."""
        return [part.name for part in self.source.parts]

    def batches(
        self,
        batch_size: int | None = None,
        *,
        split: str | None = None,
        where: Predicate | None = None,
        shuffle: int = 0,
        seed: int = 0,
        drop_remainder: bool = False,
        tally: Tally | None = None,
    ) -> Iterator[Columns]:
        """The rows once, as columns by name: float32, int64 or ``str`` objects, ``[N]``; the label among them.

        Args:
            batch_size: N, the last batch shorter; ``None``: as it comes, thousands at a time.
            split: train, calibration (a part of train) or evaluation; ``None``: all rows.
            where: of a block's columns, which rows to keep, bool ``[N]``.
            shuffle: rows in the shuffle buffer; 0: the order of the files.
            seed: of the shuffle. The same seed gives the same order, however many threads read.
            drop_remainder: leave a shorter last batch out.
            tally: counts what was met and left out; by default a new one that obeys ``bad_rows``.

        Raises:
            UsageError: a batch size below 1, or an unknown split.
            BrokenInput: a malformed row where they are not skipped, a missing column, no rows at all, a damaged file.
            MissingError: a file must not be read.
        """
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, shuffle=shuffle)
        rng = np.random.default_rng(seed)
        blocks = self.blocks(split=split, where=where, mixed=rng if shuffle else None, tally=tally)
        return stream.arranged(blocks, batch_size, shuffle, rng, drop_remainder=drop_remainder)

    def blocks(
        self,
        *,
        split: str | None = None,
        where: Predicate | None = None,
        mixed: np.random.Generator | None = None,
        tally: Tally | None = None,
    ) -> Iterator[Columns]:
        """The rows once, as they come; arguments and errors as of :meth:`batches`.

        ``mixed``: read several files in turn, in random order, so that a shuffle buffer sees more than one.
        """
        if split is not None:
            self.shares.chosen(split, np.zeros(0))
        return self._blocks(split, where, mixed, tally or Tally(self.bad_rows))

    def read(self, *, tally: Tally | None = None) -> Columns:
        """All rows in memory; errors as of :meth:`batches`."""
        return stream.gathered(self.batches(tally=tally))

    def as_tf_dataset(self, batch_size: int, **options: Any) -> Any:
        """A ``tf.data.Dataset`` of batches; options and errors are those of :func:`toolkit.tables.feed.dataset`."""
        from toolkit.tables import feed

        return feed.dataset(self, batch_size, **options)

    def with_classes(self) -> Table:
        """The same table with the values of a text label learned as classes, sorted; one pass over the rows."""
        label = self.schema.label
        if label is None or self.schema[label].type != "string" or self.schema.classes is not None:
            return self
        found: set[str] = set()
        for block in self.batches():
            found.update(block[label].tolist())
        return replace(self, schema=replace(self.schema, classes=tuple(sorted(found))))

    def _blocks(
        self, split: str | None, where: Predicate | None, mixed: np.random.Generator | None, tally: Tally
    ) -> Iterator[Columns]:
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            for block in self._raw(pool, tally, mixed):
                if split is not None:
                    block = stream.take(block, self._split(block, split))
                if where is not None and stream.size(block):
                    block = stream.take(block, _mask(where, block))
                if stream.size(block):
                    yield block

    def _raw(self, pool: Executor, tally: Tally, mixed: np.random.Generator | None) -> Iterator[Columns]:
        parts = list(self.source.parts)
        if mixed is not None:
            parts = [parts[i] for i in mixed.permutation(len(parts))]
        each = (self.source.blocks(part, self.schema, tally, pool) for part in parts)
        for block in stream.interleaved(each, FILES_AT_ONCE if mixed is not None else 1):
            tally.rows += stream.size(block)
            yield block
        if not tally.rows:
            first = self.names[0] + (f" and {len(parts) - 1} more" if len(parts) > 1 else "")
            what = f"all of its {tally.left_out:,} rows are malformed" if tally.left_out else "has no rows"
            named = f" (the first: {tally.named[0]})" if tally.named else ""
            raise BrokenInput(what + named, where=first, remedy="give a file with rows")

    def _split(self, block: Columns, split: str) -> np.ndarray:
        return self.shares.chosen(split, identity.positions(block, self.schema))


def open_table(
    pattern: str | Path,
    *,
    schema: Schema | None = None,
    label: str | None = None,
    columns: tuple[str, ...] | None = None,
    bad_rows: str = "error",
    shares: identity.Shares | None = None,
) -> Table:
    """The table in a CSV or TFRecord, or in the shards of one; gzip or not. Which it is, is read from the content.

    Args:
        pattern: a file, or a glob such as ``train.csv-*-of-*``.
        schema: the columns; ``None``: inferred from the first rows.
        label: the label's column; by default the schema's own.
        columns: the names of all columns of a CSV without a header line.
        bad_rows: ``"error"`` or ``"skip"``.
        shares: the splits' sizes.

    Raises:
        UsageError: no such file, a glob that matches nothing, an unknown label, names beside a schema, or names
            for a TFRecord.
        BrokenInput: CSV and TFRecord under one glob, an empty file, or rows that no schema can be inferred from.
        MissingError: a file must not be read.
    """
    if schema is not None and columns is not None:
        raise UsageError("both a schema and column names are given", remedy="give one of them")
    return of_parts(
        tuple(of_file(path) for path in find(pattern)),
        schema=schema,
        label=label,
        columns=columns,
        bad_rows=bad_rows,
        shares=shares,
    )


def of_parts(
    parts: tuple[Part, ...],
    *,
    schema: Schema | None = None,
    label: str | None = None,
    columns: tuple[str, ...] | None = None,
    bad_rows: str = "error",
    shares: identity.Shares | None = None,
) -> Table:
    """The table in these files; as :func:`open_table`."""
    kinds = {part.name: is_records(part) or ".tfrecord" in Path(part.name).name for part in parts}
    if len(set(kinds.values())) > 1:
        odd = next(name for name, records in kinds.items() if records != kinds[parts[0].name])
        raise BrokenInput(
            f"is {'a TFRecord' if kinds[odd] else 'no TFRecord'}, unlike {parts[0].name}",
            where=odd,
            remedy="give a glob that matches files of one kind",
        )
    if columns is not None and kinds[parts[0].name]:
        raise UsageError("has its own names", where=parts[0].name, remedy="name columns only of a CSV without a header")
    source: Source = RecordFiles(parts) if kinds[parts[0].name] else CsvFiles(parts)
    if schema is None:
        schema = infer.of_records(parts) if isinstance(source, RecordFiles) else infer.of_csv(parts, columns)
    if label is not None:
        schema = schema.with_label(label)
    return Table(schema=schema, source=source, bad_rows=bad_rows, shares=shares or identity.Shares())


def of_arrays(arrays: Mapping[str, Any], *, label: str | None = None, bad_rows: str = "error") -> Table:
    """The table of arrays ``[N]`` in memory: numbers, or text as ``str``.

    Raises:
        UsageError: no arrays, or an unknown label.
        BrokenInput: unequal lengths, more than one dimension, another type, or numbers beyond float32 or int64.
    """
    source = Arrays.of(arrays)
    return Table(schema=source.schema.with_label(label), source=source, bad_rows=bad_rows)


def check_at_least(least: int, **given: int | None) -> None:
    """Raises UsageError for a number below ``least``."""
    for name, value in given.items():
        if value is not None and value < least:
            raise UsageError(
                f"{name.replace('_', ' ')} {value}", remedy=f"give {least} or more" if least else "give 0 or more"
            )


def _mask(where: Predicate, block: Columns) -> np.ndarray:
    kept = np.asarray(where(block))
    if kept.dtype != bool or kept.shape != (stream.size(block),):
        raise UsageError(
            f"the filter gave {kept.dtype} {list(kept.shape)}, not bool [{stream.size(block)}]",
            remedy="return one bool for every row",
        )
    return kept
