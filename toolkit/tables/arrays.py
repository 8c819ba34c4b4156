"""Arrays in memory as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, UsageError
from toolkit.tables import stream
from toolkit.tables.bad_rows import Tally
from toolkit.tables.files import Part, of_bytes
from toolkit.tables.parse import Columns, check_label
from toolkit.tables.schema import DTYPES, Column, Schema

ROWS = 16384
"""Rows per block."""

NAME = "arrays"


@dataclass(frozen=True, eq=False)
class Arrays:
    """Equally long arrays ``[N]`` by name, of the three column types."""

    schema: Schema
    columns: Columns

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Arrays:
        """Checks and converts; errors as :func:`toolkit.tables.of_arrays`."""
        if not arrays:
            raise UsageError("no arrays", where=NAME, remedy="give at least one column")
        given = {name: np.asarray(values) for name, values in arrays.items()}
        types = {name: _type(name, values) for name, values in given.items()}
        if len({len(values) for values in given.values()}) > 1:
            counts = ", ".join(f"{name}: {len(values)}" for name, values in given.items())
            raise BrokenInput(f"have different numbers of rows ({counts})", where=NAME, remedy="give equal lengths")
        schema = Schema(columns=tuple(Column(name=name, type=kind) for name, kind in types.items()))
        return cls(schema, {name: _converted(name, values, types[name]) for name, values in given.items()})

    @property
    def parts(self) -> tuple[Part, ...]:
        """One part, without a file behind it."""
        return (of_bytes(NAME, b""),)

    def blocks(self, part: Part, schema: Schema, tally: Tally, pool: Executor) -> Iterator[Columns]:
        """The rows in their order; rows whose label is not finite are malformed."""
        for first in range(0, stream.size(self.columns), ROWS):
            block = stream.take(self.columns, slice(first, first + ROWS))
            wrong: dict[int, str] = {}
            check_label(block, schema, wrong)
            for row in sorted(wrong):
                tally.refuse(f"{part.name}, row {first + row:,}", wrong[row], row=tally.seen + row)
            tally.seen += stream.size(block)
            kept = np.ones(stream.size(block), dtype=bool)
            kept[list(wrong)] = False
            if kept.any():
                yield stream.take(block, kept)


def _type(name: str, values: np.ndarray) -> str:
    if values.ndim != 1:
        raise BrokenInput(
            f"has shape {list(values.shape)}, not [N]", where=f"array {name!r}", remedy="give one value per row"
        )
    kind = {"f": "float", "i": "int", "u": "int", "b": "int", "U": "string", "T": "string"}.get(values.dtype.kind)
    if kind is None and values.dtype == object and all(isinstance(v, str) for v in values):
        kind = "string"
    if kind is None:
        raise BrokenInput(f"is {values.dtype}", where=f"array {name!r}", remedy="give numbers or str")
    return kind


def _converted(name: str, values: np.ndarray, kind: str) -> np.ndarray:
    if kind == "string":
        return values.astype(object)
    with np.errstate(over="ignore"):
        converted = values.astype(DTYPES[kind])
    if kind == "float" and (np.isinf(converted) & ~np.isinf(values)).any():
        raise BrokenInput("has values beyond float32", where=f"array {name!r}", remedy="scale it")
    if kind == "int" and values.dtype == np.uint64 and (converted < 0).any():
        raise BrokenInput("has values beyond int64", where=f"array {name!r}", remedy="scale it")
    return converted
