"""Embeddings on the page: dots where the points are, names that do not collide, colours with their legend."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes.report_records import codes, column

from toolkit.records import Embedding
from toolkit.report import document, html, labels, maps
from toolkit.report.labels import Place
from toolkit.report.loading import Records


def page(*embeddings: Embedding) -> str:
    return html.render(document.build(embeddings=embeddings), Records(embeddings=embeddings))


def dots(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Style and place of every dot on a map."""
    return [
        (style, float(x), float(y))
        for style, path, _ in found["dots"]
        for x, y in re.findall(r"M(\S+) (\S+)h", path)
    ]  # fmt: skip


def random_column(n: int, *, seed: int = 0, counts: list[int] | None = None) -> Embedding:
    points = np.random.default_rng(seed).normal(size=(n, 2))
    names = tuple(f"word number {i}" for i in range(n))
    shown = tuple(counts or [1] * n)
    return replace(column(), points=tuple(map(tuple, points.tolist())), labels=names, counts=shown, total=n)


def test_a_run_without_embeddings_has_no_such_section() -> None:
    assert "What the model learned" not in page()
    assert "What the model learned" in page(column())


def test_dots_keep_the_shape_of_the_points() -> None:
    square = replace(codes(), points=((0.0, 0.0), (2.0, 0.0), (2.0, 1.0)), labels=("0", "1", "2"))
    (_, ax, ay), (_, bx, by), (_, cx, cy) = sorted(dots(maps.of(square)))
    assert (bx, by) == (cx, cy + (bx - ax) / 2)  # one scale both ways, and up is up
    assert ay == by
    for found in (maps.of(square), maps.of(codes()), maps.of(random_column(500))):
        assert all(0 < x < maps.WIDTH and 0 < y < found["height"] for _, x, y in dots(found))


def test_every_class_has_its_colour_and_the_legend_tells_it() -> None:
    found = maps.of(codes())
    legend = {label: style for style, label in found["legend"]}
    assert list(legend) == list("0123456789")
    assert len(set(legend.values())) == 10
    at = {style: np.mean([(x, y) for s, x, y in dots(found) if s == style], axis=0) for style in legend.values()}
    assert {label: len([d for d in dots(found) if d[0] == style]) for label, style in legend.items()} == dict.fromkeys(
        legend, 30
    )
    for label in found["labels"]:  # a class's name is among its dots
        place = np.array([label.left / 100 * maps.WIDTH, label.top / 100 * found["height"]])
        nearest = min(at, key=lambda style: float(np.hypot(*(at[style] - place))))
        assert nearest == legend[label.text]
    assert len(found["labels"]) == 10


def test_no_class_covers_another() -> None:
    order = [style for style, _, _ in maps.of(codes(per_class=200))["dots"]]
    assert order[:10] == order[10:20] == [f"k{i}" for i in range(10)]


def test_ranges_have_colours_in_order_and_no_names() -> None:
    ranges = ("< 1", "[1, 2)", "≥ 2")
    made = replace(codes(), labels=tuple(ranges[i % 3] for i in range(300)), classes=ranges, ordered=True)
    found = maps.of(made)
    assert found["labels"] == []
    assert found["legend"] == [("r0", "< 1"), ("r1", "[1, 2)"), ("r3", "≥ 2")]


def test_samples_without_labels_are_of_one_colour() -> None:
    found = maps.of(replace(codes(), labels=(), classes=()))
    assert {style for style, _, _ in dots(found)} == {"k0"}
    assert len(dots(found)) == 300
    assert found["legend"] == found["labels"] == []


def test_ids_that_do_not_occur_are_pale_and_below() -> None:
    found = maps.of(column("Cash", "Card", unseen=("(unknown)",)))
    assert [(style, title) for style, _, title in found["dots"]] == [
        ("pale", "(unknown), 0 times"), ("k0", "Cash, 10 times"), ("k0", "Card, 11 times"),
    ]  # fmt: skip
    assert found["unseen"] == 1
    assert {label.text: label.style for label in found["labels"]} == {"Cash": "", "Card": "", "(unknown)": "pale"}


def test_of_very_many_ids_the_outermost_have_names() -> None:
    made = random_column(400, counts=[i % 2 for i in range(400)])
    found = maps.of(made)
    assert 8 <= len(found["labels"]) <= 24
    assert "the outermost have their names on them" in page(made)
    away = {name: np.hypot(*point) for name, point in zip(made.labels, made.points, strict=True)}
    named = [away[label.text] for label in found["labels"]]
    assert np.mean(named) > np.quantile(list(away.values()), 0.8)
    assert all(int(label.text.split()[-1]) % 2 for label in found["labels"])  # those that occur
    turns = [np.arctan2(*dict(zip(made.labels, made.points, strict=True))[label.text]) for label in found["labels"]]
    assert max(turns) - min(turns) > np.pi


