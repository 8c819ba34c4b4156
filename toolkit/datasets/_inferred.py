"""A feature spec for a table that comes without one: which columns are worth reading, and as what.

Numbers are normalised, words become indicators' or embeddings' vocabularies; there are no crosses. What cannot help is
left out and said: a column that is empty or always the same, texts that hardly ever occur twice (ids, names, dates),
numbers that only count the rows. All rows are looked at for that, their labels are not.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from toolkit import tables
from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec, Numeric, Vocabulary
from toolkit.features.columns import MAX_WIDTH, Column, identifier
from toolkit.progress import Progress

RARE = 2
"""How often a word must occur in the training rows to be one of an inferred vocabulary."""

FEW_ROWS = 1000
"""In a table of fewer rows every word counts."""

MOST_WORDS = 1000
"""Words of an inferred vocabulary at most."""

KNOWN = 0.5
"""Share of a text column's rows that such a vocabulary must cover; else the column is left out."""

MOST_COLUMNS = 256
"""Columns that are inferred at most: each is an input of the model. Measured on two busy cores: 200 rows of 256 numbers
took 21 s to train on once, export and convert to float32, 200 rows of 1,000 numbers 103 s."""

NAMED = 12
"""Columns left out that are named; the others are counted."""

_DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{2,4}|\d{4}/\d\d?/\d\d?")


def draft(schema: tables.Schema, label: str | None, where: str) -> FeatureSpec:
    """All columns, as what the first rows suggest.

    Raises:
        UsageError: no label, or one that is no column.
        BrokenInput: no other column, or too many.
    """
    if label is None:
        there = ", ".join(schema.names)
        raise UsageError(
            "what is to be predicted?", where=where, remedy=f"give --label (it has: {there[:300]}), or --spec FILE"
        )
    schema = schema.with_label(label)
    if not schema.inputs:
        raise BrokenInput("has no column but the label", where=where, remedy="give a table with columns to learn from")
    if len(schema.inputs) > MOST_COLUMNS:
        raise BrokenInput(
            f"has {len(schema.inputs):,} columns beside the label",
            where=where,
            remedy=f"name those in a --spec that count (without one, {MOST_COLUMNS} at most), "
            "or save them as one array in an npz",
        )
    columns: list[Column] = []
    # By name: shards and formats differ in the order of their columns, and the model must not.
    for name in sorted(_told_apart(schema.inputs)):
        if schema[name].type == "string":
            columns.append(Vocabulary(name=name, dtype="string", max_size=MOST_WORDS, embedding="auto"))
        else:
            columns.append(Numeric(name=name))
    task = "classification" if schema[label].type == "string" else None
    return FeatureSpec(label=label, task=task, columns=tuple(columns))


def judged(
    spec: FeatureSpec, columns: Mapping[str, np.ndarray], there: tables.Schema, where: str, progress: Progress
) -> FeatureSpec:
    """The draft without the columns that cannot help; these are said.

    Args:
        spec: of :func:`draft`.
        columns: the rows, by name ``[N]``.
        there: the file's own schema.
        where: what errors call it.
        progress: warned about what is left out.

    Raises:
        BrokenInput: no column is left.
    """
    names = {column.name for column in spec.columns}
    others = [name for name in there.names if name not in names and name != spec.label]
    out = dict.fromkeys(others, "its name looks like another's in a graph: rename it")
    kept: list[Column] = []
    for column in spec.columns:
        values = columns[column.name]
        counts = there[column.name].type == "int"
        why = _useless_text(values) if isinstance(column, Vocabulary) else _useless_number(values, counts)
        if why:
            out[column.name] = why
        elif isinstance(column, Vocabulary) and len(values) >= FEW_ROWS:
            kept.append(dataclasses.replace(column, min_count=RARE))
        else:
            kept.append(column)
    if out:
        said = [f"{name} ({why})" for name, why in out.items()]
        more = f" and {len(said) - NAMED} more" if len(said) > NAMED else ""
        listed = f"{'; '.join(said[:NAMED])}{more}"
        if not kept:
            raise BrokenInput(f"no column can be learned from: {listed}", where=where, remedy="give a --spec")
        progress.warn(f"columns left out: {listed}; a --spec can use them")
    return dataclasses.replace(spec, columns=tuple(kept))


def _told_apart(names: tuple[str, ...]) -> list[str]:
    """The names but those that look like an earlier one in a graph."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(identifier(name), name)
    return list(found.values())


def _useless_number(values: np.ndarray, counts: bool) -> str:
    there = values[np.isfinite(values)]
    if not len(there):
        return "is empty"
    low, high = float(there.min()), float(there.max())
    if low == high:
        return f"is always {low:g}"
    # Whole numbers without a gap and without a repetition: whatever order they are in, they number the rows.
    if counts and len(there) == len(values) == high - low + 1 and len(np.unique(there)) == len(there) > 2:
        return "numbers the rows"
    return ""


def _useless_text(values: np.ndarray) -> str:
    words = Counter(values.tolist())
    missing = words.pop("", 0)
    if not words:
        return "is empty"
    if len(words) == 1 and not missing:
        return f"is always {next(iter(words))[:40]!r}"
    least = RARE if len(values) >= FEW_ROWS else 1
    often = [(word, n) for word, n in words.most_common(MOST_WORDS) if n >= least]
    if any(len(word.encode("utf-8", "replace")) >= MAX_WIDTH or "\0" in word for word, _ in often):
        return "holds long texts, no words"
    repeated = sum(n for _, n in often if n >= RARE)
    if repeated < KNOWN * (len(values) - missing):
        if all(_DATE.match(word) for word in list(words)[:100]):
            return "dates that are nearly all different: give their year, month or hour as columns of numbers"
        return "nearly all of its texts are different"
    return ""
