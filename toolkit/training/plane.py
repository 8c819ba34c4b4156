"""Vectors as points in a plane: the two directions in which they differ most."""

from __future__ import annotations

import numpy as np

from toolkit.errors import CheckFailed

POINTS = 2_000
"""Most points of a picture: what a page carries and an eye takes in."""


def principal_plane(
    vectors: np.ndarray, fit: np.ndarray, where: str = ""
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """The first two principal components, by singular value decomposition in float64.

    Args:
        vectors: ``[N, D]``.
        fit: bool ``[N]``, the rows, one at least, that mean and axes are taken of; the others are only projected.
        where: whose vectors they are, for an error.

    Returns:
        float64 ``[N, 2]``, 0 along a second axis that is not there; and the share of the variance of the ``fit`` rows
        along each axis, ``None`` if they are all equal. An axis points to where its component of largest magnitude
        (the first of equal ones) is positive, so that equal vectors give equal pictures.

    Raises:
        CheckFailed: a vector holds NaN or infinity.
    """
    if not np.isfinite(vectors).all():
        raise CheckFailed("its vectors hold NaN or infinity", where=where, remedy="train with a lower learning rate")
    exact = vectors.astype(np.float64)
    centred = exact - exact[fit].mean(axis=0)
    _, spread, axes = np.linalg.svd(centred[fit], full_matrices=False)
    points = np.zeros((len(exact), 2))
    # The usual tolerance of a rank (as numpy.linalg.matrix_rank has it), of the vectors before they were centred:
    # what rounding leaves of equal ones is no variance.
    if spread[0] <= np.finfo(np.float64).eps * max(exact.shape) * np.abs(exact).max() * np.sqrt(exact.size):
        return points, None
    axes = axes[:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    points[:, : len(axes)] = centred @ axes.T
    shares = [*(spread**2 / (spread**2).sum()).tolist(), 0.0]
    return points, (shares[0], shares[1])


def rounded(points: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Points ``[N, 2]`` to four significant digits: a hundredth of a pixel on a page."""
    return tuple((float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in points.tolist())


def some(count: int, most: int, seed: int) -> np.ndarray:
    """Up to ``most`` of the numbers below ``count``, by chance, ascending: int64 ``[K]``."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
