"""The samples on which the two sides differ most, as people can look at them: a picture, or the row."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from devices.evaluation.facts import Facts

WORST = 12
"""How many are kept."""

_LONGEST = 200
"""Characters of a text that are shown."""


def of(
    facts: Facts,
    *,
    start: int = 0,
    inputs: Mapping[str, np.ndarray] | None = None,
    rows: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, Any], ...]:
    """Of a block, those first whose class differs, then by the largest output difference; none that agree exactly.

    Args:
        facts: the block's.
        start: the number of its first row.
        inputs: its samples by input name, kept as pictures if they are some.
        rows: its columns, numbers or texts ``[N]``, kept with the sample.
    """
    columns, far = facts.columns, facts.columns["far"]
    n = len(far)
    scores = "cloud_top" in columns
    same = columns["cloud_top"] == columns["edge_top"] if scores else np.ones(n, dtype=bool)
    order = np.lexsort((np.arange(n), -far, same))[:WORST]
    found = []
    for i in (int(index) for index in order if far[index] > 0):
        label = columns.get("label")
        sample: dict[str, Any] = {"index": start + i, "label": None if label is None else label[i].item()}
        if scores:
            sample |= {"cloud": int(columns["cloud_top"][i]), "edge": int(columns["edge_top"][i])}
            # The edge's own score of its class; a tie of 8 bits shows as two equal numbers.
            sample |= {"cloud_p": number(columns["cloud_p"][i]), "edge_p": number(columns["edge_p"][i])}
        elif "cloud_value" in columns:
            sample |= {"cloud": number(columns["cloud_value"][i]), "edge": number(columns["edge_value"][i])}
        sample["max_abs"] = number(far[i])
        image = picture(inputs, i, n)
        if image is not None:
            sample["image"] = image
        elif rows:
            sample["row"] = {name: _shown(values[i]) for name, values in rows.items()}
        found.append(sample)
    return tuple(found)


def merged(parts: Iterable[tuple[dict[str, Any], ...]]) -> tuple[dict[str, Any], ...]:
    """The worst of all blocks."""

    def key(sample: dict[str, Any]) -> tuple[bool, float, int]:
        same = "cloud_p" not in sample or sample["cloud"] == sample["edge"]
        far = sample["max_abs"]
        return same, -(math.inf if far is None else far), sample["index"]

    kept: list[dict[str, Any]] = []
    for part in parts:
        kept = sorted([*kept, *part], key=key)[:WORST]
    return tuple(kept)


def picture(inputs: Mapping[str, np.ndarray] | None, index: int, n: int) -> dict[str, Any] | None:
    """A sample as an 8-bit picture, if the model takes a single input that is one: grey or RGB, uint8 or 0 to 1."""
    if inputs is None or len(inputs) != 1:
        return None
    array = np.asarray(next(iter(inputs.values())))
    if array.ndim not in (3, 4) or len(array) != n or (array.ndim == 4 and array.shape[-1] not in (1, 3)):
        return None
    sample = array[index]
    if sample.dtype.kind == "f" and np.isfinite(sample).all() and sample.min() >= 0 and sample.max() <= 1:
        sample = np.rint(sample * 255).astype(np.uint8)
    if sample.dtype != np.uint8:
        return None
    if sample.ndim == 3 and sample.shape[-1] == 1:
        sample = sample[..., 0]
    content = base64.b64encode(np.ascontiguousarray(sample).tobytes()).decode()
    return {"shape": list(sample.shape), "dtype": "uint8", "base64": content}


def number(value: Any) -> float | None:
    """A float for JSON: ``None`` where NaN or infinity leave no number."""
    return float(value) if math.isfinite(value) else None


def _shown(value: Any) -> Any:
    if isinstance(value, (str, bytes)):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    found = np.asarray(value)
    if found.dtype.kind in "iub":
        return found.item()
    return number(found.item()) if found.dtype.kind == "f" and found.ndim == 0 else str(value)[:_LONGEST]
