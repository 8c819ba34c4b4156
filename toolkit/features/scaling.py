"""Normalisation by constants that float16 holds exactly, so that a float16 artifact normalises as training did.

z = ((x * step) - centre) * factor - rest. ``step`` is a power of two that brings large columns into float16's range;
``rest`` makes up for what rounding ``centre`` to float16 lost. Standard library only.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from toolkit.features.kinds import Numeric

LIMIT = 2.0**96
"""Numbers from here on, either way, count as missing: no normalisation brings what is nearer beyond float32."""

_LARGEST = 65504.0
_RESOLUTION = 2.0**-24
"""Of float32: a column whose spread is less than this share of its mean is a constant with noise."""

_SMALLEST = 2.0**-14
_STEPS = (-15, 24)
"""Powers 2**-k that float16 holds."""


class Scaling(NamedTuple):
    """Constants of one numeric column, each exact in float16. ``fill`` is what stands for a missing value, as z."""

    step: float
    centre: float
    factor: float
    rest: float
    fill: float


def scaling(column: Numeric) -> Scaling:
    """The constants of an adapted numeric column.

    ``factor`` is 1 / std rounded to float16's 11 bits, 0.05 % at most.

    Raises:
        BrokenInput: mean and spread, or the default, lie outside what float16 can express, or the spread is below what
            float32 resolves at the mean.
    """
    mean, spread = _mean_and_spread(column)
    # The least shift that lets both the centre and the factor be normal float16 numbers.
    low = max(_log2(abs(mean) / _LARGEST), _log2(spread) - 14)
    high = _log2(spread * _LARGEST)
    k = max(math.ceil(low), min(0, math.floor(high)))
    if k > high or not _STEPS[0] <= k <= _STEPS[1] or spread < abs(mean) * _RESOLUTION:
        column.refuse(f"cannot be normalised: mean {mean:g}, spread {spread:g}", "give it in another unit")
    step = 2.0**-k
    factor, centre = _half(1 / (spread * step)), _half(mean * step)
    rest = _half((mean * step - centre) * factor)
    fill = 0.0 if column.default is None else ((column.default * step) - centre) * factor - rest
    if abs(fill) > _LARGEST:
        column.refuse(f"default = {column.default:g} is out of float16's range", "give another or normalise")
    return Scaling(step, centre, factor, rest, _half(fill))


def _mean_and_spread(column: Numeric) -> tuple[float, float]:
    if column.normalisation == "zscore":
        assert column.mean is not None
        assert column.std is not None
        return float(column.mean), float(column.std)
    if column.normalisation == "minmax":
        assert column.minimum is not None
        assert column.maximum is not None
        return float(column.minimum), float(column.maximum) - float(column.minimum)
    return 0.0, 1.0


def _half(value: float) -> float:
    """``value`` rounded to float16; what is too small to be normal there is 0."""
    rounded = float(struct.unpack("<e", struct.pack("<e", value))[0])
    return rounded if abs(rounded) >= _SMALLEST else 0.0


def _log2(value: float) -> float:
    return math.log2(value) if value > 0 else -math.inf
