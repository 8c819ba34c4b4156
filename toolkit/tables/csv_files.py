"""CSV files as blocks of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from toolkit.errors import BrokenInput
from toolkit.tables import stream, tokens
from toolkit.tables.bad_rows import Tally
from toolkit.tables.files import Part
from toolkit.tables.parse import Columns, Parsed, parse
from toolkit.tables.schema import Schema

BLOCK = 1 << 19
"""Bytes per block. Measured: 0.25 to 2 MB are alike, 4 MB took 3.7 times as long."""

UNDER_WAY = 4
"""Blocks of one file that may be parsed ahead of their reader."""

_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CsvFiles:
    """One CSV or its shards, each with a header line or none."""

    parts: tuple[Part, ...]

    def blocks(self, part: Part, schema: Schema, tally: Tally, pool: Executor) -> Iterator[Columns]:
        """The rows of a file in its order.

        Raises:
            BrokenInput: no content where a header should be, a missing column, a line beyond 1 MiB, damaged gzip, or
                a malformed row where the tally refuses them.
            MissingError: the file must not be read.
        """
        line = 1
        for parsed in stream.ahead(_parsed, _blocks(part, schema), pool, UNDER_WAY):
            for (offset, what), place in zip(parsed.bad, parsed.places, strict=True):
                tally.refuse(f"{part.name}:{line + offset}", what, row=tally.seen + place)
            tally.place = _placed(part, line, tally.seen, parsed)
            line += parsed.lines
            tally.seen += parsed.rows
            if stream.size(parsed.columns):
                yield parsed.columns


@dataclass(frozen=True, eq=False)
class _Block:
    data: bytes
    found: tokens.Tokens | None
    width: int
    positions: list[int]
    schema: Schema
    skipped: int = 0
    """Lines of the header, if it is just before this block."""


def header_of(part: Part) -> list[str]:
    """The fields of a file's first row.

    Raises:
        BrokenInput: there is none.
    """
    data = b""
    for chunk in part.chunks(BLOCK):
        data += chunk
        if (row := tokens.first_row(data, final=False)) is not None:
            return _names(row[0])
        _check_length(data, part, 1)
    row = tokens.first_row(data + b"\n", final=True) if data.strip() else None
    if row is None:
        raise BrokenInput("is empty", where=part.name, remedy="give a file with rows")
    return _names(row[0])


def _blocks(part: Part, schema: Schema) -> Iterator[_Block]:
    """Whole rows of a file. Where quotes decide what is whole, the block is tokenised here, else by its reader."""
    names = header_of(part) if schema.header else list(schema.names)
    positions, width = schema.positions(names, part.name), len(names)
    carry, line, before, skipped = b"", 1, schema.header, 0
    for chunk in _and_end(part.chunks(BLOCK)):
        final = not chunk
        data = carry + chunk
        if final and data and not data.endswith(b"\n"):
            data += b"\n"
        if line == 1 and not carry and data.startswith(_MARK):
            data = data[len(_MARK) :]
        if before:
            row = tokens.first_row(data, final=final)
            if row is None:
                carry = data
                continue
            skipped, before = data.count(b"\n", 0, row[1]), False
            line += skipped
            data = data[row[1] :]
        found = None
        cut = data.rfind(b"\n") + 1
        if b'"' in data:
            found = tokens.tokenise(data, width, final=final)
            cut = found.consumed
        carry = data[cut:]
        line += data.count(b"\n", 0, cut)
        _check_length(carry, part, line)
        if cut:
            yield _Block(data[:cut], found, width, positions, schema, skipped)
            skipped = 0


def _parsed(block: _Block) -> Parsed:
    found = block.found or tokens.tokenise(block.data, block.width)
    parsed = parse(block.data, found, block.schema, block.positions)
    if not block.skipped:
        return parsed
    bad = tuple((line + block.skipped, what) for line, what in parsed.bad)
    return replace(
        parsed,
        bad=bad,
        lines=parsed.lines + block.skipped,
        line_of=lambda place: parsed.line_of(place) + block.skipped,
    )


def _placed(part: Part, line: int, first: int, parsed: Parsed) -> Callable[[int], str]:
    return lambda row: f"{part.name}:{line + parsed.line_of(row - first)}"


def _and_end(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield from chunks
    yield b""


def _names(fields: list[bytes]) -> list[str]:
    return [field.decode("utf-8", "replace").removeprefix("\ufeff").strip() for field in fields]


def _check_length(data: bytes, part: Part, line: int) -> None:
    if len(data) > 2 * tokens.LONGEST:
        raise BrokenInput(
            "has a row longer than 1 MiB", where=f"{part.name}:{line}", remedy="give a CSV with lines, in UTF-8"
        )
