"""Labels that are values: which outputs they fit, and in what shape."""

from __future__ import annotations

import math

import numpy as np

from toolkit.errors import BrokenInput, UsageError


def one_number(outputs: np.ndarray) -> bool:
    """Whether outputs ``[N]``, ``[N, 1]`` or longer hold one number a sample."""
    return math.prod(outputs.shape[1:]) == 1


def are_targets(labels: np.ndarray | None, outputs: np.ndarray) -> bool:
    """Whether labels are what several numbers a sample should have been, as of an autoencoder: shaped like them."""
    return labels is not None and labels.dtype.kind == "f" and labels.ndim > 1 and labels.shape == outputs.shape


def values(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Labels as float64, ``[N]`` or shaped like the outputs.

    Args:
        labels: finite numbers, ``[N]`` or ``[N, 1]``, or shaped like the outputs.
        outputs: what they are to be compared with, one number a sample unless the labels are shaped like them.

    Raises:
        UsageError: the outputs are not one number a sample.
        BrokenInput: labels that do not fit them, or are no finite numbers.
    """
    found = np.asarray(labels)
    if are_targets(found, outputs) and not one_number(outputs) and np.isfinite(found).all():
        return found.astype(np.float64)
    if not one_number(outputs):
        raise UsageError(
            f"rmse is of one number a sample, the outputs have shape {list(outputs.shape)}", remedy="use accuracy"
        )
    if not found.ndim or len(found) != len(outputs) or not one_number(found):
        raise BrokenInput(f"{list(found.shape)} labels do not fit {len(outputs)} samples", where="labels")
    if found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise BrokenInput("are not all finite numbers", where="labels", remedy="remove rows without a value")
    return found.reshape(len(found)).astype(np.float64)
