"""Names beside dots, kept off each other: where each stands, and which ones a narrow page leaves out.

A name is so many pixels away from its dot, which is at so many per cent of the chart. So it is tried at several of the
widths that the chart can have: one that reaches over another dot meets that one's name at some. The page sets names in
its own font: their widths are estimates.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_LINE = 15
_LETTER, _WIDE_LETTER = 6.9, 12.5
"""Pixels, of 12 px type: a letter of the wider common sans serifs, and a Chinese or Japanese one."""

_LONGEST = 28
_RINGS = (8, 24, 40)
"""Pixels from a dot to its name, the nearest first; from the second on a line leads there."""

_DIRECTIONS = (0, 180, -90, 90, -45, 45, -135, 135, -20, 20, -160, 160)
"""Degrees (clockwise from the right) in which a name can stand from its dot, best first."""


class Place(NamedTuple):
    """A name and its dot, in the chart's units."""

    text: str
    x: float
    y: float
    style: str = ""


@dataclass(frozen=True)
class Label:
    """A name where it stands.

    ``left`` and ``top`` are its dot, in per cent of the chart; ``right`` and ``down`` the pixels from there to the
    point that it is set against with its middle (``anchor`` c, or n, s), its left (e) or its right edge (w).
    ``leader`` is length (pixels) and direction (degrees, clockwise) of a line from the dot; ``narrow``: a phone has
    room for it, too.
    """

    text: str
    left: float
    top: float
    right: float
    down: float
    anchor: str
    leader: tuple[float, float] | None
    style: str
    narrow: bool


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class _Stand(NamedTuple):
    """One way to stand: pixels from the dot, which edge is there, and the line that leads there."""

    right: float
    down: float
    anchor: str
    leader: tuple[float, float] | None


def placed(
    named: Sequence[Place],
    size: tuple[float, float],
    *,
    pixels: tuple[Sequence[float], Sequence[float]],
    dots: np.ndarray,
    centred: bool = False,
) -> list[Label]:
    """Labels of those that find room, so that none covers another, and few cover dots.

    Args:
        named: those that matter most first.
        size: width and height of the chart, in its units.
        pixels: widths of the chart, the least first: on a screen, and on a phone.
        dots: places ``[N, 2]`` that are better left free.
        centred: whether a name may stand on its place, and best does.
    """
    wide, narrow = (_Taken(size, widths) for widths in pixels)
    near = dots * pixels[0][0] / size[0]
    found = []
    for one in named:
        text = shortened(one.text)
        best: tuple[int, _Stand] | None = None
        for stand in _stands(centred):
            if wide.has_room(text, one, stand):
                covered = _covered(_boxes(text, one, stand, pixels[0][0] / size[0])[0], near)
                if best is None or covered < best[0]:
                    best = covered, stand
                if not covered:
                    break
        if best is None:
            continue
        wide.take(text, one, best[1])
        also_narrow = narrow.has_room(text, one, best[1])
        if also_narrow:
            narrow.take(text, one, best[1])
        left, top = round(100 * one.x / size[0], 2), round(100 * one.y / size[1], 2)
        found.append(Label(text, left, top, *best[1], style=one.style, narrow=also_narrow))
    return found


def shortened(text: str) -> str:
    """At most 28 characters, the last an ellipsis where some are missing."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def _stands(centred: bool) -> Iterator[_Stand]:
    if centred:
        yield _Stand(0, 0, "c", None)
    for ring in _RINGS:
        for degrees in _DIRECTIONS:
            right, down = ring * math.cos(math.radians(degrees)), ring * math.sin(math.radians(degrees))
            anchor = ("n" if down < 0 else "s") if abs(degrees) == 90 else "e" if right > 0 else "w"
            leader = None if ring == _RINGS[0] else (ring - 2.0, float(degrees))
            yield _Stand(round(right, 1), round(down, 1), anchor, leader)


def _boxes(text: str, at: Place, stand: _Stand, scale: float) -> list[_Box]:
    """What a name takes up, in pixels: itself, and the line that leads to it."""
    x, y = at.x * scale + stand.right, at.y * scale + stand.down
    width = sum(_WIDE_LETTER if unicodedata.east_asian_width(c) in "WF" else _LETTER for c in text)
    left = x - {"e": 0, "w": width}.get(stand.anchor, width / 2)
    top = y - {"n": _LINE, "s": 0}.get(stand.anchor, _LINE / 2)
    found = [_Box(left, top, left + width, top + _LINE)]
    if stand.leader:
        steps = [i / 6 for i in range(1, 6)]
        found += [
            _Box(x - stand.right * s - 1, y - stand.down * s - 1, x - stand.right * s + 1, y - stand.down * s + 1)
            for s in steps
        ]
    return found


class _Taken:
    """What is taken of a chart at each of some widths."""

    def __init__(self, size: tuple[float, float], widths: Sequence[float]) -> None:
        self._ratio, self._unit = size[1] / size[0], 1 / size[0]
        self._boxes: dict[float, list[_Box]] = {width: [] for width in widths}

    def has_room(self, text: str, at: Place, stand: _Stand) -> bool:
        """Whether a name would be inside, and meet nothing, at every width."""
        return all(self._fits(_boxes(text, at, stand, width * self._unit), width) for width in self._boxes)

    def take(self, text: str, at: Place, stand: _Stand) -> None:
        for width, boxes in self._boxes.items():
            boxes += _boxes(text, at, stand, width * self._unit)

    def _fits(self, boxes: list[_Box], width: float) -> bool:
        own, taken = boxes[0], self._boxes[width]
        inside = own.left >= 1 and own.top >= 1 and own.right <= width - 1 and own.bottom <= width * self._ratio - 1
        return inside and not any(box.meets(other) for box in boxes for other in taken)


def _covered(box: _Box, dots: np.ndarray) -> int:
    x, y = dots.reshape(-1, 2).T
    return int(((x > box.left - 3) & (x < box.right + 3) & (y > box.top) & (y < box.bottom)).sum())
