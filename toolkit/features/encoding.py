"""Raw rows as the tensors that the graph takes: the one step that stays on the host, the same everywhere.

Numbers travel as float32, integers as int32, texts as zero-padded UTF-8 bytes. Encoding what is encoded already
changes nothing, so that it never matters whether somebody did it before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput
from toolkit.features.columns import INT_MAX, MISSING_INT
from toolkit.features.hashing import padded
from toolkit.features.spec import FeatureSpec

_NORMAL = np.finfo(np.float32).tiny


def encode(spec: FeatureSpec, raw: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of :meth:`FeatureSpec.inputs` for some rows.

    Args:
        spec: an adapted spec.
        raw: by input (or tensor) name, arrays or lists ``[N]``: numbers, integers, or texts (str or UTF-8 bytes);
            ``None`` and NaN are missing values. Inputs the spec does not read are passed over.

    Returns:
        float32 ``[N]``, int32 ``[N]`` or uint8 ``[N, L]`` by tensor name.

    Raises:
        BrokenInput: an input is missing, of the wrong type or shape, or of another length than the others.
        UsageError: the spec has not been adapted.
    """
    found: dict[str, np.ndarray] = {}
    sources = {c.tensor: c.source for c in spec.columns}
    for tensor in spec.inputs():
        source = sources[tensor.name]
        values = column_of(raw, source if source in raw or tensor.name not in raw else tensor.name)
        if tensor.dtype == "uint8":
            width = tensor.shape[1] or 0
            is_encoded = values.dtype == np.uint8 and values.ndim == 2 and values.shape[1] == width
            found[tensor.name] = values if is_encoded else padded(texts(values, source), width)
        else:
            found[tensor.name] = (integers if tensor.dtype == "int32" else floats)(values, source)
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise BrokenInput(f"inputs have different numbers of rows: {lengths}", remedy="give the same rows of each")
    return found


def column_of(raw: Mapping[str, Any], name: str) -> np.ndarray:
    """One raw input as an array.

    Raises:
        BrokenInput: it is not there.
    """
    if name not in raw:
        there = ", ".join(map(str, raw)) or "none"
        raise BrokenInput(f"input {name!r} is missing", remedy=f"the data has: {there}")
    values = raw[name]
    if isinstance(values, np.ndarray):
        return values
    listed = list(values) if not isinstance(values, (str, bytes)) and hasattr(values, "__iter__") else [[values]]
    try:
        array = np.asarray(listed)
    except (ValueError, OverflowError):
        array = np.empty(0, dtype=object)
    # numpy makes texts of [1, "a"] and cuts zero bytes off texts: what is not all numbers stays as it is.
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        array = np.empty(len(listed), dtype=object)
        array[:] = listed
    return array


def floats(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers as float32 ``[N]``: ``None`` is NaN, beyond float32 is infinite, subnormal is 0.

    Runtimes differ on whether a subnormal number equals 0; so none travels.
    """
    _must_be_flat(values, name)
    if values.dtype.kind == "O":
        values = np.array([_float(v, name) for v in values], dtype=np.float64)
    elif values.dtype.kind not in "biuf":
        raise _wrong_type(name, "numbers", _example(values))
    with np.errstate(over="ignore", under="ignore"):
        found = values.astype(np.float32)
    return np.where(np.abs(found) < _NORMAL, np.float32(0), found)


def integers(values: np.ndarray, name: str) -> np.ndarray:
    """Integers as int32 ``[N]``: what int32 cannot hold (missing, a fraction, too large) is MISSING_INT."""
    _must_be_flat(values, name)
    if values.dtype.kind == "O":
        found = [_integer(v, name) for v in values]
        return np.array(found, dtype=np.int64).astype(np.int32)
    if values.dtype.kind not in "biuf":
        raise _wrong_type(name, "integers", _example(values))
    if values.dtype.kind == "f":
        values = values.astype(np.float64)  # float32 would round the largest int32 up to one too many
        values = np.where(np.floor(values) == values, values, np.nan)
    fits = (values >= MISSING_INT) & (values <= INT_MAX)
    return np.where(fits, np.where(fits, values, 0).astype(np.int32), np.int32(MISSING_INT))


def texts(values: np.ndarray, name: str) -> list[bytes]:
    """Texts as UTF-8 bytes: ``None`` and NaN are empty, zero bytes at the end are none of a text."""
    _must_be_flat(values, name)
    if values.dtype.kind == "f" and np.isnan(values).all():
        return [b""] * len(values)  # how a column without any text comes out of a table reader
    if values.dtype.kind not in "OSU":
        raise _wrong_type(name, "texts", _example(values))
    return [_text(v, name) for v in values.tolist()]


def _float(value: Any, name: str, wanted: str = "numbers") -> float:
    if value is None:
        return math.nan
    if isinstance(value, (bool, int, float, np.number, np.bool_)) and not isinstance(value, np.complexfloating):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise _wrong_type(name, wanted, value)


def _integer(value: Any, name: str) -> int:
    if isinstance(value, (int, np.integer)):
        return int(value) if MISSING_INT <= value <= INT_MAX else MISSING_INT
    number = _float(value, name, "integers")
    return int(number) if number.is_integer() and MISSING_INT <= number <= INT_MAX else MISSING_INT


def _text(value: Any, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").rstrip(b"\0")
    if isinstance(value, bytes):
        return value.rstrip(b"\0")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return b""
    raise _wrong_type(name, "texts", value)


def _example(values: np.ndarray) -> Any:
    """The first value as plain Python shows it."""
    return values[0].item() if len(values) else values.dtype.name


def _wrong_type(name: str, wanted: str, found: Any) -> BrokenInput:
    return BrokenInput(
        f"holds {found!r}", where=f"input {name!r}", remedy=f"give {wanted}, or change the columns that read it"
    )


def _must_be_flat(values: np.ndarray, name: str) -> None:
    if values.ndim != 1:
        raise BrokenInput(f"has shape {list(values.shape)}", where=f"input {name!r}", remedy="give one value a row")
