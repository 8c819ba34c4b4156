"""Zeros in the report: shown where there are any, with what they are worth and what they are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes.report_records import artifact, sparsity

from toolkit.records import Sparsity
from toolkit.report import document, html, terminal, zeros
from toolkit.report.loading import Records

FIRST, SECOND, LAST = sparsity()


def shown(*kernels: Sparsity) -> dict[str, Any] | None:
    return zeros.of(document.build(sparsity=kernels))


def line(*kernels: Sparsity) -> str:
    return zeros.line(document.build(sparsity=kernels))


def test_the_line_names_the_kernels_that_have_some() -> None:
    assert line(FIRST, SECOND, LAST) == "hidden_1 46 %, hidden_2 12 %"
    assert line(LAST) == line() == ""


@pytest.mark.parametrize(("share", "said"), [(0.0101, "1 %"), (0.9999, "99 %"), (1.0, "100 %"), (0.01, "")])
def test_shares_are_whole_and_never_rounded_to_all(share: float, said: str) -> None:
    assert line(replace(FIRST, zeros=share)) == (f"hidden_1 {said}" if said else "")


def test_many_kernels_are_counted() -> None:
    many = [replace(FIRST, name=f"block_{i}/kernel", zeros=0.5) for i in range(11)]
    assert line(*many).endswith("block_7 50 % and 3 more")


def test_a_table_is_named_whole() -> None:
    assert line(replace(FIRST, name="features/wide")) == "features/wide 46 %"


def test_the_line_stands_below_the_table_once() -> None:
    made = terminal.render(document.build(artifacts=[artifact("int8")], sparsity=sparsity(), warnings=["odd"]))
    below = [text for text in made.splitlines() if text]
    place = below.index("zeros: hidden_1 46 %, hidden_2 12 %")
    assert below[place + 1] == "warning: odd"
    assert "int8" in "".join(below[:place])
    assert "zeros" not in terminal.render(document.build(artifacts=[artifact("int8")], sparsity=[LAST]))


def test_without_zeros_the_page_has_no_such_section() -> None:
    assert shown(LAST) is None
    for kernels, there in (([LAST], False), ([FIRST, LAST], True)):
        page = html.render(document.build(sparsity=kernels), Records(sparsity=kernels))
        assert ('id="zeros"' in page) == there


def test_kernels_without_zeros_count_in_the_gain() -> None:
    found = shown(FIRST, LAST)
    assert found is not None
    assert [row["share"] for row in found["rows"]] == ["46 %", "<1 %"]
    assert "of 406,528 bytes of kernels gzip leaves 225,818, 56 %" in found["gain"]


def test_compaction_takes_out_rows_and_columns() -> None:
    # A quarter of the inputs and half of the units: of that kernel 3/4 * 1/2 would stay.
    found = shown(FIRST)
    assert found is not None
    assert "196 inputs and 64 units are zero throughout" in found["compaction"]
    assert "62 % fewer bytes" in found["compaction"]
    one = shown(replace(FIRST, dead_inputs=1, dead_units=0))
    assert one is not None
    assert ": 1 input is zero throughout" in one["compaction"]
    none = shown(SECOND)
    assert none is not None
    assert "nothing that compaction could take out" in none["compaction"]
    # Every input of a kernel that is zero throughout.
    empty = shown(replace(FIRST, zeros=1.0, dead_inputs=784, dead_units=128))
    assert empty is not None
    assert "100 % fewer" in empty["compaction"]


def test_names_are_escaped() -> None:
    evil = replace(FIRST, name="<script>alert(1)</script>\x1b[2J/kernel")
    made = document.build(sparsity=[evil])
    assert "<script>" not in html.render(made, Records(sparsity=[evil]))
    assert "\x1b" not in terminal.render(made)
