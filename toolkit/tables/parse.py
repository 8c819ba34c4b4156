"""A block of CSV as columns: every field converted, every malformed row named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toolkit.tables import decimals, tokens
from toolkit.tables.schema import DTYPES, Column, Schema, missing

SHOWN = 40
"""Characters of a wrong field that are shown."""

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parsed:
    """Columns by name ``[N]``, malformed rows as (line in the block from 0, what is wrong), and the block's lines.

    ``places`` are the malformed rows' numbers among the block's rows, from 0; ``line_of`` gives a row's line.
    """

    columns: Columns
    bad: tuple[tuple[int, str], ...]
    places: tuple[int, ...]
    lines: int
    line_of: Callable[[int], int]

    @property
    def rows(self) -> int:
        """All rows of the block, malformed ones too."""
        return len(next(iter(self.columns.values()))) + len(self.bad)


def parse(block: bytes, found: tokens.Tokens, schema: Schema, positions: list[int]) -> Parsed:
    """Converts a tokenised block.

    Args:
        block: what was tokenised.
        found: its fields.
        schema: the wanted columns.
        positions: at which field of a row each of them is.
    """
    buffer = np.frombuffer(block, np.uint8)
    # Text is sliced out of one string where characters and bytes are the same.
    plain = block.decode("ascii") if block.isascii() else None
    wrong: dict[int, str] = {}
    columns = {}
    for column, place in zip(schema.columns, positions, strict=True):
        fields = _Fields(block, buffer, plain, found.starts[:, place], found.ends[:, place], found.quoted[:, place])
        read = _texts if column.type == "string" else _numbers
        columns[column.name] = read(fields, column, schema, wrong)
    check_label(columns, schema, wrong)
    if wrong:
        kept = np.ones(len(found.rows), dtype=bool)
        kept[list(wrong)] = False
        columns = {name: values[kept] for name, values in columns.items()}
    lines = block[: found.consumed].count(b"\n")
    at = sorted([*found.bad, *((int(found.rows[row]), what) for row, what in wrong.items())])
    begins = np.sort(np.concatenate([found.rows, np.array([offset for offset, _ in found.bad], dtype=np.int64)]))
    places = tuple(np.searchsorted(begins, [offset for offset, _ in at]).tolist())
    return Parsed(
        columns=columns,
        bad=_by_line(block, at),
        places=places,
        lines=lines,
        line_of=lambda place: block.count(b"\n", 0, int(begins[place])),
    )


def check_label(columns: Columns, schema: Schema, wrong: dict[int, str]) -> None:
    """Adds the rows whose label is not finite, or of no known class, to ``wrong``."""
    if schema.label is None:
        return
    labels = columns[schema.label]
    if schema[schema.label].type == "float":
        for row in np.flatnonzero(~np.isfinite(labels)).tolist():
            wrong.setdefault(row, f"label {schema.label!r} is {labels[row]:g}, not a finite number")
    elif schema.classes is not None:
        known = set(schema.classes)
        for row, label in enumerate(labels.tolist()):
            if label not in known:
                wrong.setdefault(row, f"label {schema.label!r} is {_shown(label)}, none of its {len(known)} classes")


@dataclass(frozen=True, eq=False)
class _Fields:
    block: bytes
    buffer: np.ndarray
    plain: str | None
    starts: np.ndarray
    ends: np.ndarray
    quoted: np.ndarray


def _numbers(fields: _Fields, column: Column, schema: Schema, wrong: dict[int, str]) -> np.ndarray:
    read = decimals.floats if column.type == "float" else decimals.ints
    there = np.flatnonzero(fields.ends > fields.starts)
    if len(there) == len(fields.starts):
        values, good = read(fields.buffer, fields.starts, fields.ends)
    else:
        values = np.full(len(fields.starts), missing(column), dtype=DTYPES[column.type])
        values[there], found = read(fields.buffer, fields.starts[there], fields.ends[there])
        good = np.full(len(values), column.default is not None)
        good[there] = found
    for row in np.flatnonzero(~good).tolist():
        start, end = int(fields.starts[row]), int(fields.ends[row])
        said = fields.block[start:end].decode("utf-8", "replace")
        wrong.setdefault(row, not_a(column, said) if said else lacks(column, schema))
    return values


def _texts(fields: _Fields, column: Column, schema: Schema, wrong: dict[int, str]) -> np.ndarray:
    spans = zip(fields.starts.tolist(), fields.ends.tolist(), strict=True)
    values = np.empty(len(fields.starts), dtype=object)
    if fields.plain is not None:
        plain = fields.plain
        values[:] = [plain[start:end] for start, end in spans]
    else:
        for row, (start, end) in enumerate(spans):
            try:
                values[row] = fields.block[start:end].decode("utf-8")
            except UnicodeDecodeError:
                wrong.setdefault(row, f"column {column.name!r} is not UTF-8")
                values[row] = ""
    for row in np.flatnonzero(fields.quoted).tolist():
        values[row] = values[row].replace('""', '"')
    for row in np.flatnonzero((fields.ends == fields.starts) & ~fields.quoted).tolist():
        values[row] = missing(column)
        if column.default is None:
            wrong.setdefault(row, lacks(column, schema))
    return values


def lacks(column: Column, schema: Schema) -> str:
    """What is wrong with an empty field that has no default."""
    if column.name == schema.label:
        return f"label {column.name!r} is missing"
    return f"column {column.name!r} is empty and has no default"


def not_a(column: Column, said: str) -> str:
    """What is wrong with a field of another type."""
    wanted = {"float": "a number", "int": "an int", "string": "text"}[column.type]
    if column.type == "float" and decimals.is_decimal(said.encode()):
        return f"column {column.name!r} is {_shown(said)}, beyond float32"
    return f"column {column.name!r} is {_shown(said)}, not {wanted}"


def _shown(said: str) -> str:
    return repr(said if len(said) <= SHOWN else said[: SHOWN - 1] + "…")


def _by_line(block: bytes, at: list[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    found, line, counted = [], 0, 0
    for offset, what in at:
        line += block.count(b"\n", counted, offset)
        counted = offset
        found.append((line, what))
    return tuple(found)
