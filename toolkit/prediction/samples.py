"""A user's table as samples of a model: the tensors it takes and, where the file has them, the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from toolkit import tables
from toolkit.datasets._dataset import Split
from toolkit.datasets._npz import LABELS
from toolkit.errors import BrokenInput, UsageError, unknown_name
from toolkit.prediction.contract import Contract, Field
from toolkit.prediction.rows import open_rows, reader_of
from toolkit.prediction.tally import Numbered
from toolkit.store import sha256_file
from toolkit.tables.files import find

_LABEL = "label "
"""Under this name labels travel among the tensors; no tensor's name ends in a space."""
_COLUMN = "column "
"""Before the names of columns that travel with them; no tensor's name has a space."""


def is_table(name: str) -> bool:
    """Whether a file of that name (or glob) holds rows: .csv, .tfrecord or .jsonl, gzipped or not."""
    try:
        reader_of(name)
    except UsageError:
        return False
    return not name.endswith(".npz")


def read(name: str, contract: Contract, *, limit: int | None = None, seed: int = 0) -> tuple[Split, int]:
    """Samples of a model out of a table.

    The label is the spec's, or a column called ``label`` or ``labels``; a table without one gives no labels.

    Args:
        name: a file, or a glob of shards.
        contract: what the model takes, and the names of its classes where they are known.
        limit: at most this many rows, drawn uniformly from all of them; ``None``: every row.
        seed: of the draw.

    Returns:
        The samples in the file's order, and the number of rows that they were drawn from.

    Raises:
        UsageError, BrokenInput, MissingError: as :func:`toolkit.prediction.open_rows`; a label is none of the model's
            classes.
    """
    label, kind = _label(name, contract)
    if label is not None:
        contract = _Labelled(
            inputs=contract.inputs, spec=contract.spec, classes=contract.classes, label=label, kind=kind, name=name
        )
    tally = Numbered("error")
    chosen, total = _drawn(_blocks(name, contract, tally), limit, np.random.default_rng(seed))
    labels = chosen.pop(_LABEL, None)
    digest = "".join(sha256_file(path) for path in find(name)) if limit is None or total <= limit else None
    return Split(inputs=chosen, labels=labels, digest=_digest(chosen, labels, digest)), total


class Chunk(NamedTuple):
    """Some rows of a table: the model's tensors, the labels if there are any, and columns asked for besides."""

    tensors: dict[str, np.ndarray]
    labels: np.ndarray | None
    columns: dict[str, np.ndarray]


def chunks(name: str, contract: Contract, *, columns: Sequence[str] = (), rows: int) -> Iterator[Chunk]:
    """The rows of a table in groups of exactly ``rows``, the last one smaller; memory stays flat.

    Args:
        name: a file, or a glob of shards.
        contract: what the model takes.
        columns: of the file, that the model does not take: texts, or numbers as float64.
        rows: in a group.

    Raises:
        UsageError, BrokenInput, MissingError: as :func:`read`; a column that the file does not have.
    """
    label, kind = _label(name, contract)
    extra = tuple(Field(name=c, kind=k, optional=True) for c, k in _kinds(name, columns).items())
    wrapped = _Labelled(
        inputs=contract.inputs,
        spec=contract.spec,
        classes=contract.classes,
        label=label,
        kind=kind,
        name=name,
        extra=extra,
    )
    held: list[dict[str, np.ndarray]] = []
    count = 0
    for block in _blocks(name, wrapped, Numbered("error")):
        held.append(block)
        count += len(next(iter(block.values())))
        while count >= rows:
            joined = _joined(held)
            yield _chunk({key: values[:rows] for key, values in joined.items()})
            held = [{key: values[rows:] for key, values in joined.items()}]
            count -= rows
    if count:
        yield _chunk(_joined(held))


def _chunk(arrays: dict[str, np.ndarray]) -> Chunk:
    labels = arrays.pop(_LABEL, None)
    columns = {key[len(_COLUMN) :]: arrays.pop(key) for key in list(arrays) if key.startswith(_COLUMN)}
    return Chunk(arrays, labels, columns)


def _kinds(name: str, columns: Sequence[str]) -> dict[str, str]:
    """What kind the columns of a file are.

    Raises:
        UsageError: the file has none of that name, or does not say what it has.
    """
    if not columns:
        return {}
    if ".jsonl" in name or ".ndjson" in name:
        raise UsageError("does not say which columns it has", where=name, remedy="give a CSV or TFRecord to slice")
    types = {column.name: column.type for column in tables.open_table(name).schema.columns}
    for column in columns:
        if column not in types:
            raise unknown_name("column", column, types)
    return {column: {"string": "text", "int": "number", "float": "number"}[types[column]] for column in columns}