def boxes(
    found: list[labels.Label], size: tuple[float, float], pixels: float
) -> list[tuple[float, float, float, float]]:
    """Where the names stand on a map of that width, from the style that the page gives them."""
    made = []
    for label in found:
        x = label.left / 100 * pixels + label.right
        y = label.top / 100 * pixels * size[1] / size[0] + label.down
        width = 6.9 * len(label.text)
        left = x - {"e": 0.0, "w": width}.get(label.anchor, width / 2)
        top = y - {"n": 15.0, "s": 0.0}.get(label.anchor, 7.5)
        made.append((left, top, left + width, top + 15))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_names_do_not_cover_each_other(seed: int) -> None:
    points = np.random.default_rng(seed).uniform([50, 50], [950, 550], size=(40, 2))
    points[:12] = points[0] + np.arange(12)[:, None]  # a crowd
    named = [Place(f"word {i:02}", x, y) for i, (x, y) in enumerate(points.tolist())]
    found = labels.placed(named, (1000, 600), pixels=(range(560, 860, 50), range(270, 590, 50)), dots=points)
    assert len(found) >= 29
    assert any(label.leader for label in found)
    narrow = [label for label in found if label.narrow]
    assert 5 < len(narrow) < len(found)
    widths = [(pixels, found) for pixels in range(560, 861, 10)] + [(pixels, narrow) for pixels in range(270, 590, 10)]
    for pixels, shown in widths:
        tolerance = 0.6  # places are rounded, and not all widths were tried
        made = boxes(shown, (1000, 600), pixels)
        for i, a in enumerate(made):
            assert a[0] > -tolerance
            assert a[2] < pixels + tolerance
            for b in made[:i]:
                apart = (
                    a[0] > b[2] - tolerance
                    or b[0] > a[2] - tolerance
                    or a[1] > b[3] - tolerance
                    or b[1] > a[3] - tolerance
                )
                assert apart, (pixels, a, b)


def test_the_first_name_has_the_place_that_two_want() -> None:
    both = [Place("first name", 50.0, 100.0), Place("other name", 50.0, 100.0)]
    found = labels.placed(both, (1000, 200), pixels=([100], [50]), dots=np.empty((0, 2)))
    assert [(label.text, label.narrow) for label in found] == [("first name", False)]


def test_a_name_goes_where_no_dot_is() -> None:
    right, crowd = Place("name", 500.0, 300.0), np.array([[500.0, 300.0], [540.0, 300.0], [560.0, 300.0]])
    alone = labels.placed([right], (1000, 600), pixels=([500], [270]), dots=crowd[:1])
    beside = labels.placed([right], (1000, 600), pixels=([500], [270]), dots=crowd)
    assert (alone[0].anchor, beside[0].anchor) == ("e", "w")


def test_long_names_are_cut() -> None:
    assert labels.shortened("a" * 28) == "a" * 28
    assert labels.shortened("a" * 29) == "a" * 27 + "…"


@pytest.mark.parametrize(
    "made",
    [
        replace(column("one"), explained=None),
        replace(column("a", "b"), points=((0.0, 0.0), (0.0, 0.0)), explained=None),
        replace(column("a", "b"), points=((0.0, 0.0), (0.0, 3.0)), counts=()),
        replace(column("a", "b"), points=((0.0, 1e-30), (1e30, 0.0)), counts=(0, 0)),
        replace(column(), points=(), labels=(), counts=()),
        replace(
            codes(), classes=tuple(f"class {i}" for i in range(300)), labels=tuple(f"class {i}" for i in range(300))
        ),
    ],
)
def test_odd_embeddings_have_a_picture_too(made: Embedding) -> None:
    found = maps.of(made)
    assert len(dots(found)) == len(made.points)
    assert all(np.isfinite([x, y]).all() for _, x, y in dots(found))
    assert ("axis 1" in found["axes"]) == (made.explained is None)
    assert f"{len(made.points)} ids" in page(made) or f"{len(made.points)} of 5,000 evaluation samples" in page(made)


def test_texts_are_escaped_and_pictures_are_described() -> None:
    evil = '<script>alert("x")</script>'
    shown = page(
        replace(column(evil, "b"), name=evil), replace(codes(), name=evil, classes=(evil,), labels=(evil,) * 300)
    )
    assert "<script" not in shown
    assert shown.count('role="img" aria-label="Scatter of ') == 2
    assert "Scatter of codes of 300 samples at layer hidden_2 in 10 colours by class" in page(codes())
    assert "87 % of the variance" in page(column()) or "88 % of the variance" in page(column())
