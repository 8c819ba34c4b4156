"""CSV and TFRecord rows as columns, by :mod:`toolkit.tables`; columns that the model does not read are passed over.

Integers of a CSV are read as texts here: pandas writes a column with gaps as ``3.0``, and float32, in which a table
would hold that, cannot tell large ids apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit import tables
from toolkit.errors import BrokenInput, UsageError
from toolkit.prediction.contract import Contract, Field, no_spec, shape_shown
from toolkit.prediction.tally import Numbered
from toolkit.tables import decimals
from toolkit.tables.files import find, is_records, of_file

_NO_INT = -(2**63)
"""Stands for a missing integer of a TFRecord: no id, as it does not fit int32."""


def read(name: str, contract: Contract, tally: Numbered) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Groups of rows: their numbers and their columns by field name; errors as of :func:`open_rows`."""
    fields = contract.fields
    for field in fields:
        if field.kind == "array":
            if field.dtype == "uint8" and len(field.shape) == 1:
                raise no_spec(field)
            raise UsageError(
                f"the model takes {field.name!r} as [N, {shape_shown(field.shape)[1:-1]}], which no table holds",
                where=name,
                remedy="give an .npz, or JSON lines with nested lists",
            )
    first = of_file(find(name)[0])
    records = is_records(first)
    types = {c.name: c.type for c in tables.open_table(name).schema.columns} if records else {}
    wanted = tuple(_column(f, types.get(f.name), first.name) if records else _csv_column(f) for f in fields)
    table = tables.open_table(name, schema=tables.Schema(columns=wanted))
    for block in table.blocks(tally=tally):
        numbers = tally.kept()
        found = {f.name: _gaps(block[f.name]) if records else block[f.name] for f in fields}
        if not records:
            wrong = np.zeros(len(numbers), dtype=bool)
            for field in fields:
                if field.kind == "integer":
                    found[field.name] = _integers(found[field.name], field, numbers, tally, wrong)
            numbers = numbers[~wrong]
            found = {key: values[~wrong] for key, values in found.items()}
        yield numbers, found if contract.spec is not None else {f.name: _plain(found[f.name], f) for f in fields}


def _csv_column(field: Field) -> tables.Column:
    if field.kind == "number":
        return tables.Column(name=field.name, type="float", default=math.nan if field.optional else None)
    # Without a default an empty field is a malformed row; an empty text is one like any other.
    return tables.Column(name=field.name, type="string", default="" if field.optional else None)


def _column(field: Field, there: str | None, where: str) -> tables.Column:
    """A TFRecord's column, in the type that its records have."""
    kind = there or {"number": "float", "integer": "int", "text": "string"}[field.kind]
    if (kind == "string") != (field.kind == "text"):
        what = f"feature {field.name!r} is {kind}, and the model takes {field.kind}s"
        raise BrokenInput(what, where=where, remedy="write records with the types of training")
    gap: Any = {"float": math.nan, "int": _NO_INT, "string": ""}[kind]
    return tables.Column(name=field.name, type=kind, default=gap if field.optional else None)


def _gaps(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.int64 or not (values == _NO_INT).any():
        return values
    return np.where(values == _NO_INT, np.nan, values.astype(np.float64))


def _integers(texts: np.ndarray, field: Field, numbers: np.ndarray, tally: Numbered, wrong: np.ndarray) -> np.ndarray:
    """Texts as integers, ``None`` where there is none; what is no number is refused and marked in ``wrong``."""
    found = np.empty(len(texts), dtype=object)
    for i, text in enumerate(texts):
        if not text:
            continue
        data = text.encode()
        value: Any = decimals.read_int(data)
        if value is None and decimals.is_decimal(data):
            value = float(text)
        if value is not None and (field.optional or float(value).is_integer()):
            found[i] = value
        elif not wrong[i]:
            wrong[i] = True
            shown = repr(text if len(text) <= 40 else text[:39] + "…")
            row = int(numbers[i])
            tally.refuse(tally.place(row), f"column {field.name!r} is {shown}, not an integer", row=row)
    return found


def _plain(values: np.ndarray, field: Field) -> np.ndarray:
    """A column for a model without a spec: a plain dtype in place of objects."""
    if values.dtype != object:
        return values
    return values.astype(np.str_ if field.kind == "text" else np.int64)
