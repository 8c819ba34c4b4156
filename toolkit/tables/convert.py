"""A table from CSV to TFRecord or back: the whole destination, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.progress import Progress, Task
from toolkit.store import replacing
from toolkit.tables import stream, writing
from toolkit.tables.bad_rows import Tally
from toolkit.tables.parse import Columns
from toolkit.tables.schema import Schema
from toolkit.tables.table import open_table

ENDINGS: dict[str, Callable[..., int]] = {
    ".csv": writing.csv,
    ".tfrecord": writing.records,
    ".tfrecords": writing.records,
}


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was written: its rows, its columns, and what was left out on the way."""

    path: Path
    rows: int
    schema: Schema
    tally: Tally


def convert(
    source: str | Path,
    destination: Path,
    *,
    schema: Schema | None = None,
    label: str | None = None,
    columns: tuple[str, ...] | None = None,
    bad_rows: str = "error",
    progress: Progress,
) -> Converted:
    """Writes the rows of ``source`` to ``destination``, in their order, under its name only once it is whole.

    Args:
        source: a file or glob, CSV or TFRecord, gzip or not.
        destination: ends in .csv, .tfrecord or .tfrecords, with .gz behind it to be zipped.
        schema, label, columns, bad_rows: as of :func:`toolkit.tables.open_table`. With a label, rows without a
            finite one are malformed.
        progress: told the rows so far.

    Raises:
        UsageError: another ending, or a destination that is one of the sources; and as :func:`open_table`.
        BrokenInput, MissingError: as :meth:`Table.batches`; the destination cannot be written.
    """
    write, zipped = _writer(destination)
    table = open_table(source, schema=schema, label=label, columns=columns, bad_rows=bad_rows)
    if destination.resolve() in {Path(name).resolve() for name in table.names}:
        raise UsageError("is the source as well", where=str(destination), remedy="give the result another name")
    tally = Tally(bad_rows)
    schema = table.schema if table.schema.header else _with_header(table.schema)
    with progress.task(f"converting {source}") as task, replacing(destination) as beside:
        rows = write(_counted(table.batches(tally=tally), task, tally), schema, beside, zipped=zipped)
    return Converted(path=destination, rows=rows, schema=schema, tally=tally)


def _with_header(schema: Schema) -> Schema:
    return Schema(columns=schema.columns, label=schema.label, classes=schema.classes)


def _counted(blocks: Iterator[Columns], task: Task, tally: Tally) -> Iterator[Columns]:
    for block in blocks:
        yield block
        left_out = f", {tally.left_out:,} malformed left out" if tally.left_out else ""
        task.advance(stream.size(block), f"{tally.rows:,} rows{left_out}")


def _writer(destination: Path) -> tuple[Callable[..., int], bool]:
    zipped = destination.suffix == ".gz"
    ending = Path(destination.stem).suffix if zipped else destination.suffix
    if ending not in ENDINGS:
        raise UsageError(
            "the name does not say what to write",
            where=str(destination),
            remedy=f"let it end in {', '.join(ENDINGS)}, with .gz behind it to zip it",
        )
    if destination.is_dir():
        raise UsageError("is a folder", where=str(destination), remedy="give the name of a file")
    return ENDINGS[ending], zipped
