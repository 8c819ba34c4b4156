"""How a user's table is read for a feature spec: which columns, as what, and what an empty field becomes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from toolkit import tables
from toolkit.errors import BrokenInput
from toolkit.features import FeatureSpec
from toolkit.features.columns import MISSING_INT
from toolkit.features.spec import wants
from toolkit.tables import stream
from toolkit.tables.record_files import RecordFiles

_MISSING: dict[str, float | int | str] = {"float": float("nan"), "int": MISSING_INT, "string": ""}
"""What stands in for an empty field, as :mod:`toolkit.features` understands it."""


def schema_for(spec: FeatureSpec, there: tables.Schema, where: str) -> tables.Schema:
    """The columns that a spec reads, each of the type it is read as, and the label.

    Args:
        spec: what is wanted.
        there: what the file has.
        where: what errors call the file.

    Raises:
        BrokenInput: a column that the file does not have.
    """
    wanted: dict[str, str | None] = {}
    for column in spec.columns:
        if column.kind != "crossed":
            kind = wants(column)
            # Who reads integers decides for those who would take any number.
            wanted[column.source] = kind if wanted.get(column.source) in (None, "number") else wanted[column.source]
    for name in (*wanted, spec.label):
        if name not in there.names:
            what = "its label column" if name == spec.label else "column"
            listed = ", ".join(there.names)
            raise BrokenInput(
                f"lacks {what} {name!r} (it has: {listed[:300]})",
                where=where,
                remedy="correct the spec, or name the columns with --columns if the file has no header line",
            )
    columns = tuple(_column(name, kind, there[name].type) for name, kind in wanted.items())
    return tables.Schema(columns=(*columns, _label(spec, there[spec.label].type)), label=spec.label)


def columns_of(opened: tables.Table, schema: tables.Schema, tally: tables.Tally) -> dict[str, np.ndarray]:
    """The rows of a file, columns by name ``[N]`` as ``schema`` has them.

    Args:
        opened: the file by its own schema.
        schema: of :func:`schema_for`.
        tally: counts malformed rows, or refuses the first.

    Raises:
        BrokenInput, MissingError: as of :meth:`toolkit.tables.Table.batches`, and for a feature of a TFRecord that is
            of another type than the spec reads.
    """
    records = isinstance(opened.source, RecordFiles)
    own = {c.name: c for c in schema.columns}
    read: list[tables.Column] = []
    for column in opened.schema.columns:
        if column.name not in own:
            if not opened.schema.header:
                # Without a header line columns are known by their place alone: all of them are gone through.
                read.append(tables.Column(name=column.name, type="string", default=""))
        elif records and column.type != own[column.name].type:
            # A record holds values of one type, and no other can be asked for.
            read.append(_of_record(column, own[column.name], opened.names[0]))
        else:
            read.append(own[column.name])
    reading = tables.Schema(columns=tuple(read), label=schema.label, header=opened.schema.header)
    table = tables.Table(schema=reading, source=opened.source, bad_rows=opened.bad_rows)

    def blocks() -> Iterator[dict[str, np.ndarray]]:
        for block in table.blocks(tally=tally):
            yield {c.name: _cast(block[c.name], c) for c in schema.columns}

    return stream.gathered(blocks())


def _column(name: str, kind: str | None, found: str) -> tables.Column:
    if kind == "string" or (kind is None and found == "string"):
        read = "string"
    else:
        # float32 holds no integer beyond 2**24 exactly; what is not whole has to travel as a float, though.
        read = "int" if kind in ("integer", None) and found == "int" else "float"
    return tables.Column(name=name, type=read, default=_MISSING[read])


def _label(spec: FeatureSpec, found: str) -> tables.Column:
    if spec.task == "classification":
        return tables.Column(name=spec.label, type=found)
    # Of a regression, what is no number is a malformed row.
    return tables.Column(name=spec.label, type="string" if found == "string" and spec.task is None else "float")


def _of_record(column: tables.Column, wanted: tables.Column, where: str) -> tables.Column:
    if column.type != "int":
        raise BrokenInput(
            f"column {column.name!r} is {column.type} in these records, and the spec reads it as {wanted.type}",
            where=where,
            remedy="correct the spec, or write the records anew",
        )
    return tables.Column(name=column.name, type="int", default=MISSING_INT if wanted.default is not None else None)


def _cast(values: np.ndarray, column: tables.Column) -> np.ndarray:
    """Integers of a record as what a CSV's digits are read as; all else is as wanted already."""
    if column.type == "int" or values.dtype != np.int64:
        return values
    there = values != MISSING_INT if column.default is not None else np.ones(len(values), bool)
    if column.type == "float":
        return np.where(there, values, np.nan).astype(np.float32)
    return np.where(there, values.astype(str).astype(object), "")
