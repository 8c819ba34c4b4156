"""A table's data set as a model sees it: the spec learned from the training rows, all rows encoded by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from toolkit.datasets._dataset import Dataset
from toolkit.errors import BrokenInput
from toolkit.features import FeatureSpec, adapt, dumps, encode

BLOCK = 8192
"""Rows that are learned from, or encoded, at a time."""


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
        inputs=_tensors(learned, raw.inputs),
        spec=learned,
        facts={**raw.facts, "features": dumps(learned)},
    )


def _tensors(spec: FeatureSpec, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As :func:`toolkit.features.encode`, a block at a time: its steps in between never exist for all rows."""
    rows = len(next(iter(raw.values())))
    found: dict[str, np.ndarray] = {}
    for first in range(0, rows, BLOCK):
        part = slice(first, first + BLOCK)
        for name, values in encode(spec, {n: v[part] for n, v in raw.items()}).items():
            found.setdefault(name, np.empty((rows, *values.shape[1:]), values.dtype))[part] = values
    return found


def _blocks(raw: Dataset) -> Iterator[dict[str, np.ndarray]]:
    rows = raw.train_rows
    for first in range(0, len(rows), BLOCK):
        part = rows[first : first + BLOCK]
        yield {name: values[part] for name, values in raw.inputs.items()}
