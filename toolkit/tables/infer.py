"""The schema that the first rows of a table suggest.

A column is ``int`` if every field seen is an integer and none is empty, ``float`` if every field is a number,
``string`` otherwise; integers with leading zeros (zip codes) are text. An empty field of an inferred float becomes
NaN, of an inferred string ``""``. What turns out otherwise further down is a malformed row, named with its line.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from toolkit.errors import BrokenInput
from toolkit.tables import decimals, tokens
from toolkit.tables.csv_files import BLOCK, header_of
from toolkit.tables.files import Part
from toolkit.tables.record_files import KINDS, batches
from toolkit.tables.schema import Column, Schema

ROWS = 10_000
"""Rows that are looked at, at most: the first 1,000 to 10,000 of evenly spread files."""

FILES = 10

_DEFAULTS: dict[str, float | str | None] = {"float": math.nan, "int": None, "string": ""}
"""An int has no value that could not be a real one, so an empty one is malformed."""

_CODE = re.compile(rb"[+-]?0[0-9]")


def of_csv(parts: Sequence[Part], names: tuple[str, ...] | None = None) -> Schema:
    """The schema of CSV files; the header is that of the first file.

    Args:
        parts: the files.
        names: of all columns, where there is no header line.

    Raises:
        BrokenInput: an empty file, a header that holds numbers or a name twice, or no rows.
    """
    header = list(names) if names is not None else header_of(parts[0])
    if names is None:
        _check_header(header, parts[0])
    seen: list[list[bytes]] = [[] for _ in header]
    chosen = parts[:: max(1, -(-len(parts) // FILES))]
    for part in [*chosen, *(p for p in parts if p not in chosen)]:
        if part not in chosen and any(seen):
            break  # the others are looked at only if these are all empty
        own = header if names is not None else header_of(part)
        places = [own.index(name) if name in own else None for name in header]
        for row in _rows(part, len(own), names is None, max(1, ROWS // len(chosen))):
            for values, place in zip(seen, places, strict=True):
                if place is not None:
                    values.append(row[place])
    if not any(seen):
        first = len(header_of(chosen[0])) if names is not None else len(header)
        if first != len(header):
            raise BrokenInput(
                f"has {first} fields, and {len(header)} columns are named",
                where=f"{chosen[0].name}:1",
                remedy="name every column of the file, in its order",
            )
        raise BrokenInput("has no rows", where=chosen[0].name, remedy="give a file with rows")
    # pandas writes its index under an empty name.
    columns = tuple(_column(name, values) for name, values in zip(header, seen, strict=True) if name)
    return Schema(columns=columns, header=names is None)


def of_records(parts: Sequence[Part]) -> Schema:
    """The schema of TFRecord files: a column for every feature, sorted by name, for a tf.Example has no order.

    Raises:
        BrokenInput: no records, records that are no tf.Example, a feature of two types or without exactly one value.
    """
    found: dict[str, str] = {}
    chosen = parts[:: max(1, -(-len(parts) // FILES))]
    for part in [*chosen, *(p for p in parts if p not in chosen)]:
        if part not in chosen and found:
            break
        for number, features in _examples(part, max(1, ROWS // len(chosen))):
            for name, feature in features.items():
                kind = feature.WhichOneof("kind")
                held = len(getattr(feature, kind).value) if kind else 0
                if not kind or not held:
                    continue
                if held != 1 or found.setdefault(name, KINDS[kind]) != KINDS[kind]:
                    what = (
                        f"has {held} values, not 1" if held != 1 else f"is {KINDS[kind]} here and {found[name]} before"
                    )
                    raise BrokenInput(
                        f"feature {name!r} {what}",
                        where=f"{part.name}, record {number:,}",
                        remedy="a table has one value of one type per feature; give a schema to read the others",
                    )
    if not found:
        raise BrokenInput("has no rows", where=chosen[0].name, remedy="give a file with rows")
    return Schema(
        columns=tuple(Column(name=name, type=found[name], default=_DEFAULTS[found[name]]) for name in sorted(found))
    )


def _rows(part: Part, width: int, header: bool, most: int) -> Iterable[list[bytes]]:
    """The first well-formed rows of a file."""
    data, final = b"", True
    for chunk in part.chunks(BLOCK):
        data += chunk
        if len(data) >= 2 * tokens.LONGEST:  # more than one row, whatever its length
            final = False
            break
    if final and data and not data.endswith(b"\n"):
        data += b"\n"
    if header and (first := tokens.first_row(data, final=final)) is not None:
        data = data[first[1] :]
    if not data:
        return
    found = tokens.tokenise(data, width, final=final)
    every = (places[:most].tolist() for places in (found.starts, found.ends, found.quoted))
    for starts, ends, quoted in zip(*every, strict=True):
        yield [tokens.content(data, *field) for field in zip(starts, ends, quoted, strict=True)]


def _examples(part: Part, most: int) -> Iterable[tuple[int, Any]]:
    from google.protobuf.message import DecodeError
    from tensorflow.train import Example

    records = itertools.chain.from_iterable(batch.numpy() for batch in batches(part, min(most, 1000)))
    for number, record in enumerate(itertools.islice(records, most), start=1):
        try:
            yield number, Example.FromString(record).features.feature
        except DecodeError as error:
            where = f"{part.name}, record {number:,}"
            raise BrokenInput("is no tf.Example", where=where, remedy="write tf.train.Example records") from error


def _check_header(header: list[str], part: Part) -> None:
    if all(decimals.is_decimal(name.encode()) for name in header):
        raise BrokenInput(
            "its first line holds numbers, no column names",
            where=part.name,
            remedy="give the names of its columns if it has no header line",
        )
    twice = [name for name in header if name and header.count(name) > 1]
    if twice or not any(header):
        what = f"has column {twice[0]!r} twice" if twice else "its first line holds no column names"
        raise BrokenInput(what, where=part.name, remedy="name every column once")


def _column(name: str, values: list[bytes]) -> Column:
    there = [v for v in values if v]
    if there and all(decimals.read_int(v) is not None for v in there):
        whole = "int" if len(there) == len(values) else "float"
        kind = "string" if any(_CODE.match(v) for v in there) else whole
    else:
        kind = "float" if all(decimals.is_decimal(v) for v in there) else "string"
    return Column(name=name, type=kind, default=_DEFAULTS[kind])
