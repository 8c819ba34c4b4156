"""Reads a user's npz whose arrays are named like a model's inputs, with ``label`` where there is one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.datasets import _archive
from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import TensorSpec
from toolkit.store import sha256_file

LABELS = ("label", "labels")

_AUTOMATIC = re.compile(r"^(input_layer|input|keras_tensor|args|serving_default_input|inputs)(_?\d+)?$")
"""Input names that Keras makes up when the author gave none."""


def read(path: Path, inputs: Sequence[TensorSpec], *, need_labels: bool = False, regression: bool = False) -> Split:
    """Samples for a model.

    Args:
        path: an ``.npz``; arrays ``[N, ...]`` named like ``inputs``, optionally ``label`` ``[N]``.
        inputs: what the model takes.
        need_labels: refuse a file without labels.
        regression: the model may answer with a value: labels that are floats stay so (float64), whole or not.

    Other arrays ``[N]`` of numbers or texts are kept as columns, for slices.

    Raises:
        UsageError: there is no such file.
        BrokenInput: not an npz, wrong names, shapes or dtypes, NaN, no rows, or unequal numbers of rows.
        MissingError: the file must not be read.
    """
    arrays = _load(path)
    label_name = next((n for n in LABELS if n in arrays and n not in {s.name for s in inputs}), None)
    labels = arrays.pop(label_name) if label_name else None
    arrays = _named(arrays, inputs, path)
    chosen = {spec.name: _fitting(arrays[spec.name], spec, path) for spec in inputs}
    counts = {name: len(a) for name, a in chosen.items()}
    if labels is not None:
        labels = _labels(labels, path, regression)
        counts[str(label_name)] = len(labels)
    elif need_labels:
        raise BrokenInput("has no array named 'label'", where=str(path), remedy="add it: np.savez(path, ..., label=y)")
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{k}: {v}" for k, v in counts.items())
        raise BrokenInput(
            f"arrays have different numbers of rows ({listed})", where=str(path), remedy="save equal rows"
        )
    if not next(iter(counts.values())):
        raise BrokenInput("has no rows", where=str(path), remedy="save at least one sample")
    rows = next(iter(counts.values()))
    others = {k: a for k, a in arrays.items() if k not in chosen and a.shape == (rows,) and a.dtype.kind in "biufU"}
    return Split(inputs=chosen, labels=labels, digest=sha256_file(path), columns=others)


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise UsageError("there is no such file", where=str(path), remedy="give an .npz with the model's inputs")
    arrays = _archive.read(path, remedy="save plain arrays with np.savez")
    for name, array in arrays.items():
        if not array.ndim:
            raise BrokenInput(
                "is a single value, not rows", where=f"{path}, array {name!r}", remedy="save it as [N, ...]"
            )
    return arrays


def _named(arrays: dict[str, np.ndarray], inputs: Sequence[TensorSpec], path: Path) -> dict[str, np.ndarray]:
    missing = [s.name for s in inputs if s.name not in arrays]
    if not missing:
        return arrays
    if len(inputs) == 1 and len(arrays) == 1 and _AUTOMATIC.match(inputs[0].name):
        # The author never chose this name, so nobody can be expected to know it; there is only one way to pair them.
        return {inputs[0].name: next(iter(arrays.values()))}
    has = ", ".join(sorted(arrays)) or "nothing"
    example = ", ".join(f"{s.name}=..." for s in inputs)
    raise BrokenInput(
        f"has no array named {', '.join(map(repr, missing))} (it has: {has})",
        where=str(path),
        remedy=f"name arrays like the model's inputs: np.savez(path, {example})",
    )


def _fitting(array: np.ndarray, spec: TensorSpec, path: Path) -> np.ndarray:
    where = f"{path}, array {spec.name!r}"
    wanted = list(spec.shape)
    if spec.shape and (
        array.ndim != len(wanted)
        or any(w is not None and w != h for w, h in zip(wanted[1:], array.shape[1:], strict=True))
    ):
        shown = ", ".join(["N"] + ["any" if w is None else str(w) for w in wanted[1:]])
        raise BrokenInput(f"has shape {list(array.shape)}, the model takes [{shown}]", where=where, remedy="reshape it")
    target = np.dtype(spec.dtype if spec.dtype != "string" else object)
    if np.issubdtype(target, np.floating):
        if not np.issubdtype(array.dtype, np.floating):
            raise BrokenInput(
                f"is {array.dtype}, the model takes {spec.dtype}",
                where=where,
                remedy="scale it as in training and save it as float32",
            )
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0, 0])
            raise BrokenInput(f"has NaN or infinite values (first in row {row})", where=where, remedy="remove them")
        with np.errstate(over="ignore"):
            cast = array.astype(target)
        if not np.isfinite(cast).all():
            raise BrokenInput(f"has values beyond {spec.dtype}", where=where, remedy="scale it as in training")
        return cast
    if np.issubdtype(target, np.integer) and np.issubdtype(array.dtype, np.integer):
        limits = np.iinfo(spec.dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise BrokenInput(f"has values outside {spec.dtype}", where=where, remedy=f"save it as {spec.dtype}")
        return array.astype(target)
    if target == array.dtype:
        return array
    raise BrokenInput(f"is {array.dtype}, the model takes {spec.dtype}", where=where, remedy=f"save it as {spec.dtype}")


def _labels(labels: np.ndarray, path: Path, regression: bool) -> np.ndarray:
    flat = labels.reshape(len(labels), math.prod(labels.shape[1:]))  # numpy cannot infer -1 where nothing is
    if flat.shape[1:] == (1,):
        flat = flat[:, 0]
        if regression and np.issubdtype(flat.dtype, np.floating):
            return _values(flat, path)
        if np.issubdtype(flat.dtype, np.floating) and np.isfinite(flat).all() and (flat == flat.round()).all():
            flat = flat.astype(np.int64)
        if np.issubdtype(flat.dtype, np.integer):
            return flat.astype(np.int64)
    elif flat.ndim == 2 and len(flat) and ((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all():
        return flat.argmax(axis=1).astype(np.int64)  # one-hot
    raise BrokenInput(
        f"has labels of shape {list(labels.shape)} and type {labels.dtype}",
        where=str(path),
        remedy="save class numbers [N] as integers, or one-hot rows",
    )


def _values(labels: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(labels).all():
        row = int(np.flatnonzero(~np.isfinite(labels))[0])
        raise BrokenInput(
            f"has NaN or infinite labels (first in row {row})", where=str(path), remedy="remove rows without a value"
        )
    return labels.astype(np.float64)
