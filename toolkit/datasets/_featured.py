"""A table's data set as a model sees it: the spec learned from the training rows, all rows encoded by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from toolkit.datasets._dataset import Dataset
from toolkit.errors import BrokenInput
from toolkit.features import FeatureSpec, adapt, dumps, encode

BLOCK = 8192
"""Rows that are learned from at a time."""


def encoded(raw: Dataset, spec: FeatureSpec) -> Dataset:
    """``raw`` with its columns as the spec's input tensors; splits and identities stay those of the raw rows.

    What the spec leaves open is learned from the training split alone.

    Raises:
        BrokenInput: a column is missing or of the wrong type, or the label's task is not the spec's.
    """
    task = "classification" if np.issubdtype(raw.labels.dtype, np.integer) else "regression"
    if spec.task not in (None, task):
        raise BrokenInput(
            f"says task = {spec.task!r}, and label {spec.label!r} is one of {task}",
            where="feature spec",
            remedy="correct or leave out its task",
        )
    learned = adapt(dataclasses.replace(spec, task=task), _blocks(raw))
    return dataclasses.replace(
        raw,
        inputs=encode(learned, raw.inputs),
        spec=learned,
        facts={**raw.facts, "features": dumps(learned)},
    )


def _blocks(raw: Dataset) -> Iterator[dict[str, np.ndarray]]:
    rows = raw.train_rows
    for first in range(0, len(rows), BLOCK):
        part = rows[first : first + BLOCK]
        yield {name: values[part] for name, values in raw.inputs.items()}
