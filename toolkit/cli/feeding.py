"""The samples of an evaluation as blocks: out of memory, or out of a table that is read as it is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from devices.evaluation.engine import Samples
from devices.evaluation.table import ROWS
from toolkit.cli import functions
from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput, UsageError
from toolkit.features.columns import MISSING_INT
from toolkit.prediction import Contract
from toolkit.prediction import samples as tables
from toolkit.store import key_of, sha256_bytes, sha256_file
from toolkit.tables.files import find

_LABEL = "label"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """An evaluation set.

    Args:
        name: what to call it.
        digest: of the samples, labels and all.
        chunks: gives groups of :data:`devices.evaluation.table.ROWS` rows, anew each time it is called.
        shown: the column that each input tensor holds, of a model of tables: texts are bytes in the tensors.
        slices: the columns that slices are made of.
    """

    name: str
    digest: str
    chunks: Callable[[], Iterator[tables.Chunk]]
    shown: Mapping[str, str] = dataclasses.field(default_factory=dict)
    slices: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Samples]:
        """The blocks in their order."""
        for index, chunk in enumerate(self.chunks()):
            rows = {column: readable(chunk.tensors[key]) for key, column in self.shown.items()}
            yield Samples(index=index, inputs=chunk.tensors, labels=chunk.labels, rows=rows)

    def sliced(self) -> Iterator[dict[str, np.ndarray]]:
        """Of each block the columns that slices are made of, ``[N]``, by name.

        Raises:
            UsageError: there is no such column, file or function.
            BrokenInput: a function fails, or gives no value a row.
        """
        calls = {name: functions.load(name) for name in self.slices if functions.is_one(name)}
        for chunk in self.chunks():
            yield {
                name: self._called(name, calls[name], chunk) if name in calls else self._column(name, chunk)
                for name in self.slices
            }

    def _column(self, name: str, chunk: tables.Chunk) -> np.ndarray:
        if name in chunk.columns:
            return chunk.columns[name]
        tensor = next((key for key, column in self.shown.items() if column == name), name)
        found = chunk.tensors.get(tensor)
        if found is None or not self._flat(tensor, found):
            flat = [self.shown.get(key, key) for key, values in chunk.tensors.items() if self._flat(key, values)]
            there = ", ".join([*sorted({*chunk.columns, *flat}), _LABEL])
            raise UsageError(f"there is no column {name!r}", where="--slices", remedy=f"there are: {there}")
        return readable(found)

    def _flat(self, tensor: str, values: np.ndarray) -> bool:
        """Whether a tensor holds one value a row: a number, or of a model of tables a text."""
        return values.size == len(values) or (values.dtype == np.uint8 and tensor in self.shown)

    def _called(self, name: str, function: Callable[..., Any], chunk: tables.Chunk) -> np.ndarray:
        columns = {
            self.shown.get(key, key): readable(values) if self._flat(key, values) else values
            for key, values in chunk.tensors.items()
        } | chunk.columns
        if chunk.labels is not None:
            columns[_LABEL] = chunk.labels
        count = len(next(iter(chunk.tensors.values())))
        found = functions.call(name, function, columns)
        values = np.asarray(found)
        if values.shape != (count,) or values.dtype.kind not in "biufUS":
            raise BrokenInput(
                f"gave {values.dtype} {list(values.shape)} for {count} rows",
                where=f"--slices {name}",
                remedy="let it return one value a row: array [N] of yes and no, numbers or texts",
            )
        return np.where(values, "yes", "no") if values.dtype.kind == "b" else values


def readable(values: np.ndarray) -> np.ndarray:
    """A tensor's values as a person reads them: texts of bytes ``[N, L]``, a missing integer as NaN."""
    if values.dtype == np.uint8 and values.ndim == 2 and values.shape[1] != 1:
        packed = np.ascontiguousarray(values).view(f"S{values.shape[1]}")[:, 0]
        return np.char.decode(packed, "utf-8", "replace")
    flat = values.reshape(len(values)) if values.size == len(values) else values
    if flat.dtype == np.int32 and (flat == MISSING_INT).any():
        return np.where(flat == MISSING_INT, np.nan, flat.astype(np.float64))
    return flat


def of_split(split: Split, *, name: str, shown: Mapping[str, str], slices: Sequence[str]) -> Source:
    """An evaluation set that is in memory."""

    def chunks() -> Iterator[tables.Chunk]:
        for start in range(0, len(split), ROWS):
            rows = slice(start, start + ROWS)
            tensors = {key: values[rows] for key, values in split.inputs.items()}
            columns = {key: values[rows] for key, values in split.columns.items()}
            yield tables.Chunk(tensors, None if split.labels is None else split.labels[rows], columns)

    labels = None if split.labels is None else sha256_bytes(np.ascontiguousarray(split.labels).tobytes())
    # The digest is of the samples alone, and what is asked of them decides as much.
    digest = key_of([split.digest, labels])
    return Source(
        name=name,
        digest=digest,
        chunks=chunks,
        shown=shown,
        slices=tuple(slices),
    )


def of_table(name: str, contract: Contract, *, slices: Sequence[str]) -> Source:
    """An evaluation set in a table: CSV, TFRecord or JSON lines, sharded or not."""
    shown = shown_by(contract)
    taken = set(shown.values()) or {spec.name for spec in contract.inputs or ()}
    extra = tuple(s for s in slices if s not in taken and not functions.is_one(s))
    return Source(
        name=name,
        digest=key_of([sha256_file(path) for path in find(name)]),
        chunks=lambda: tables.chunks(name, contract, columns=extra, rows=ROWS),
        shown=shown,
        slices=tuple(slices),
    )


def shown_by(contract: Contract) -> dict[str, str]:
    """The column that each input tensor of a model of tables holds."""
    if contract.spec is None:
        return {}
    taken = {tensor.name for tensor in contract.spec.inputs()}
    return {c.tensor: c.source for c in contract.spec.columns if c.tensor in taken}
