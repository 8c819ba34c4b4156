"""Arrays of an npz as columns: raw or encoded for a model with a feature spec, tensors for one without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit.datasets import _archive
from toolkit.errors import BrokenInput
from toolkit.features.columns import identifier
from toolkit.prediction.contract import Contract
from toolkit.prediction.tally import Numbered
from toolkit.tables.files import find

ROWS = 4096
"""Rows at a time: the arrays are in memory, the tensors made of them are not."""


def read(name: str, contract: Contract, tally: Numbered) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Groups of rows: their numbers and their columns by field name; errors as of :func:`open_rows`.

    Arrays that the model does not read are passed over. There are no malformed rows here, only wrong arrays.
    """
    for path in find(name):
        arrays = _archive.read(path, remedy="save plain arrays with np.savez")
        chosen = {}
        for field in contract.fields:
            key = field.name if field.name in arrays or contract.spec is None else identifier(field.name)
            if key not in arrays:
                raise BrokenInput(
                    f"has no array named {field.name!r} (it has: {', '.join(arrays) or 'nothing'})",
                    where=str(path),
                    remedy="name arrays like the model's inputs: np.savez(path, NAME=...)",
                )
            chosen[field.name] = arrays[key]
        flat = next((key for key, array in chosen.items() if not array.ndim), None)
        if flat is not None:
            raise BrokenInput("is a single value, not rows", where=f"{path}, array {flat!r}", remedy="save it as [N]")
        counts = {key: len(array) for key, array in chosen.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{key}: {count}" for key, count in counts.items())
            raise BrokenInput(f"arrays have different numbers of rows ({listed})", where=str(path))
        count = next(iter(counts.values()))
        for first in range(0, count, ROWS):
            rows = min(ROWS, count - first)
            tally.rows += rows
            tally.seen += rows
            yield tally.kept(), {key: array[first : first + rows] for key, array in chosen.items()}
