"""Where the fields of a CSV begin and end: RFC 4180, with commas, quotes and line ends inside quotes.

A field is quoted if its first character but spaces is a quote. Quoted fields keep their spaces, others lose those
around them. Lines without text are skipped. A quote that is never closed spoils its own line, not the rest of the
file.

Almost every block is tokenised column-wise; one whose quotes are not as RFC 4180 has them goes field by field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

LONGEST = 1 << 20
"""Bytes that one row may have; what is longer is no table."""

_NEWLINE, _COMMA, _QUOTE, _RETURN, _SPACE, _TAB = b'\n,"\r \t'
_PLAIN = re.compile(rb"[^,\n]*")
_AFTER_QUOTE = re.compile(rb"[ \t]*(?:\r?\n|,)")

_Field = tuple[int, int, bool]


@dataclass(frozen=True, eq=False, kw_only=True)
class Tokens:
    """The fields of a block.

    ``starts``, ``ends`` (int64) and ``quoted`` (bool) are ``[N, C]``; ``rows`` (int64 ``[N]``) is where each row
    begins. ``bad`` are rows without C fields: where they begin, and what is wrong. ``consumed`` is where the first
    row begins that is not whole yet.
    """

    starts: np.ndarray
    ends: np.ndarray
    quoted: np.ndarray
    rows: np.ndarray
    bad: tuple[tuple[int, str], ...]
    consumed: int


def tokenise(block: bytes, columns: int, *, final: bool = True) -> Tokens:
    """Finds the fields.

    Args:
        block: begins where a row begins.
        columns: how many fields a row must have.
        final: nothing follows; the last row must end with a line end all the same.
    """
    tokens = _columnwise(block, columns)
    if tokens is None or len(block) - tokens.consumed > (0 if final else LONGEST):
        return _one_by_one(block, columns, final)
    return tokens


def first_row(block: bytes, *, final: bool) -> tuple[list[bytes], int] | None:
    """The fields of the first row with text, and where the next one begins; ``None`` if there is none in ``block``."""
    at = 0
    while (row := _scan(block, at, final)) is not None:
        at = row.end
        if row.problem:
            return [f.strip() for f in block[:at].split(b",")], at
        if not row.blank:
            return [content(block, *field) for field in row.fields], at
    return None


def content(block: bytes, start: int, end: int, quoted: bool) -> bytes:
    """What a field says."""
    found = block[start:end]
    return found.replace(b'""', b'"') if quoted and b'"' in found else found


def _columnwise(block: bytes, columns: int) -> Tokens | None:
    """All fields at once; ``None`` where a quote is not as RFC 4180 has it."""
    buffer = np.frombuffer(block, np.uint8)
    newline = buffer == _NEWLINE
    separator = newline | (buffer == _COMMA)
    has_quotes = b'"' in block
    if has_quotes:
        # The number of quotes so far is odd inside quotes; a doubled quote leaves and enters again.
        separator &= ~np.logical_xor.accumulate(buffer == _QUOTE)
    separators = np.flatnonzero(separator)
    closing = np.flatnonzero(newline[separators])  # the last field of every row
    if not len(closing):
        return None if has_quotes else _collected([], [], [], columns, 0)
    separators = separators[: closing[-1] + 1]
    ends = separators.copy()
    starts = np.concatenate([[0], separators[:-1] + 1])
    rows = starts[np.concatenate([[0], closing[:-1] + 1])]
    _strip(block, buffer, starts, ends, closing)
    quoted = np.zeros(len(ends), dtype=bool)
    if has_quotes and not _unquote(block, buffer, separators, starts, ends, quoted):
        return None
    counts = np.diff(closing, prepend=-1)
    blank = (counts == 1) & (starts[closing] == ends[closing]) & ~quoted[closing]
    whole = (counts == columns) & ~blank
    bad = tuple((int(rows[i]), _ragged(int(counts[i]), columns)) for i in np.flatnonzero(~whole & ~blank))
    if not whole.all():
        chosen = ((closing[whole] - columns + 1)[:, None] + np.arange(columns)).ravel()
        starts, ends, quoted, rows = starts[chosen], ends[chosen], quoted[chosen], rows[whole]
    return Tokens(
        starts=starts.reshape(-1, columns),
        ends=ends.reshape(-1, columns),
        quoted=quoted.reshape(-1, columns),
        rows=rows,
        bad=bad,
        consumed=int(separators[-1]) + 1,
    )


def _strip(block: bytes, buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray, closing: np.ndarray) -> None:
    """Leaves the spaces around every field out, and the first half of ``\\r\\n``."""
    if b"\r" in block:
        ends[closing] -= (ends[closing] > starts[closing]) & (buffer[ends[closing] - 1] == _RETURN)
    if b" " not in block and b"\t" not in block:
        return
    rows = np.arange(len(starts))
    for edge, offset, step in ((starts, 0, 1), (ends, -1, -1)):
        left = rows
        while len(left := left[(starts[left] < ends[left]) & _is_blank(buffer[edge[left] + offset])]):
            edge[left] += step


def _is_blank(characters: np.ndarray) -> np.ndarray:
    return (characters == _SPACE) | (characters == _TAB)


def _unquote(
    block: bytes, buffer: np.ndarray, separators: np.ndarray, starts: np.ndarray, ends: np.ndarray, quoted: np.ndarray
) -> bool:
    """Takes the quotes off fields in place; whether all of them are where RFC 4180 wants them."""
    quotes = np.flatnonzero(buffer[: separators[-1]] == _QUOTE)
    counts = np.bincount(np.searchsorted(separators, quotes), minlength=len(separators))
    chosen = np.flatnonzero(counts)
    if not len(chosen):
        return True
    # A separator ends a field only outside quotes, so these have two or more.
    edges = (buffer[starts[chosen]] == _QUOTE) & (buffer[ends[chosen] - 1] == _QUOTE)
    if not edges.all():
        return False
    starts[chosen] += 1
    ends[chosen] -= 1
    quoted[chosen] = True
    doubled = np.flatnonzero(counts > 2)
    return all(b'"' not in block[starts[i] : ends[i]].replace(b'""', b"") for i in doubled)


@dataclass(frozen=True)
class _Row:
    fields: list[_Field]
    end: int
    problem: str = ""

    @property
    def blank(self) -> bool:
        return len(self.fields) == 1 and self.fields[0][0] == self.fields[0][1] and not self.fields[0][2]


def _one_by_one(block: bytes, columns: int, final: bool) -> Tokens:
    rows: list[list[_Field]] = []
    begins: list[int] = []
    bad: list[tuple[int, str]] = []
    at = 0
    while at < len(block) and (row := _scan(block, at, final)) is not None:
        if row.problem or (len(row.fields) != columns and not row.blank):
            bad.append((at, row.problem or _ragged(len(row.fields), columns)))
        elif not row.blank:
            rows.append(row.fields)
            begins.append(at)
        at = row.end
    return _collected(rows, begins, bad, columns, at)


def _scan(block: bytes, begin: int, final: bool) -> _Row | None:
    """The row that begins at ``begin``; ``None`` if it is not whole yet."""
    found: list[_Field] = []
    at = begin
    while True:
        start = at
        while block[start : start + 1] in (b" ", b"\t"):
            start += 1
        if block[start : start + 1] != b'"':
            match = _PLAIN.match(block, at)
            assert match is not None
            stop = end = match.end()
            if stop == len(block):
                return None
            if block[stop] == _NEWLINE and end > start and block[end - 1] == _RETURN:
                end -= 1
            while end > start and block[end - 1] in b" \t":
                end -= 1
            found.append((min(start, end), end, False))
            at = stop + 1
        else:
            close = _closing_quote(block, start + 1)
            after = _AFTER_QUOTE.match(block, close + 1) if close >= 0 else None
            if after is None:
                return _broken(block, begin, close, final)
            found.append((start + 1, close, True))
            at = after.end()
        if block[at - 1] == _NEWLINE:
            return _Row(found, at)


def _closing_quote(block: bytes, at: int) -> int:
    while (quote := block.find(b'"', at)) >= 0 and block[quote + 1 : quote + 2] == b'"':
        at = quote + 2
    return quote


def _broken(block: bytes, begin: int, close: int, final: bool) -> _Row | None:
    """The line of a quote that is not closed, or is followed by text: given up, and the next line is a row again."""
    undecided = close < 0 or not block[close + 1 :].strip(b" \t\r")
    newline = block.find(b"\n", begin)
    if newline < 0 or (undecided and not final and len(block) - begin <= LONGEST):
        return None
    return _Row([], newline + 1, "has a quote that is never closed" if close < 0 else "has text after a closing quote")


def _ragged(found: int, columns: int) -> str:
    return f"has {found} field{'' if found == 1 else 's'}, not {columns}"


def _collected(
    rows: list[list[_Field]], begins: list[int], bad: list[tuple[int, str]], columns: int, consumed: int
) -> Tokens:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), columns, 3)
    return Tokens(
        starts=table[:, :, 0],
        ends=table[:, :, 1],
        quoted=table[:, :, 2].astype(bool),
        rows=np.array(begins, dtype=np.int64),
        bad=tuple(bad),
        consumed=consumed,
    )
