"""Data of the user's own: a CSV or TFRecord (or shards of one) by a feature spec, or arrays in an npz."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import tables
from toolkit.datasets import _archive, _dataset, _inferred, _reading, _table_data
from toolkit.datasets._npz import LABELS
from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec
from toolkit.features.spec import wants
from toolkit.progress import Progress

HELD_OUT = 0.2
"""Share of an npz's samples that is held out, as of a table's rows."""

FEW_VALUES = 10
"""A number to be predicted that has no more different values than this may have been meant as classes."""


def is_arrays(pattern: str) -> bool:
    """Whether ``pattern`` names an npz."""
    return Path(pattern).suffix == ".npz"


def table(
    pattern: str,
    spec: FeatureSpec | None,
    *,
    label: str | None,
    columns: tuple[str, ...] | None,
    bad_rows: str,
    progress: Progress,
) -> tuple[_dataset.Dataset, FeatureSpec]:
    """The data set in a table, and the spec it is read by (inferred where none is given).

    Every column of the file that the spec reads is read as what its columns take it for; an empty field is a missing
    value. A label of text, or one that the spec calls a class, becomes a class number.

    Raises:
        UsageError: no spec and no label; other wrong arguments as of :func:`toolkit.tables.open_table`.
        BrokenInput: a column that is not in the file, malformed rows, no rows.
    """
    opened = tables.open_table(pattern, columns=columns, bad_rows=bad_rows)
    wanted = spec or _inferred.draft(opened.schema, label, pattern)
    schema = _reading.schema_for(wanted, opened.schema, pattern)
    tally = tables.Tally(bad_rows)
    with progress.task(f"reading {pattern}"):
        values = _reading.columns_of(opened, schema, tally)
    for row in tally.named:
        progress.warn(f"left out: {row}")
    if tally.left_out > len(tally.named):
        progress.warn(f"and {tally.left_out - len(tally.named):,} malformed rows more")
    if spec is None:
        wanted = _inferred.judged(wanted, values, opened.schema, pattern, progress)
        schema = _reading.schema_for(wanted, opened.schema, pattern)
    _must_be_exact(wanted, schema, values, pattern)
    classes = _named_classes(wanted, schema, values, pattern, progress)
    if classes:
        schema = _retyped(schema, wanted.label, "int")
    facts = {**({"classes": classes} if classes else {}), "bad_rows": tally.left_out}
    found = _table_data.dataset(Path(pattern).name, os.path.abspath(pattern), values, schema, facts=facts)
    progress.say(f"data: {found.name}: {_table_data.said(found)}")
    return found, wanted


def arrays(pattern: str, progress: Progress, *, label: str | None = None) -> _dataset.Dataset:
    """The data set in an npz: arrays ``[N, ...]`` by input name, and ``label`` ``[N]``, which may have another name.

    Integer labels are classes (counted from 0), others values.

    Raises:
        UsageError: there is no such file.
        BrokenInput: no npz, no label, unequal numbers of rows, NaN, or no rows for a split.
    """
    path = Path(pattern)
    if not path.exists():
        raise UsageError("there is no such file", where=pattern, remedy="check --data")
    found = _archive.read(path, remedy="save plain arrays with np.savez")
    name = next((n for n in ((label,) if label else LABELS) if n in found), None)
    if name is None:
        wanted, there = label or "label", ", ".join(found) or "nothing"
        raise BrokenInput(
            f"has no array named {wanted!r} (it has: {there[:300]})",
            where=pattern,
            remedy=f"add it: np.savez(path, ..., {wanted}=y), or name another with --label",
        )
    labels = found.pop(name)
    if not found:
        raise BrokenInput("holds labels only", where=pattern, remedy="add the inputs: np.savez(path, x=x, label=y)")
    for key, values in found.items():
        if not values.ndim or len(values) != labels.size:
            rows = len(values) if values.ndim else "no"
            raise BrokenInput(
                f"has {rows} rows for {labels.size} labels", where=f"{pattern}, array {key!r}", remedy="save equal rows"
            )
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            raise BrokenInput(
                "holds text, NaN or infinity", where=f"{pattern}, array {key!r}", remedy="save finite numbers"
            )
    inputs = {
        k: v.astype("f4") if v.dtype.kind == "f" else v.astype("i4") if v.dtype.kind in "bi" else v
        for k, v in found.items()
    }
    labels = _labels(labels.reshape(-1), pattern)
    identities = _dataset.combined([_dataset.identities(values) for values in inputs.values()])
    kinds = labels if np.issubdtype(labels.dtype, np.integer) else np.zeros(len(labels))
    train, evaluation = _dataset.hold_out(identities, kinds, HELD_OUT)
    if not len(train) or not len(evaluation):
        raise BrokenInput("has no samples left for a split", where=pattern, remedy="give more samples")
    made = _dataset.Dataset(
        name=path.name,
        source=os.path.abspath(pattern),
        inputs=inputs,
        labels=labels,
        identities=identities,
        train_rows=train,
        calibration_rows=_dataset.stratified(identities, kinds, train, _table_data.CALIBRATION),
        evaluation_rows=evaluation,
        rule=f"{HELD_OUT:.0%} of every class with the smallest sha256 held out",
        facts={"label": name},
    )
    progress.say(f"data: {made.name}: {_table_data.said(made)}")
    return made


def _must_be_exact(spec: FeatureSpec, schema: tables.Schema, values: Mapping[str, np.ndarray], where: str) -> None:
    """Refuses integers that were read as floats, for there are gaps or fractions among them, and lost digits by it."""
    for column in spec.columns:
        if column.kind != "crossed" and wants(column) in ("integer", None) and schema[column.source].type == "float":
            there = values[column.source][np.isfinite(values[column.source])]
            if len(there) and np.abs(there).max() > 2**24:
                raise BrokenInput(
                    f"column {column.source!r} has gaps, and integers beyond 16,777,216, which float32 rounds",
                    where=where,
                    remedy='fill the gaps, or let the spec read it as text (dtype = "string")',
                )


def _named_classes(
    spec: FeatureSpec, schema: tables.Schema, values: dict[str, np.ndarray], where: str, progress: Progress
) -> list[str]:
    """Makes class numbers of a label that is one; what they stand for, in order, and nothing for a quantity."""
    labels = values[spec.label]
    if schema[spec.label].type == "string":
        different: list[Any] = sorted(set(labels.tolist()))
        numbers = dict(zip(different, range(len(different)), strict=True))
        values[spec.label] = np.fromiter((numbers[text] for text in labels), np.int64, len(labels))
    elif spec.task == "classification":
        found, places = np.unique(labels, return_inverse=True)
        different, values[spec.label] = found.tolist(), places.astype(np.int64)
    else:
        count = len(np.unique(labels))
        if spec.task is None and count <= FEW_VALUES:
            progress.warn(
                f"label {spec.label!r} has {count} different values and is taken for a quantity; "
                'if they are classes, say task = "classification" in a --spec'
            )
        return []
    if len(different) > len(labels) / 2 and len(different) > FEW_VALUES:
        raise BrokenInput(
            f"label {spec.label!r} has {len(different):,} different values in {len(labels):,} rows",
            where=where,
            remedy="name a label that has classes, or a number to be predicted",
        )
    return [value if isinstance(value, str) else f"{value:.9g}" for value in different]


def _retyped(schema: tables.Schema, name: str, kind: str) -> tables.Schema:
    columns = tuple(tables.Column(name=c.name, type=kind) if c.name == name else c for c in schema.columns)
    return tables.Schema(columns=columns, label=schema.label, header=schema.header)


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.dtype.kind in "biu":
        if len(labels) and labels.min() < 0:
            raise BrokenInput("has negative classes", where=where, remedy="number the classes from 0, or save floats")
        return labels.astype(np.int64)
    if labels.dtype.kind == "f" and np.isfinite(labels).all():
        return labels.astype(np.float32)
    raise BrokenInput("has labels that are no finite numbers", where=where, remedy="save class numbers or values")
