"""What a model learned, to look at: embedding tables and codes for TensorBoard's projector and for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets._dataset import Split
from toolkit.features.columns import identifier
from toolkit.features.naming import id_names
from toolkit.features.sightings import Sightings, sightings
from toolkit.features.spec import FeatureSpec
from toolkit.records import SCHEMA_VERSION, Embedding, to_json
from toolkit.store import remove, write_bytes
from toolkit.training import codes as codes_of
from toolkit.training import projector
from toolkit.training.plane import POINTS, principal_plane, rounded, some

IDS = 5_000
"""Most ids of a table in the projector's files; of a larger table those that the samples have most often."""

COUNTED = 100_000
"""Most samples that ids are counted in: they take seconds."""

Shown = tuple[projector.Vectors, Embedding]


def export(
    model: Any,
    *,
    codes: str | None,
    samples: Split | None,
    folder: Path,
    logs: Path,
    classes: Sequence[str] | None,
    seed: int = 0,
) -> list[Path]:
    """Writes a trained model's embedding tables and codes, in the place of those that were there.

    Args:
        model: a functional tf_keras model; the tables are those of its feature layer, if it has one.
        codes: name of a layer whose outputs ``[N, D]`` are shown, ``None`` for none.
        samples: the evaluation split; the codes of up to 2,000 of them are shown, chosen by ``seed``, and ids are
            counted in up to 100,000. Inputs may be raw or encoded. ``None``: ids are not counted.
        folder: where a :class:`toolkit.records.Embedding` of each table, and of the codes, goes as ``NAME.json``.
        logs: where the projector's files go, see :func:`toolkit.training.projector.write`.
        classes: names by label; ``None``: integers are their own names, other numbers are shown in five ranges.
        seed: which samples are taken.

    Returns:
        All files; none where there is nothing to show.

    Raises:
        UsageError: there is no such layer, its outputs are no vectors, or there are no samples to give it.
        BrokenInput: the samples do not fit the model.
        CheckFailed: a vector holds NaN or infinity.
        MissingError: a file cannot be written.
    """
    layers = codes_of.feature_layers(model)
    shown = [one for layer in layers for one in _tables(layer, samples, seed)]
    if codes is not None:
        name = identifier(codes)
        while name in {vectors.name for vectors, _ in shown}:
            name += "_codes"
        shown.append(codes_of.show(model, codes, samples, classes, seed=seed, name=name))
    for old in folder.glob("*.json"):
        remove(old)
    if not shown:
        remove(logs)
        return []
    written = projector.write(logs, [vectors for vectors, _ in shown])
    for vectors, record in shown:
        path = folder / f"{vectors.name}.json"
        data = {"schema_version": SCHEMA_VERSION, **to_json(record)}
        # Not store.write_json: a line for each of thousands of numbers would make up half of the file.
        write_bytes(path, json.dumps(data, allow_nan=False, separators=(",", ":")).encode())
        written.append(path)
    return written


def _tables(layer: Any, samples: Split | None, seed: int) -> list[Shown]:
    seen: Mapping[str, Sightings] = {}
    if samples is not None and len(samples) and layer.embedded:
        rows = some(len(samples), COUNTED, seed)
        seen = sightings(layer.spec, {name: values[rows] for name, values in samples.inputs.items()})
    tables = zip(layer.embedded, layer.tables, strict=True)
    return [_table(layer.spec, name, variable.numpy(), seen.get(name)) for name, variable in tables]


def _table(spec: FeatureSpec, column: str, table: np.ndarray, seen: Sightings | None) -> Shown:
    """A column's vectors; its axes are made of the ids that occur: the others are as they were at first, noise."""
    names, ids = id_names(spec, column), np.arange(min(len(table), IDS))
    if seen is not None and len(table) > IDS:
        ids = np.sort(seen.ids[np.argsort(-seen.counts, kind="stable")[:IDS]])
    found = {} if seen is None else {i: (n, name) for i, n, name in zip(*_listed(seen), strict=True)}
    labels = [found[i][1] if i in found else names[i] for i in ids.tolist()]
    words = {"name": labels, "id": [str(i) for i in ids.tolist()]}
    counts = np.array([found[i][0] if i in found else 0 for i in ids.tolist()], dtype=np.int64)
    if seen is not None:
        words |= {"count": [str(n) for n in counts.tolist()], "seen": ["yes" if n else "no" for n in counts.tolist()]}
    vectors = table[ids]
    # A plane takes three points.
    fit = counts > 0 if (counts > 0).sum() >= 3 else np.ones(len(ids), dtype=bool)
    points, explained = principal_plane(vectors, fit, f"column {column!r}")
    kept = np.sort(np.argsort(-counts, kind="stable")[:POINTS])
    record = Embedding(
        name=column,
        kind="column",
        method="PCA",
        size=table.shape[1],
        total=len(table),
        explained=explained,
        points=rounded(points[kept]),
        labels=tuple(labels[i] for i in kept.tolist()),
        counts=() if seen is None else tuple(counts[kept].tolist()),
    )
    return projector.Vectors(name=identifier(column), vectors=vectors, words=words), record


def _listed(seen: Sightings) -> tuple[list[int], list[int], tuple[str, ...]]:
    return seen.ids.tolist(), seen.counts.tolist(), seen.names
