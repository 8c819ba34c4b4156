"""Numbers read column-wise are the numbers that Python reads, to the last bit, and nothing else is a number."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.tables import decimals

DIGITS = st.text("0123456789", max_size=22)
PLAIN = st.builds(
    lambda s, a, d, b: f"{s}{a}{d}{b}", st.sampled_from(["", "-", "+"]), DIGITS, st.sampled_from(["", "."]), DIGITS
)
NASTY = st.text("0123456789.+-eEinfa_ x", min_size=1, max_size=12)


def between_singles(single: float, digits: int) -> str:
    """A decimal next to the middle between two float32, where rounding twice goes wrong."""
    value = np.float32(single)
    middle = (float(value) + float(np.nextafter(value, np.float32(np.inf)))) / 2
    return f"{middle:.{digits}f}"


TIES = st.builds(between_singles, st.floats(0.0009765625, 1024, width=32), st.integers(10, 18))


def laid_out(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fields one after the other, as in a row, and where they begin and end."""
    data = [t.encode() for t in texts]
    ends = np.cumsum([len(d) + 1 for d in data]) - 1
    starts = ends - np.array([len(d) for d in data])
    return np.frombuffer(b",".join(data) + b"\n", np.uint8), starts, ends


def as_python(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf|infinity|nan)", text, re.ASCII | re.IGNORECASE):
        return None
    exact = float(text)
    with np.errstate(over="ignore"):
        single = np.float32(exact)
    return None if np.isinf(single) and text.strip("+-")[0] not in "iI" else float(single)


@given(st.lists(st.one_of(PLAIN, NASTY, TIES).filter(bool), min_size=1, max_size=20))
@example(["1.00000005960464478", "0.5", "-0", "16777217", "9999999999999999999", "3.4028236e38", "1e39", "1e999"])
@example(["728.76980590820312", "862.317169189453125", "28.301068305969242"])  # wrong by one float32 if rounded twice
@example(["+", "-", ".", "-.", "1..2", "--1", "1-", "1_000", "0x10", "1e", "infin", "nan", "-inf", "5.", ".5"])
def test_floats_are_those_of_python_rounded_to_float32(texts: list[str]) -> None:
    values, good = decimals.floats(*laid_out(texts))
    wanted = [as_python(t) for t in texts]
    assert good.tolist() == [w is not None for w in wanted]
    for value, want, text in zip(values.tolist(), wanted, texts, strict=True):
        if want is not None:
            assert value == want or (math.isnan(value) and math.isnan(want)), text
            assert math.copysign(1, value) == math.copysign(1, want) or math.isnan(want), text
    assert values.dtype == np.float32


@given(st.lists(st.one_of(st.integers(-(2**64), 2**64).map(str), PLAIN, NASTY).filter(bool), min_size=1, max_size=20))
@example([str(2**63 - 1), str(2**63), str(-(2**63)), str(-(2**63) - 1), "+7", "007", "1.", ".1", "1.0", "-"])
def test_ints_are_those_of_python_within_int64(texts: list[str]) -> None:
    values, good = decimals.ints(*laid_out(texts))
    for text, value, is_good in zip(texts, values.tolist(), good.tolist(), strict=True):
        wanted = int(text) if re.fullmatch(r"[+-]?[0-9]{1,25}", text) else None
        inside = wanted is not None and -(2**63) <= wanted < 2**63
        assert is_good == inside, text
        assert value == (wanted if inside else 0)


@pytest.mark.parametrize("text", ["١٢", "1\u00a0", "１"])
def test_digits_of_other_scripts_are_no_numbers(text: str) -> None:
    assert decimals.read_float(text.encode()) is None
    assert decimals.read_int(text.encode()) is None
    assert float(text), "Python itself would take it"


def test_the_first_fields_of_a_buffer_have_nothing_before_them() -> None:
    values, good = decimals.floats(*laid_out(["1", "2.5", "1234567.5"]))
    assert (values.tolist(), good.tolist()) == ([1.0, 2.5, 1234567.5], [True] * 3)


def test_short_fields_among_longer_ones_take_nothing_from_their_neighbours() -> None:
    texts = ["9" * 18, "1", "9" * 18, "-2", "7.25"]
    values, _ = decimals.floats(*laid_out(texts))
    assert values.tolist() == [float(np.float32(float(t))) for t in texts]
