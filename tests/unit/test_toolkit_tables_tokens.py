"""Fields of a CSV: as Python's csv module has them, and the same column-wise as one by one."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.tables import tokens
from toolkit.tables.tokens import Tokens, tokenise

NASTY = st.text('ab1,"\n\r \t', max_size=60).map(str.encode)
CELL = st.text('ab1é,"\n\r \t', max_size=8)


def rows(block: bytes, found: Tokens) -> list[list[tuple[bytes, bool]]]:
    """What every field says, and whether it was quoted."""
    return [
        [(tokens.content(block, int(s), int(e), bool(q)), bool(q)) for s, e, q in zip(*row, strict=True)]
        for row in zip(found.starts, found.ends, found.quoted, strict=True)
    ]


def whole(block: bytes) -> bytes:
    return block if block.endswith(b"\n") else block + b"\n"


@given(NASTY, st.integers(1, 3))
@example(b'"a",b\n"c""d",e\n', 2)
@example(b'a"b,c\n', 2)
@example(b'"a,b\nc,d\n"e",f\n', 2)
@example(b'  "a"  , b \r\n', 2)
@example(b'"a"\r,b\n', 2)
@example(b'""\n\n \n', 1)
def test_column_wise_and_one_by_one_agree(block: bytes, columns: int) -> None:
    block = whole(block)
    quick, slow = tokenise(block, columns), tokens._one_by_one(block, columns, True)
    assert rows(block, quick) == rows(block, slow)
    assert quick.rows.tolist() == slow.rows.tolist()
    assert quick.bad == slow.bad
    assert quick.consumed == slow.consumed == len(block)


@given(st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=6))
def test_what_the_csv_module_writes_is_read_back(table: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(table)
    block = out.getvalue().encode()
    found = tokenise(block, 2)
    assert [[cell.decode() for cell, _ in row] for row in rows(block, found)] == table
    assert found.bad == ()
    assert tokens._columnwise(block, 2) is not None, "and it is read column-wise"


@given(NASTY, st.integers(1, 3), st.integers(0, 60))
def test_a_block_that_is_not_whole_gives_the_rows_that_are(block: bytes, columns: int, cut: int) -> None:
    block = whole(block)
    first = tokenise(block[:cut], columns, final=False)
    rest = block[first.consumed :]
    second = tokenise(rest, columns) if rest else None
    together = rows(block, first) + (rows(rest, second) if second else [])
    bad = list(first.bad) + [(at + first.consumed, what) for at, what in (second.bad if second else ())]
    everything = tokenise(block, columns)
    assert together == rows(block, everything)
    assert bad == list(everything.bad)


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (b" a , b\t\n", [b"a", b"b"]),
        (b'" a ",b\n', [b" a ", b"b"]),
        (b' "a" ,b\r\n', [b"a", b"b"]),
        (b'"a,b\nc","d""e"\n', [b"a,b\nc", b'd"e']),
        (b'a"b,c""d\n', [b'a"b', b'c""d']),
        (b",\n", [b"", b""]),
        (b'"",""\n', [b"", b""]),
        ("é,ü\n".encode(), ["é".encode(), "ü".encode()]),
    ],
)
def test_one_row(block: bytes, fields: list[bytes]) -> None:
    found = tokenise(block, 2)
    assert [[cell for cell, _ in row] for row in rows(block, found)] == [fields]
    assert found.bad == ()


@pytest.mark.parametrize(
    ("block", "bad"),
    [
        (b"a,b\nc\nd,e\n", [(4, "has 1 field, not 2")]),
        (b"a,b\nc,d,e\n", [(4, "has 3 fields, not 2")]),
        (b'a,b\n"c,d\ne,f\n', [(4, "has a quote that is never closed")]),
        (b'a,b\n"c"d,e\nf,g\n', [(4, "has text after a closing quote")]),
    ],
)
def test_a_malformed_row_costs_its_own_line_only(block: bytes, bad: list[tuple[int, str]]) -> None:
    found = tokenise(block, 2)
    assert list(found.bad) == bad
    assert len(found.rows) == block.count(b"\n") - 1


def test_an_unclosed_quote_is_given_up_after_the_longest_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "LONGEST", 20)
    block = b'a,b\n"c,d\n' + b"e,f\n" * 10
    found = tokenise(block, 2, final=False)
    assert [at for at, _ in found.bad] == [4]
    assert len(found.rows) == 11
    assert found.consumed == len(block)


def test_the_first_row_with_text() -> None:
    assert tokens.first_row(b'\n\r\n"a,b",c\nd,e\n', final=True) == ([b"a,b", b"c"], 11)
    assert tokens.first_row(b"a,b", final=False) is None
    assert tokens.first_row(b"\n\n", final=True) is None
