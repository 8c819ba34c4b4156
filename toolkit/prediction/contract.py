"""What a model takes and what its answers mean: raw features where a spec is known, tensors by name where none is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec, encode
from toolkit.records import TensorSpec

BEYOND_FLOAT32 = float(2**128 - 2**103)
"""From here on a number rounds to infinity as float32: half a step above the largest one."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value of a row.

    Args:
        name: what rows call it.
        kind: ``"number"``, ``"integer"``, ``"text"``, or ``"array"`` of numbers.
        optional: a missing value is one that the model knows how to take.
        shape: of an array, ``None`` for a dimension of any size.
        dtype: of the tensor it travels in.
    """

    name: str
    kind: str
    optional: bool
    shape: tuple[int | None, ...] = ()
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The contract of one model.

    Args:
        inputs: its tensors, in the float model's units; ``None``: those of the spec, and whoever runs it checks.
        spec: the adapted columns it is built from; ``None`` for a model that takes its tensors as they are.
        classes: the names of its classes, in the order of their numbers; ``None``: it has no names, or no classes.

    Raises:
        UsageError: the spec has not been adapted.
        BrokenInput: the spec does not make the tensors that the model takes.
    """

    inputs: tuple[TensorSpec, ...] | None
    spec: FeatureSpec | None = None
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.spec is None:
            return
        made = {t.name: t for t in self.spec.inputs()}
        for wanted in self.inputs or ():
            found = made.get(wanted.name)
            if found is None or found.dtype != wanted.dtype or found.shape[1:] != wanted.shape[1:]:
                what = f"makes {shown(found)} of it" if found else "does not make it"
                raise BrokenInput(
                    f"takes input {wanted.name!r} as {shown(wanted)}, and the feature spec {what}",
                    where="the model",
                    remedy="give the spec that this model was trained with",
                )

    @property
    def task(self) -> str | None:
        """``classification`` or ``regression``, where somebody said so."""
        if self.spec is not None and self.spec.task is not None:
            return self.spec.task
        return "classification" if self.classes is not None else None

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a row holds, in the order of the model's inputs."""
        if self.spec is None:
            return tuple(map(_field, self.inputs or ()))
        kinds = {"uint8": "text", "int32": "integer", "float32": "number"}
        sources = {c.tensor: c.source for c in self.spec.columns}
        return tuple(Field(name=sources[t.name], kind=kinds[t.dtype], optional=True) for t in self.spec.inputs())

    def tensors(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Columns by field name, ``[N]`` or ``[N, ...]``, as the tensors the model takes, ``[N, ...]``.

        Raises:
            BrokenInput: a column of the wrong type, without a spec also of the wrong shape.
        """
        if self.spec is None:
            return {spec.name: as_tensor(columns[spec.name], spec) for spec in self.inputs or ()}
        made = encode(self.spec, columns)
        if self.inputs is None:
            return made
        return {t.name: made[t.name] for t in self.inputs}


def as_tensor(values: Any, spec: TensorSpec) -> np.ndarray:
    """Values ``[N, ...]`` in a tensor's own dtype and shape, if none of them changes by it but in float's last bits.

    Raises:
        BrokenInput: shape, type, NaN, or a value that the dtype cannot hold.
    """
    where, array = f"input {spec.name!r}", np.asarray(values)
    wanted = spec.shape[1:]
    if array.ndim == 1 and wanted == (1,):
        array = array[:, None]
    if array.ndim < 1 or (problem := misshapen(array.shape[1:], wanted)):
        raise BrokenInput(
            f"is {array[()]!r}, not rows" if array.ndim < 1 else f"a row {problem}", where=where, remedy="reshape it"
        )
    if spec.dtype == "string":
        if array.dtype.kind not in "US":
            raise BrokenInput(f"is {array.dtype}, the model takes texts", where=where, remedy="give texts")
        return array
    cast = cast_to(array, spec.dtype)
    if isinstance(cast, str):
        raise BrokenInput(cast, where=where, remedy=f"give {spec.dtype}, as in training")
    return cast


def cast_to(array: np.ndarray, dtype: str) -> np.ndarray | str:
    """Numbers in another dtype, or what is wrong with them."""
    if array.dtype.kind not in "biuf":
        return "holds texts or missing values, and the model takes numbers" if array.size else "is empty"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "holds NaN or infinity, and this model knows no missing values"
    target = np.dtype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
    if target.kind == "f":
        return cast if np.isfinite(cast).all() else f"holds numbers beyond {dtype}"
    return cast if np.array_equal(cast.astype(array.dtype), array) else f"holds numbers that are no {dtype}"


def no_spec(field: Field) -> UsageError:
    """The error for texts in the rows of a model that takes bytes, as texts travel, and has no spec to make them."""
    return UsageError(
        f"the model takes {field.name!r} as uint8 [N, {field.shape[0]}], as texts travel, and no feature spec is known",
        where="rows",
        remedy="give --spec with the bundle.json of its run",
    )


def misshapen(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> str:
    """What is wrong with a row's shape; empty if nothing is."""
    if len(found) == len(wanted) and all(w in (None, f) for w, f in zip(wanted, found, strict=True)):
        return ""
    return f"has shape {list(found)}, the model takes {shape_shown(wanted)}"


def shape_shown(shape: tuple[int | None, ...]) -> str:
    """A shape as people write it."""
    return "[" + ", ".join("any" if d is None else str(d) for d in shape) + "]"


def shown(spec: TensorSpec) -> str:
    """A tensor's type and shape as people write them."""
    return f"{spec.dtype} {shape_shown(('N', *spec.shape[1:]))}"  # type: ignore[arg-type]


def _field(spec: TensorSpec) -> Field:
    inner = spec.shape[1:]
    scalar = inner in ((), (1,))
    if spec.dtype == "string":
        kind = "text" if scalar else "array"
    elif scalar:
        kind = "number" if spec.dtype.startswith("float") else "integer"
    else:
        kind = "array"
    return Field(name=spec.name, kind=kind, optional=False, shape=inner, dtype=spec.dtype)
