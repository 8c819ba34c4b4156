"""Embeddings as pictures: points in a plane, coloured by class, or named.

Both axes have one scale, so that a distance is a distance whichever way it runs. Dots are an SVG; names are text of the
page, which keeps its size on a phone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.records import Embedding
from toolkit.report.labels import Label, Place, placed

WIDTH = 1000
"""Units across a map; its height follows from the points, within the two next."""

_LOWEST, _HIGHEST = 420, 800
_MARGIN = 70

_CLASS_COLOURS, _RANGE_COLOURS = 10, 5
"""How many ``page.css`` has, as ``k0`` and ``r0`` and so on; an eleventh class starts again, and has its name on it."""

_TURNS = 8
"""Dots are drawn in so many turns of all classes, so that no class lies on top of the others."""

_ALL_NAMED = 64
"""Up to so many ids have their names where there is room; of more, the outermost do."""

_OUTERMOST = 24
_BROAD = 16
"""From so many names on a map takes the page's whole width."""

_POINTED = 400
"""Up to so many dots tell their name when pointed at."""

_SCREEN, _BROAD_SCREEN, _PHONE = range(450, 621, 34), range(558, 859, 50), range(262, 589, 54)
"""Widths, in pixels, that ``page.css`` gives a map, a broad one, and either below 640 pixels."""


def of(embedding: Embedding) -> dict[str, Any]:
    """What the page shows of one record; lengths in units, or per cent where they are a name's."""
    points, height = _on_map(np.asarray(embedding.points, dtype=np.float64).reshape(-1, 2))
    of_codes = embedding.kind == "codes"
    wanted = _class_places(embedding, points) if of_codes else _id_places(embedding, points)
    broad = len(wanted) >= _BROAD and not of_codes
    labels = placed(
        wanted,
        (WIDTH, height),
        pixels=(_BROAD_SCREEN if broad else _SCREEN, _PHONE),
        dots=np.empty((0, 2)) if of_codes else points,
        centred=of_codes,
    )
    return {
        "name": embedding.name,
        "of_codes": of_codes,
        "n": len(points),
        "total": embedding.total,
        "size": embedding.size,
        "height": round(height),
        "broad": broad,
        "axes": _axes(embedding),
        "alt": _alt(embedding),
        "dots": _dots(embedding, points, _styles(embedding)),
        "small": len(points) > _POINTED,
        "labels": labels,
        "named": _named(embedding, labels),
        "unseen": sum(count == 0 for count in embedding.counts),
        "legend": list(zip(_palette(embedding), embedding.classes, strict=True)),
    }


