"""Decimal numbers out of bytes, a whole column at a time, exactly as ``float`` and ``int`` would read them.

Most numbers in a CSV are a sign, up to 19 digits and a dot. Read as an integer m with k digits after the dot, the
value is m / 10^k; for m < 2^53 and k <= 22 both are exact doubles and IEEE division rounds once, so the quotient is
the correctly rounded one (W. D. Clinger, "How to read floating point numbers accurately", PLDI 1990). Everything
else (exponents, more digits, inf, nan) goes to Python, one value at a time.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

WIDEST = 19
"""Characters after the sign that are read column-wise: 10^19 < 2^64."""

_EXACT_CHARS = 15
"""As many decimal digits always fit the 53 bits of a double."""

_INT = re.compile(rb"[+-]?[0-9]{1,25}\Z")
_FLOAT = re.compile(rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)\Z", re.IGNORECASE)
_POWERS = np.array([10**i for i in range(WIDEST + 1)], dtype=np.uint64)
_LIMIT = np.iinfo(np.int64)
_MAX32 = float(np.finfo(np.float32).max)


def read_float(text: bytes) -> float | None:
    """The float32 nearest to an ASCII decimal, as a Python float; ``None`` if it is none or is beyond float32.

    As ``float`` reads it, but without underscores, spaces and digits of other scripts.
    """
    if not is_decimal(text):
        return None
    value = float(text)
    with np.errstate(over="ignore"):
        single = float(np.float32(value))
    if abs(single) == np.inf and b"n" not in text.lower():  # digits, not "inf"
        return None
    return single


def is_decimal(text: bytes) -> bool:
    """Whether the text is a number at all, of whatever size."""
    return _FLOAT.match(text) is not None


def read_int(text: bytes) -> int | None:
    """An ASCII decimal integer within int64; ``None`` if it is none."""
    if not _INT.match(text):
        return None
    value = int(text)
    return value if _LIMIT.min <= value <= _LIMIT.max else None


def floats(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fields as float32.

    Args:
        buffer: uint8 ``[bytes]``.
        starts: int64 ``[N]``, first byte of each field; below ``ends`` (no empty fields).
        ends: int64 ``[N]``, one past the last byte.

    Returns:
        float32 ``[N]`` (0 where wrong) and bool ``[N]``: which fields are numbers.
    """
    negative, digits, after, ok = _digits(buffer, starts, ends)
    value = digits.astype(np.float64) / (10.0 ** np.arange(WIDEST + 1))[after]
    # Past 2^53 the two roundings can be off by 2 ulp: kept only where that cannot change the float32.
    slack = 2.0**-51
    with np.errstate(over="ignore"):
        ok &= (digits < 1 << 53) | (
            (value * (1 - slack)).astype(np.float32) == (value * (1 + slack)).astype(np.float32)
        )
        single = np.where(negative, -value, value).astype(np.float32)
    good = np.ones(len(single), dtype=bool)
    for row in np.flatnonzero(~ok):
        number = read_float(buffer[starts[row] : ends[row]].tobytes())
        good[row], single[row] = number is not None, 0.0 if number is None else number
    return single, good


def ints(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fields as int64; arguments and results as :func:`floats`."""
    negative, digits, after, ok = _digits(buffer, starts, ends)
    # A dot shows as digits after it, but for a trailing one: "3." has none, and is no integer either.
    ok &= (after == 0) & (buffer[ends - 1] != ord(".")) & (digits <= np.uint64(_LIMIT.max))
    whole = np.where(ok, digits, 0).astype(np.int64)
    whole = np.where(negative, -whole, whole)
    good = np.ones(len(whole), dtype=bool)
    for row in np.flatnonzero(~ok):
        number = read_int(buffer[starts[row] : ends[row]].tobytes())
        good[row], whole[row] = number is not None, number or 0
    return whole, good


def _digits(
    buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per field: is it negative, its digits as one uint64, how many of them are after the dot, and does that hold."""
    first = buffer[starts]
    negative = first == ord("-")
    lengths = ends - starts - (negative | (first == ord("+")))
    width = int(min(max(lengths.max(initial=1), 1), WIDEST, len(buffer)))
    # Every field as the `width` bytes that end where it ends. Characters go down, fields across: numpy adds up whole
    # rows of a matrix several times as fast as it adds up along short ones.
    windows = sliding_window_view(buffer, width)[np.maximum(ends - width, 0)]
    digit = np.ascontiguousarray(windows.T) - np.uint8(ord("0"))
    padding = np.clip(width - lengths, 0, width).astype(np.uint8)
    digit[np.arange(width, dtype=np.uint8)[:, None] < padding] = 0
    dot = digit == np.uint8(ord(".") - ord("0") & 0xFF)
    dots = dot.sum(axis=0, dtype=np.uint8)
    digit[dot] = 0
    ok = (digit <= 9).all(axis=0) & (dots <= 1) & (lengths > dots) & (lengths <= width) & (ends >= width)
    number = _weighted(digit)
    after = np.zeros(len(starts), dtype=np.intp)
    if dots.any():
        ok_dot = ok & (dots > 0)
        places = np.arange(width - 1, -1, -1, dtype=np.float32) @ dot.astype(np.float32)
        after[ok_dot] = places[ok_dot].astype(np.intp)
        # The dot took a place of its own: what is above it moves one place down.
        below = number % _POWERS[np.minimum(after + 1, WIDEST)]
        number = np.where(ok_dot, (number - below) // np.uint64(10) + below, number)
    return negative, number, after, ok


def _weighted(digit: np.ndarray) -> np.ndarray:
    """Digits uint8 ``[W, N]`` as uint64 ``[N]``; the matrix product is exact for 15 digits at a time."""
    split = max(0, len(digit) - _EXACT_CHARS)
    weights = 10.0 ** np.arange(len(digit) - split - 1, -1, -1)
    low = (weights @ digit[split:].astype(np.float64)).astype(np.uint64)
    if not split:
        return low
    high = (10.0 ** np.arange(split - 1, -1, -1) @ digit[:split].astype(np.float64)).astype(np.uint64)
    return high * _POWERS[_EXACT_CHARS] + low
