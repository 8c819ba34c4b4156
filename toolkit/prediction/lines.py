"""JSON lines as columns: one object a row, its keys the inputs' names, ``null`` a missing value."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from toolkit.errors import BrokenInput
from toolkit.prediction.contract import BEYOND_FLOAT32, Contract, Field, cast_to, misshapen, no_spec
from toolkit.prediction.tally import Numbered
from toolkit.tables.files import find, of_file

ROWS = 4096
"""Rows that are held as Python objects at a time."""

CHUNK = 1 << 18
LONGEST = 64 << 20
"""Bytes a line may have: 2,000 x 2,000 pixels of three colours are about 60 MB."""

SHOWN = 40
_ABSENT = object()


def read(name: str, contract: Contract, tally: Numbered) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Groups of rows: their numbers and their columns by field name; errors as of :func:`open_rows`."""
    held: dict[str, list[Any]] = {field.name: [] for field in contract.fields}
    for place, line in _numbered(name):
        found = _row(line, contract.fields)
        if isinstance(found, str):
            tally.refuse(place, found, row=tally.seen)
        else:
            tally.rows += 1
            for values, value in zip(held.values(), found, strict=True):
                values.append(value)
        tally.seen += 1
        if tally.seen % ROWS == 0:
            yield tally.kept(), _columns(held, contract, name)
            held = {field.name: [] for field in contract.fields}
    yield tally.kept(), _columns(held, contract, name)


def _columns(held: dict[str, list[Any]], contract: Contract, name: str) -> dict[str, Any]:
    if contract.spec is not None:
        return dict(held)
    try:
        return {field: np.stack(values) if values else np.empty(0) for field, values in held.items()}
    except ValueError as error:
        raise BrokenInput("has rows of different shapes", where=name, remedy="give rows of one shape") from error


def _numbered(name: str) -> Iterator[tuple[str, bytes]]:
    """Lines that are not blank, each with its place."""
    if name == "-":
        parts = [("stdin", iter(lambda: sys.stdin.buffer.read(CHUNK), b""))]
    else:
        parts = [(str(path), of_file(path).chunks(CHUNK)) for path in find(name)]
    for part, chunks in parts:
        for number, line in enumerate(_lines(part, chunks), start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield f"{part}:{number}", line


def _lines(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    pieces: list[bytes] = []
    held = 0
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pieces.append(first)
        held += len(first)
        if held > LONGEST:
            raise BrokenInput(
                f"has a line longer than {LONGEST >> 20} MiB", where=name, remedy="give one JSON object a line"
            )
        if rest:
            yield b"".join(pieces)
            yield from rest[:-1]
            pieces, held = [rest[-1]], len(rest[-1])
    yield b"".join(pieces)


def _row(line: bytes, fields: tuple[Field, ...]) -> list[Any] | str:
    """A line's values in the order of ``fields``, or what is wrong with it."""
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        return "is not UTF-8"
    except json.JSONDecodeError as error:
        return f"is no JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError) as error:
        return f"is no JSON ({error})"
    if not isinstance(row, dict):
        return "is no JSON object"
    values: list[Any] = []
    for field in fields:
        value = row.get(field.name, _ABSENT)
        if value is _ABSENT:
            has = ", ".join(row)
            return f"lacks {field.name!r} (it has: {has[:300] or 'nothing'})"
        if value is None and field.optional:
            values.append(value)
            continue
        checked, problem = _CHECKS[field.kind](value, field)
        if problem:
            return f"{field.name!r} is {problem}"
        values.append(checked)
    return values


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON: write null for a missing value")


def _number(value: Any, field: Field) -> tuple[Any, str]:
    if value is None:
        return None, "null, and this model knows no missing values"
    if type(value) not in (int, float):
        single = isinstance(value, list) and len(value) == 1 and field.shape == (1,)
        return _number(value[0], field) if single else (None, f"{_shown(value)}, not a number")
    if field.kind == "number" and abs(value) >= BEYOND_FLOAT32:
        return None, f"{_shown(value)}, beyond float32"
    if not math.isfinite(value):
        return None, f"{_shown(value)}, beyond any integer"
    if field.optional:
        return value, ""
    cast = cast_to(np.asarray(value), field.dtype)
    return (None, f"{_shown(value)}, no {field.dtype}") if isinstance(cast, str) else (cast, "")


def _text(value: Any, field: Field) -> tuple[Any, str]:
    return (value, "") if isinstance(value, str) else (None, f"{_shown(value)}, not a text")


def _array(value: Any, field: Field) -> tuple[Any, str]:
    if isinstance(value, str) and field.dtype == "uint8":
        raise no_spec(field)
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        return None, "no array: its lists are not equally long"
    if problem := misshapen(array.shape, field.shape):
        return None, f"an array that {problem}"
    if field.dtype == "string":
        return (array, "") if array.dtype.kind == "U" else (None, "no array of texts")
    cast = cast_to(array, field.dtype)
    return (None, f"an array that {cast}") if isinstance(cast, str) else (cast, "")


_CHECKS = {"number": _number, "integer": _number, "text": _text, "array": _array}


def _shown(value: Any) -> str:
    try:
        said = json.dumps(value, ensure_ascii=False)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    return said if len(said) <= SHOWN else said[: SHOWN - 1] + "…"