def _on_map(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The points in units from the left and the top, and the height of the map."""
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(2), np.zeros(2))
    across, up = (high - low).tolist()
    inner = WIDTH - 2 * _MARGIN
    height = min(max(inner * up / across if across else _LOWEST, _LOWEST), _HIGHEST)
    scale = min(inner / across if across else np.inf, (height - 2 * _MARGIN) / up if up else np.inf)
    moved = (points - (low + high) / 2) * (scale if np.isfinite(scale) else 0)
    return np.column_stack([WIDTH / 2 + moved[:, 0], height / 2 - moved[:, 1]]), height


def _palette(embedding: Embedding) -> list[str]:
    """The style of each class."""
    if embedding.ordered:
        return [f"r{i * _RANGE_COLOURS // len(embedding.classes)}" for i in range(len(embedding.classes))]
    return [f"k{i % _CLASS_COLOURS}" for i in range(len(embedding.classes))]


def _styles(embedding: Embedding) -> list[str]:
    """The style of each dot: of its class; of an id, ``pale`` if it does not occur."""
    if embedding.kind == "codes":
        style = dict(zip(embedding.classes, _palette(embedding), strict=True))
        return [style.get(label, "k0") for label in embedding.labels] or ["k0"] * len(embedding.points)
    return ["k0" if count else "pale" for count in embedding.counts] or ["k0"] * len(embedding.points)


def _class_places(embedding: Embedding, points: np.ndarray) -> list[Place]:
    """The name of every class in the middle of its dots, the commonest class first."""
    of = np.array(embedding.labels, dtype=object)
    found = []
    for label, style in zip(embedding.classes, _palette(embedding), strict=True):
        own = points[of == label] if len(of) else points[:0]
        # Ranges of a quantity lie in each other's middle: the legend tells them apart.
        if len(own) and not embedding.ordered:
            x, y = np.median(own, axis=0)
            found.append((len(own), Place(label, float(x), float(y), f"class {style}")))
    return [place for _, place in sorted(found, key=lambda f: -f[0])]


def _id_places(embedding: Embedding, points: np.ndarray) -> list[Place]:
    """The ids to be named: the commonest first; of very many the outermost of those that occur."""
    if not embedding.labels:
        return []
    counts = np.array(embedding.counts or [1] * len(points))
    order = np.argsort(-counts, kind="stable") if len(points) <= _ALL_NAMED else _outermost(points, counts > 0)
    return [
        Place(embedding.labels[i], float(points[i, 0]), float(points[i, 1]), "" if counts[i] else "pale")
        for i in order.tolist()
    ]


def _outermost(points: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Of the ``chosen`` points the one farthest from their middle in each of 24 directions, the farthest first."""
    away = points - (points[chosen].mean(axis=0) if chosen.any() else 0)
    distance = np.where(chosen, np.hypot(away[:, 0], away[:, 1]), -1)
    direction = ((np.arctan2(away[:, 1], away[:, 0]) / (2 * np.pi) + 1) * _OUTERMOST).astype(int) % _OUTERMOST
    order = np.argsort(-distance, kind="stable")
    order = order[chosen[order]]
    return order[np.sort(np.unique(direction[order], return_index=True)[1])]


def _named(embedding: Embedding, labels: list[Label]) -> str:
    """Which ids have their names on them, where not all have."""
    if embedding.kind == "codes" or len(labels) == len(embedding.points):
        return ""
    if len(embedding.points) <= _ALL_NAMED:
        return "a name without room shows when its dot is pointed at"
    return "the outermost have their names on them"


def _dots(embedding: Embedding, points: np.ndarray, styles: list[str]) -> list[tuple[str, str, str]]:
    """Style, path and title of the dots, pale ones at the bottom; very many share a path and have no title.

    A stroke of next to no length with round ends is a dot of the same size on every page.
    """
    strokes = [f"M{x:.1f} {y:.1f}h.1" for x, y in points.tolist()]
    if embedding.kind == "column" and embedding.labels and len(points) <= _POINTED:
        counts = [f", {n:,} times" for n in embedding.counts] or [""] * len(points)
        rows = [(s, d, label + n) for s, d, label, n in zip(styles, strokes, embedding.labels, counts, strict=True)]
        return sorted(rows, key=lambda row: row[0] != "pale")
    found: dict[tuple[int, str], str] = {}
    drawn: dict[str, int] = {}
    for stroke, style in zip(strokes, styles, strict=True):
        drawn[style] = drawn.get(style, -1) + 1
        turn = -1 if style == "pale" else drawn[style] % _TURNS
        found[turn, style] = found.get((turn, style), "") + stroke
    return [(style, path, "") for (_, style), path in sorted(found.items())]


def _axes(embedding: Embedding) -> tuple[str, str]:
    if embedding.explained is None:
        return "axis 1", "axis 2"
    first, second = (f"{100 * share:.0f} %" for share in embedding.explained)
    return f"axis 1: {first}", f"axis 2: {second}"


def _alt(embedding: Embedding) -> str:
    """The picture in a sentence."""
    n = f"{len(embedding.points):,}"
    if embedding.kind == "codes":
        by = f" in {len(embedding.classes)} colours by {'range' if embedding.ordered else 'class'}"
        what = f"codes of {n} samples at layer {embedding.name}{by if embedding.classes else ''}"
    else:
        what = f"the embedding of column {embedding.name}, {n} ids"
    held = f", {100 * sum(embedding.explained):.0f} % of the variance" if embedding.explained else ""
    return f"Scatter of {what}, along the first two principal components{held}"
