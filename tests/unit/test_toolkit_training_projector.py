"""Sprites, and planes: pictures side by side, and the two axes of vectors with their signs settled."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.training import codes, projector
from toolkit.training.plane import principal_plane, rounded

pytestmark = pytest.mark.slow


def images(n: int, *, channels: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(0).random((n, 8, 6, *channels), dtype=np.float32)


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_sprites_are_grey_or_coloured(channels: tuple[int, ...]) -> None:
    import tensorflow as tf

    given = images(5, channels=channels)
    png, size = projector.sprite(given)
    sheet = tf.io.decode_png(png).numpy()
    assert size == (8, 6)
    assert sheet.shape == (24, 18, *(channels or (1,)))
    assert np.array_equal(sheet[8:16, 6:12], np.round(255 * given[4].reshape(8, 6, -1)))


def test_a_sprite_stays_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(projector, "SPRITE_LIMIT", 20)
    png, size = projector.sprite(images(9))
    assert size == (4, 3)
    assert tf.io.decode_png(png).shape == (12, 9, 1)


@pytest.mark.parametrize(
    "given", [np.zeros((3, 4, 2)), np.full((3, 8, 6), 255.0), np.zeros((3, 8, 6, 4)), np.zeros((3, 5))]
)
def test_what_is_no_image_has_no_sprite(given: np.ndarray) -> None:
    found = codes._images({"x": given})
    assert (found is None) == (given.shape != (3, 4, 2))


def test_the_sign_of_an_axis_is_settled() -> None:
    vectors = np.random.default_rng(5).normal(size=(40, 3)) * [3, 2, 1]
    every = np.ones(40, dtype=bool)
    points, explained = principal_plane(vectors, every)
    mirrored, same = principal_plane(vectors * [1, 1, 1] + 100, every)
    assert np.allclose(points, mirrored)
    assert explained == pytest.approx(same)
    # The first axis runs mostly along the first dimension, and the same way.
    assert np.corrcoef(points[:, 0], vectors[:, 0])[0, 1] > 0.9
    assert np.corrcoef(points[:, 1], vectors[:, 1])[0, 1] > 0.9
    # Negated vectors: negated points, not those of another sign's luck.
    assert np.allclose(principal_plane(-vectors, every)[0], -points)


@pytest.mark.parametrize(
    ("vectors", "explained"),
    [
        (np.ones((4, 3), dtype=np.float32) * np.float32(0.1), None),
        (np.zeros((1, 3)), None),
        (np.array([[0.0], [1.0], [5.0]]), (1.0, 0.0)),
        (np.array([[0.0, 0.0], [1.0, 1.0]]), (1.0, 0.0)),
    ],
)
def test_small_planes(vectors: np.ndarray, explained: tuple[float, float] | None) -> None:
    points, found = principal_plane(vectors, np.ones(len(vectors), dtype=bool))
    assert found == (None if explained is None else pytest.approx(explained))
    assert points.shape == (len(vectors), 2)
    assert np.allclose(points[:, 1], 0)
    if explained is None:
        assert not points.any()


def test_points_have_four_digits() -> None:
    assert rounded(np.array([[1.23456, -0.000123456]])) == ((1.235, -0.0001235),)
