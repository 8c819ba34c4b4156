"""Outputs as answers: a value, a class with its probabilities, or the outputs themselves where they are neither."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from toolkit.errors import BrokenInput
from toolkit.prediction.contract import Contract

SUM_TOLERANCE = 1e-3
"""How far from 1 the sum of a float model's probabilities may be; dynamic-range kernels stay within a tenth of it."""

STEP = 1 / 256
"""A quantized softmax has this scale (the TFLite quantization specification), so each class is off by half of it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """Some rows' answers, every number as its JSON text: the shortest that reads back equal, ``null`` if not finite.

    Args:
        numbers: of the rows, from 1.
        prediction: the value, or the class; ``None`` where the model gives neither.
        named: ``prediction`` holds class names, to be quoted in JSON.
        kind: of ``scores``: ``"probabilities"``, or ``"scores"`` where they are something else.
        classes: the names of the columns of ``scores``.
        scores: by class, one list for each of ``classes``.
        outputs: by output name, texts ``[N, ...]``.
    """

    numbers: list[int]
    prediction: list[str | None] | None = None
    named: bool = False
    kind: str = ""
    classes: tuple[str, ...] = ()
    scores: tuple[list[str], ...] = ()
    outputs: dict[str, np.ndarray] = field(default_factory=dict)


class Interpreter:
    """Makes answers of outputs, in one format for all blocks of a model: what the first one is like decides.

    Args:
        contract: of the model.
        where: what errors call the model.
        warn: told once of each kind of number that JSON cannot hold.
    """

    def __init__(self, contract: Contract, *, where: str, warn: Callable[[str], None]) -> None:
        self._contract = contract
        self._where = where
        self._warn = warn
        self._kind: str | None = None

    def __call__(
        self, numbers: np.ndarray, outputs: Mapping[str, np.ndarray], raw: Mapping[str, np.ndarray] | None = None
    ) -> Answers:
        """Answers for some rows.

        Args:
            numbers: of the rows, int64 ``[N]`` from 0.
            outputs: real values by name, ``[N, ...]``.
            raw: the same before they were dequantized.

        Raises:
            BrokenInput: the outputs do not fit the classes.
        """
        rows = (numbers + 1).tolist()
        self._check_finite(outputs, rows)
        only = next(iter(outputs.values()))
        if len(outputs) == 1 and only.dtype.kind == "f":
            steps = raw is not None and next(iter(raw.values())).dtype.kind in "iu"
            if only.ndim == 1 or (only.ndim == 2 and only.shape[1] == 1):
                return self._single(rows, only.reshape(len(only)))
            if only.ndim == 2:
                found = self._classes(rows, only, steps)
                if found is not None:
                    return found
        return Answers(numbers=rows, outputs={name: texts(values) for name, values in outputs.items()})

    def _single(self, rows: list[int], values: np.ndarray) -> Answers:
        if self._contract.task != "classification":
            return Answers(numbers=rows, prediction=_or_none(texts(values).tolist()))
        finite = values[np.isfinite(values)]
        if ((finite < 0) | (finite > 1)).any():
            wrong = finite[(finite < 0) | (finite > 1)][0]
            raise BrokenInput(
                f"answers with {wrong:g}, which is no probability", where=self._where, remedy="end it in a sigmoid"
            )
        both = np.stack([1 - values, values], axis=1)
        return self._scored(rows, both, "probabilities")

    def _classes(self, rows: list[int], values: np.ndarray, steps: bool) -> Answers | None:
        """Answers by class, ``None`` where nothing says that the outputs are classes."""
        if self._kind is None:
            slack = SUM_TOLERANCE + (values.shape[1] * STEP / 2 if steps else 0)
            sums = values[np.isfinite(values).all(axis=1)].sum(axis=1, dtype=np.float64)
            shares = len(sums) > 0 and not (values < 0).any() and bool((np.abs(sums - 1) <= slack).all())
            plain = "scores" if self._contract.task == "classification" else "outputs"
            self._kind = "probabilities" if shares and self._contract.task != "regression" else plain
        return None if self._kind == "outputs" else self._scored(rows, values, self._kind)

    def _scored(self, rows: list[int], values: np.ndarray, kind: str) -> Answers:
        names = self._contract.classes
        if names is not None and len(names) != values.shape[1]:
            raise BrokenInput(
                f"answers for {values.shape[1]} classes, and its record names {len(names)}",
                where=self._where,
                remedy="give the record of this very model",
            )
        shown = names if names is not None else tuple(map(str, range(values.shape[1])))
        known = np.isfinite(values).all(axis=1)
        best = np.where(known, values.argmax(axis=1), -1).tolist()
        return Answers(
            numbers=rows,
            prediction=[shown[i] if i >= 0 else None for i in best],
            named=names is not None,
            kind=kind,
            classes=shown,
            scores=tuple(texts(column).tolist() for column in values.T),
        )

    def _check_finite(self, outputs: Mapping[str, np.ndarray], rows: list[int]) -> None:
        for name, values in outputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                row = int(np.argwhere(~np.isfinite(values))[0, 0])
                self._warn(f"row {rows[row]:,}: output {name!r} is NaN or infinite, written as null")


def texts(values: np.ndarray) -> np.ndarray:
    """Numbers as JSON texts of the same shape: floats as the shortest decimal that reads back equal."""
    if values.dtype.kind == "f":
        return np.where(np.isfinite(values), values.astype("U32"), "null")
    if values.dtype.kind in "iu":
        return values.astype("U21")
    if values.dtype.kind == "b":
        return np.where(values, "true", "false")
    said = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.ravel().tolist()]
    return np.array([json.dumps(v) for v in said], dtype=np.str_).reshape(values.shape)


def _or_none(found: list[str]) -> list[str | None]:
    return [None if text == "null" else text for text in found]
