"""A made-up data set that small models learn in seconds: ten blurred places on a 28 x 28 image."""

from __future__ import annotations

import numpy as np

from toolkit.datasets import _dataset


def dataset(
    *, train: int = 300, evaluation: int = 100, noise: float = 0.3, wrong_evaluation: bool = False
) -> _dataset.Dataset:
    """A data set shaped like mnist; ``wrong_evaluation`` mislabels what must not influence training."""
    rng = np.random.default_rng(5)
    labels = np.arange(train + evaluation, dtype=np.int64) % 10
    images = rng.random((len(labels), 28, 28), dtype=np.float32) * np.float32(noise)
    for i, label in enumerate(labels):
        row, column = 4 + 10 * (label // 4), 3 + 6 * (label % 4)
        images[i, row : row + 4, column : column + 4] += np.float32(1 - noise)
    found = _dataset.identities(images)
    rows = np.arange(len(labels))
    if wrong_evaluation:
        labels = np.where(rows < train, labels, (labels + 1) % 10)
    return _dataset.Dataset(
        name="blobs",
        source="made up",
        inputs={"image": images},
        labels=labels,
        identities=found,
        train_rows=rows[:train],
        calibration_rows=rows[:50],
        evaluation_rows=rows[train:],
        rule="the last ones",
    )
