"""Records as JSON and back, for any frozen dataclass. Apart from the records, whose import takes longer."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

SCHEMA_VERSION = 1

T = TypeVar("T")


def to_json(record: Any) -> Any:
    """A record (or a container of records) as plain JSON values; tuples become lists.

    Infinities have no JSON form and become the strings ``"inf"`` and ``"-inf"``; NaN becomes ``"nan"``.
    """
    if is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_json(getattr(record, f.name)) for f in fields(record)}
    if isinstance(record, Mapping):
        return {str(k): to_json(v) for k, v in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(v) for v in record]
    if isinstance(record, float) and (record != record or record in (float("inf"), float("-inf"))):
        return str(record)
    return record


def from_json(cls: type[T], data: Any) -> T:
    """The record that :func:`to_json` wrote.

    Unknown fields are ignored (a newer writer may add some).

    Raises:
        ValueError: a field is missing or has the wrong JSON type.
    """
    return typing.cast(T, _read(cls, data, cls.__name__))


def _read(kind: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _read(next(a for a in args if a is not type(None)), data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{where}: expected a list, found {type(data).__name__}")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_read(args[0], v, f"{where}[{i}]") for i, v in enumerate(data))
        if len(args) != len(data):
            raise ValueError(f"{where}: expected {len(args)} values, found {len(data)}")
        return tuple(_read(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, data, strict=True)))
    if origin is dict:
        if not isinstance(data, dict):
            raise ValueError(f"{where}: expected an object, found {type(data).__name__}")
        return {k: _read(args[1], v, f"{where}.{k}") for k, v in data.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_record(kind, data, where)
    if kind is float and isinstance(data, (int, float, str)) and not isinstance(data, bool):
        return float(data)
    if kind in (int, str, bool) and type(data) is kind:
        return data
    raise ValueError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {type(data).__name__}")


def _read_record(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object, found {type(data).__name__}")
    hints = typing.get_type_hints(kind)
    values = {}
    for f in fields(kind):
        if f.name in data:
            values[f.name] = _read(hints[f.name], data[f.name], f"{where}.{f.name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{where}: field {f.name!r} is missing")
    return kind(**values)