@dataclass(frozen=True, kw_only=True)
class _Labelled(Contract):
    """A contract whose rows hold a label too, and perhaps other columns."""

    label: str | None
    kind: str
    name: str
    extra: tuple[Field, ...] = ()

    @property
    def fields(self) -> tuple[Field, ...]:
        label = () if self.label is None else (Field(name=self.label, kind=self.kind, optional=False),)
        return (*super().fields, *label, *self.extra)

    def tensors(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        own = {field.name for field in super().fields}
        found = super().tensors({k: v for k, v in columns.items() if k in own})
        if self.label is not None:
            where = f"{self.name}, column {self.label!r}"
            found[_LABEL] = _numbers(np.asarray(columns[self.label]), self.classes, where)
        for field in self.extra:
            values = np.asarray(columns[field.name])
            found[_COLUMN + field.name] = values.astype(str) if field.kind == "text" else values.astype(np.float64)
        return found


def _label(name: str, contract: Contract) -> tuple[str | None, str]:
    """The label's column and its kind; no column: the rows are not labelled, or are not of a kind that says so."""
    if ".jsonl" in name or ".ndjson" in name:
        return None, ""
    types = {column.name: column.type for column in tables.open_table(name).schema.columns}
    taken = {field.name for field in contract.fields}
    wanted = (contract.spec.label,) if contract.spec is not None else LABELS
    found = next((label for label in wanted if label in types and label not in taken), None)
    if found is None:
        return None, ""
    return found, {"string": "text", "int": "integer", "float": "number"}[types[found]]


def _numbers(values: np.ndarray, classes: Sequence[str] | None, where: str) -> np.ndarray:
    """Labels as class numbers (int64) where the model has names for classes, else as they are."""
    texts = values.dtype.kind in "USO"
    if classes is None:
        if texts:
            raise BrokenInput("is text, and the names of the model's classes are not known", where=where)
        return values.astype(np.float64) if values.dtype.kind == "f" else values.astype(np.int64)
    numbers = {name: number for number, name in enumerate(classes)}
    shown = [str(value) if isinstance(value, str) else f"{value:.9g}" for value in values.tolist()]
    strange = next((text for text in shown if text not in numbers), None)
    if strange is not None:
        raise BrokenInput(
            f"has {strange!r}, which is none of the model's classes ({', '.join(classes)[:200]})",
            where=where,
            remedy="correct the label, or leave its column out",
        )
    return np.array([numbers[text] for text in shown], dtype=np.int64)


def _blocks(name: str, contract: Contract, tally: Numbered) -> Iterator[dict[str, np.ndarray]]:
    for block in open_rows(name, contract, tally):
        yield block.tensors


def _drawn(
    blocks: Iterator[dict[str, np.ndarray]], limit: int | None, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], int]:
    """Of all rows the ``limit`` with the smallest of random keys: every set of rows is as likely as any other."""
    held: list[dict[str, np.ndarray]] = []
    keys = np.empty(0)
    total = 0
    for block in blocks:
        n = len(next(iter(block.values())))
        total += n
        held.append(block)
        keys = np.concatenate([keys, rng.random(n)])
        if limit is not None and len(keys) > limit:
            joined = _joined(held)
            # In the file's order, so that a table which fits is given as it is.
            rows = np.sort(np.argsort(keys, kind="stable")[:limit])
            held, keys = [{k: v[rows] for k, v in joined.items()}], keys[rows]
    return _joined(held), total


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return parts[0] if len(parts) == 1 else {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}


def _digest(inputs: Mapping[str, np.ndarray], labels: np.ndarray | None, files: str | None) -> str:
    """One sha256 of the samples as the model takes them; a whole file's is its own where it is one file."""
    import hashlib

    if files is not None and len(files) == 64:
        return files
    total = hashlib.sha256()
    for key in sorted(inputs):
        total.update(f"{key} {inputs[key].dtype} {inputs[key].shape}\n".encode())
        total.update(np.ascontiguousarray(inputs[key]).tobytes())
    if labels is not None:
        total.update(labels.tobytes())
    return total.hexdigest()
