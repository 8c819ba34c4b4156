"""Data of the user's own: a CSV or TFRecord (or shards of one) by a feature spec, or arrays in an npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit import tables
from toolkit.datasets import _archive, _dataset, _table_data
from toolkit.datasets._npz import LABELS
from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec, Numeric, Vocabulary
from toolkit.features.columns import MISSING_INT, Column
from toolkit.features.spec import wants
from toolkit.progress import Progress

HELD_OUT = 0.2
"""Share of an npz's samples that is held out, as of a table's rows."""

RARE = 2
"""How often a word must occur in the training rows to be one of an inferred vocabulary."""

MOST_WORDS = 1000
"""Words of an inferred vocabulary at most."""


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
    if spec is None:
        spec = inferred(opened.schema, label, pattern)
    schema = _schema(spec, opened.schema, pattern)
    tally = tables.Tally(bad_rows)
    source = tables.Table(schema=schema, source=opened.source, bad_rows=bad_rows)
    values = source.read(tally=tally)
    for row in tally.named:
        progress.warn(f"left out: {row}")
    if tally.left_out > len(tally.named):
        progress.warn(f"and {tally.left_out - len(tally.named):,} malformed rows more")
    classes: list[str] = []
    if spec.task == "classification" and schema[spec.label].type != "string":
        values[spec.label], classes = _numbered(values[spec.label])
        schema = _retyped(schema, spec.label, "int")
    facts = {**({"classes": classes} if classes else {}), "bad_rows": tally.left_out}
    found = _table_data.dataset(Path(pattern).name, pattern, values, schema, facts=facts)
    _say(found, progress)
    return found, spec


def arrays(pattern: str, progress: Progress) -> _dataset.Dataset:
    """The data set in an npz: arrays ``[N, ...]`` by input name, and ``label`` ``[N]``.

    Integer labels are classes (counted from 0), others values.

    Raises:
        UsageError: there is no such file.
        BrokenInput: no npz, no label, unequal numbers of rows, NaN, or no rows for a split.
    """
    path = Path(pattern)
    if not path.exists():
        raise UsageError("there is no such file", where=pattern, remedy="check --data")
    found = _archive.read(path, remedy="save plain arrays with np.savez")
    name = next((n for n in LABELS if n in found), None)
    if name is None:
        raise BrokenInput("has no array named 'label'", where=pattern, remedy="add it: np.savez(path, ..., label=y)")
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
        source=pattern,
        inputs=inputs,
        labels=labels,
        identities=identities,
        train_rows=train,
        calibration_rows=_dataset.stratified(identities, kinds, train, _table_data.CALIBRATION),
        evaluation_rows=evaluation,
        rule=f"{HELD_OUT:.0%} of every class with the smallest sha256 held out",
        facts={"label": name},
    )
    _say(made, progress)
    return made


def inferred(schema: tables.Schema, label: str | None, where: str) -> FeatureSpec:
    """A spec for a table that comes without: numbers normalised, words as indicators or embeddings, no crosses.

    Raises:
        UsageError: no label, or one that is no column.
    """
    if label is None:
        there = ", ".join(schema.names)
        raise UsageError(
            "what is to be predicted?", where=where, remedy=f"give --label (it has: {there}), or --spec FILE"
        )
    schema = schema.with_label(label)
    columns: list[Column] = []
    for name in schema.inputs:
        if schema[name].type == "string":
            columns.append(Vocabulary(name=name, dtype="string", min_count=RARE, max_size=MOST_WORDS, embedding="auto"))
        else:
            columns.append(Numeric(name=name))
    task = "classification" if schema[label].type == "string" else "regression"
    return FeatureSpec(label=label, task=task, columns=tuple(columns))


def _schema(spec: FeatureSpec, there: tables.Schema, where: str) -> tables.Schema:
    """The columns that a spec reads, typed as it reads them, with a value that means missing."""
    wanted: dict[str, str | None] = {}
    for column in spec.columns:
        if column.kind != "crossed":
            kind = wants(column)
            wanted[column.source] = kind if wanted.get(column.source) in (None, "number") else wanted[column.source]
    for name in (*wanted, spec.label):
        if name not in there.names:
            what = "its label column" if name == spec.label else "column"
            listed = ", ".join(there.names)
            raise BrokenInput(f"lacks {what} {name!r} (it has: {listed[:300]})", where=where, remedy="correct the spec")
    typed = []
    for name, kind in wanted.items():
        found = there[name].type
        if kind == "string" or (kind is None and found == "string"):
            typed.append(tables.Column(name=name, type="string", default=""))
        elif kind == "integer" and found == "int":
            typed.append(tables.Column(name=name, type="int", default=MISSING_INT))
        else:
            typed.append(tables.Column(name=name, type="float", default=float("nan")))
    label = there[spec.label]
    if label.type == "int" and spec.task != "classification":
        label = tables.Column(name=label.name, type="float")
    elif spec.task == "regression" and label.type == "string":
        label = tables.Column(name=label.name, type="float")  # what is no number is a malformed row
    if not there.header:
        # Without a header line columns are known by their place alone: all of them are read.
        chosen = {column.name: column for column in (*typed, label)}
        unread = {name: tables.Column(name=name, type="string", default="") for name in there.names}
        return tables.Schema(columns=tuple({**unread, **chosen}.values()), label=spec.label, header=False)
    return tables.Schema(columns=(*typed, label), label=spec.label)


def _retyped(schema: tables.Schema, name: str, kind: str) -> tables.Schema:
    columns = tuple(tables.Column(name=c.name, type=kind) if c.name == name else c for c in schema.columns)
    return tables.Schema(columns=columns, label=schema.label, header=schema.header)


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Class numbers of numeric labels, in their order, and what they stand for."""
    values, numbers = np.unique(labels, return_inverse=True)
    return numbers.astype(np.int64), [f"{value:g}" for value in values.tolist()]


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.dtype.kind in "biu":
        if len(labels) and labels.min() < 0:
            raise BrokenInput("has negative classes", where=where, remedy="number the classes from 0, or save floats")
        return labels.astype(np.int64)
    if labels.dtype.kind == "f" and np.isfinite(labels).all():
        return labels.astype(np.float32)
    raise BrokenInput("has labels that are no finite numbers", where=where, remedy="save class numbers or values")


def _say(found: _dataset.Dataset, progress: Progress) -> None:
    counts = ", ".join(f"{s['samples']:,} {n}" for n, s in found.describe()["splits"].items())
    progress.say(f"data: {found.name}: {counts}")
