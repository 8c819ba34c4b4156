"""Rows out of a file, whatever it is, as blocks of the tensors that a model takes: memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, UsageError
from toolkit.prediction import archives, columns, lines
from toolkit.prediction.contract import Contract
from toolkit.prediction.tally import Numbered

ROWS = 1 << 18
"""Rows that are answered at a time, at most. Each time a process starts: 0.3 s for a .tflite, 5 for a SavedModel."""

BYTES = 32 << 20
"""Bytes of tensors that are answered at a time, about; one group of rows more if that is larger."""

STDIN = "-"

Columns = dict[str, Any]
Reader = Callable[[str, Contract, Numbered], Iterator[tuple[np.ndarray, Columns]]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """Some rows: their numbers, int64 ``[N]`` from 0, and their tensors by name, ``[N, ...]``."""

    numbers: np.ndarray
    tensors: dict[str, np.ndarray]

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        return sum(array.nbytes for array in self.tensors.values())


def reader_of(name: str) -> Reader:
    """How a file of that name is read.

    Raises:
        UsageError: the name does not say.
    """
    plain = Path(name).name.lower().removesuffix(".gz")
    if name == STDIN or plain.endswith((".jsonl", ".ndjson")):
        return lines.read
    if plain.endswith(".npz"):
        return archives.read
    if ".csv" in plain or ".tfrecord" in plain:
        return columns.read
    raise UsageError(
        "the name does not say what is in it",
        where=name,
        remedy="give a .jsonl (one JSON object a line), .csv, .tfrecord or .npz, or - for JSON lines from stdin",
    )


def open_rows(name: str, contract: Contract, tally: Numbered) -> Iterator[Rows]:
    """The rows of a file in their order.

    Args:
        name: a file or a glob: ``.jsonl``, ``.csv``, ``.tfrecord`` (all three gzipped or not) or ``.npz``; ``-`` is
            JSON lines from stdin.
        contract: what the model takes.
        tally: counts what was met and left out.

    Raises:
        UsageError: no such file, or a name that does not say what it is.
        BrokenInput: a malformed row where they are not skipped, a missing column, no rows at all, a damaged file.
        MissingError: a file must not be read.
    """
    return _answerable(reader_of(name)(name, contract, tally), contract, name, tally)


def _answerable(
    groups: Iterable[tuple[np.ndarray, Columns]], contract: Contract, name: str, tally: Numbered
) -> Iterator[Rows]:
    waiting: list[Rows] = []
    empty = True
    for numbers, found in groups:
        if not len(numbers):
            continue
        try:
            tensors = contract.tensors(found)
        except BrokenInput as error:
            where = f"{'stdin' if name == STDIN else name}{f': {error.where}' if error.where else ''}"
            raise BrokenInput(error.what, where=where, remedy=error.remedy) from error
        waiting.append(Rows(numbers=numbers, tensors=tensors))
        empty = False
        if sum(rows.bytes for rows in waiting) >= BYTES or sum(len(r.numbers) for r in waiting) >= ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)
    if empty:
        what = f"all of its {tally.left_out:,} rows are malformed" if tally.left_out else "has no rows"
        first = f" (the first: {tally.named[0]})" if tally.named else ""
        raise BrokenInput(what + first, where="stdin" if name == STDIN else name, remedy="give a file with rows")


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    tensors = {name: np.concatenate([p.tensors[name] for p in parts]) for name in parts[0].tensors}
    return Rows(numbers=np.concatenate([p.numbers for p in parts]), tensors=tensors)
