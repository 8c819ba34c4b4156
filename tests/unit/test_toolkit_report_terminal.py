"""The terminal table: complete, readable at 100 columns without colour, harmless with odd names."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from fakes.report_records import LONG, NUMBERS, artifact, comparison, measurement, records
from rich.console import Console

from toolkit.report import document, lines, terminal


def text(width: int = 100) -> str:
    return terminal.render(document.build(**records()), width=width)


def test_every_recipe_and_number_is_there_at_100_columns() -> None:
    shown = text()
    assert all(name in shown for name in NUMBERS if name != LONG)
    assert all(len(line) <= 100 for line in shown.splitlines())
    row, below = next((a, b) for a, b in zip(shown.splitlines(), shown.splitlines()[1:], strict=False) if "int8 " in a)
    assert row.split() == ["int8", "127,904", "0.27", "5.59", "0.38", "unstable", "95.10", "−0.30", "99.30", "pass"]
    assert below.split() == ["96,870", "0.22", "5.55–5.63", "faster", "−0.56…−0.07", "too", "few"]


def test_no_number_is_cut_and_nothing_is_coloured() -> None:
    for width in (60, 80, 100, 140):
        assert "127,904" in text(width)
        assert "\x1b" not in text(width)
        assert max(map(len, text(width).splitlines())) <= width


def test_a_narrow_terminal_gets_blocks() -> None:
    assert "int8 on cpu\n  bytes        127,904 (96,870 gzip)\n" in text(70)
    assert "int8 on cpu\n" not in text(100)


def test_what_went_wrong_stands_below_with_its_reason() -> None:
    shown = text(200)
    for line in (
        "quarantined: artifacts/quarantine/pruned_int8.tflite, tolerance: PSNR 12.1 dB < 30 dB",
        "failed: float16 on cpu, time: the runner died of SIGSEGV",
        "throttled: int16x8 on cpu, the last fifth took 1.09 times the first",
        "not shown: int8 on cpu against saved-model, not enough samples: 2,380 more needed",
        "warning: the offline digits were used: 5,000 in all",
    ):
        assert line in shown.splitlines()
    assert "FAIL" in shown


def test_a_good_run_needs_no_notes() -> None:
    made = document.build(artifacts=[artifact("int8")], measurements=[measurement("int8")])
    assert lines.notes(made) == []


def test_markup_and_control_characters_are_text() -> None:
    odd = "[red]x\x1b[2J[/]"
    shown = terminal.render(document.build(artifacts=[artifact("int8", recipe=odd)], warnings=["a\x1b]0;b\x07\nc"]))
    assert "[red]x [2J[/]" in shown
    assert "warning: a ]0;b c" in shown
    assert "\x1b" not in shown


def test_a_console_that_knows_only_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    terminal.show(document.build(**records()), Console(file=stream, width=100, color_system=None))
    stream.flush()
    assert b"-0.30" in raw.getvalue()


def test_targets_are_told_apart() -> None:
    made = [measurement("int8"), measurement("int8", target="phone")]
    shown = terminal.render(document.build(artifacts=[artifact("int8")], measurements=made))
    assert "on cpu" in shown
    assert "on phone" in shown


def test_a_file_measured_without_a_conversion_has_a_line() -> None:
    found = lines.lines(document.build(measurements=[measurement("int8")]))
    assert [(r["recipe"], r["target"], r["artifact"]) for r in found] == [("int8", "cpu", None)]


def test_a_quarantined_file_has_no_numbers_of_an_older_one() -> None:
    (bad, old) = lines.lines(
        document.build(artifacts=[artifact("int8", passed=False)], measurements=[measurement("int8")])
    )
    assert (bad["artifact"]["quarantined"], bad["measurement"]) == (True, None)
    assert (old["artifact"], old["measurement"]["recipe"]) == (None, "int8")


def test_an_empty_document_prints_nothing() -> None:
    assert terminal.render(document.build()).strip() == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "0.00"), (0.01234, "0.0123"), (0.44, "0.440"), (5.506, "5.51"), (9.996, "10.0"),
     (38.14, "38.1"), (99.96, "100"), (999.7, "1,000"), (12345.6, "12,346"), (-5.5, "−5.50")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert lines.number(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(-0.002, "−0.20"), (0.0, "0.00"), (-0.00001, "0.00"), (0.01, "+1.00")])
def test_points_have_a_sign(value: float, shown: str) -> None:
    assert lines.points(value) == shown


def test_budget_words() -> None:
    unjudged = replace(comparison("int8"), budget=None, verdict="not judged: no budget")
    rows = document.build(
        comparisons=[
            comparison("int8"),
            comparison("int8", passed=False, verdict="not enough samples: 3 more needed"),
            comparison("int8", passed=False, verdict="broken: NaN"),
            unjudged,
        ]
    )["comparisons"]
    assert [lines.budget_word(r) for r in rows] == ["kept", "too few", "broken", "not judged"]
