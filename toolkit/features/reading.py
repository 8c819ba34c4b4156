"""A FeatureSpec as TOML or JSON, and back as JSON. Standard library only (``tomli`` on Python 3.10)."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput, EdgeExportError, UsageError
from toolkit.features.columns import Column
from toolkit.features.kinds import KINDS
from toolkit.features.spec import FeatureSpec
from toolkit.serial import SCHEMA_VERSION, to_json

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILE = "vocabulary_file"
_TOP = ("schema_version", "label", "task", "columns")


def load(path: Path | str) -> FeatureSpec:
    """The spec in a ``.toml`` or ``.json`` file. A ``vocabulary_file`` in it is looked for beside it.

    Raises:
        UsageError: the file's name ends otherwise.
        BrokenInput: it cannot be read, or what it declares is wrong.
    """
    path = Path(path)
    if path.suffix.lower() not in (".toml", ".json"):
        raise UsageError("is no spec's name", where=str(path), remedy="give a .toml or .json file")
    return loads(_read(path), format=path.suffix[1:].lower(), where=str(path), folder=path.parent)


def loads(text: str, *, format: str = "toml", where: str = "feature spec", folder: Path | None = None) -> FeatureSpec:
    """The spec in a text.

    Args:
        text: TOML or JSON.
        format: ``"toml"`` or ``"json"``.
        where: what errors call it.
        folder: where a relative ``vocabulary_file`` is looked for; the current one by default.

    Raises:
        UsageError: another format.
        BrokenInput: it is not TOML or JSON, or what it declares is wrong.
    """
    if format not in ("toml", "json"):
        raise UsageError(f"format {format!r} is unknown", where=where, remedy="there are: toml, json")
    try:
        data = tomllib.loads(text) if format == "toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenInput(f"is not {format.upper()} ({error})", where=where, remedy="correct the file") from error
    try:
        return _spec(data, folder or Path())
    except EdgeExportError as error:
        place = where if error.where in ("", "feature spec") else f"{where}: {error.where}"
        raise BrokenInput(error.what, where=place, remedy=error.remedy) from error


def dumps(spec: FeatureSpec) -> str:
    """The spec as JSON, with what it has learned; :func:`loads` gives an equal one. Equal specs, equal texts."""
    columns = [{k: v for k, v in to_json(column).items() if v is not None} for column in spec.columns]
    top = {"schema_version": SCHEMA_VERSION, "label": spec.label, "task": spec.task, "columns": columns}
    return json.dumps({k: v for k, v in top.items() if v is not None}, indent=1, allow_nan=False) + "\n"


def read_vocabulary(path: Path | str, *, dtype: str = "string") -> tuple[Any, ...]:
    """The words of a UTF-8 file, one a line; empty lines are passed over.

    Args:
        path: the file.
        dtype: ``"string"`` or ``"integer"``.

    Raises:
        BrokenInput: it cannot be read, a line is no integer where it should be, or a word stands in it twice.
    """
    path = Path(path)
    first: dict[Any, int] = {}
    for number, line in enumerate(_read(path).split("\n"), start=1):
        text = line.removesuffix("\r")
        if not text:
            continue
        try:
            word: Any = int(text) if dtype == "integer" else text
        except ValueError:
            raise BrokenInput(
                f"line {number} is no integer: {text[:40]!r}", where=str(path), remedy="correct it"
            ) from None
        if word in first:
            raise BrokenInput(
                f"has {word!r} twice, in lines {first[word]} and {number}", where=str(path), remedy="remove one"
            )
        first[word] = number
    if not first:
        raise BrokenInput("holds no words", where=str(path), remedy="write one word a line")
    return tuple(first)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BrokenInput(f"cannot be read ({error.strerror})", where=str(path), remedy="check the path") from error
    except UnicodeDecodeError as error:
        raise BrokenInput(f"is not UTF-8 (byte {error.start})", where=str(path), remedy="save it as UTF-8") from error


def _spec(data: Any, folder: Path) -> FeatureSpec:
    if not isinstance(data, dict):
        raise BrokenInput("is not a table of options", remedy='start with label = "NAME"')
    _must_know(data, _TOP, "option")
    version = data.get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise BrokenInput(
            f"has schema version {version!r}, this program reads up to {SCHEMA_VERSION}", remedy="update edge-export"
        )
    columns = data.get("columns", [])
    if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
        raise BrokenInput("columns is not a list of tables", remedy="write [[columns]] before each column")
    made = tuple(_column(options, i + 1, folder) for i, options in enumerate(columns))
    return FeatureSpec(label=data.get("label", ""), task=data.get("task"), columns=made)


def _column(options: Mapping[str, Any], number: int, folder: Path) -> Column:
    if "name" not in options:
        raise BrokenInput("has no name", where=f"column {number}", remedy='write name = "NAME"')
    where = f"column {options['name']!r}"
    kind = options.get("kind")
    if not isinstance(kind, str):
        raise BrokenInput("has no kind", where=where, remedy=f"there are: {', '.join(KINDS)}")
    _must_know([kind], KINDS, "kind", where)
    made = KINDS[kind]
    known = [f.name for f in fields(made) if f.init]
    given = {k: v for k, v in options.items() if k != "kind" and v is not None}
    _must_know(given, [*known, _FILE] if kind == "vocabulary" else known, f"option of {kind}", where)
    if _FILE in given:
        given["vocabulary"] = _words(given, where, folder)
    for option in ("size",) if kind == "hash_bucket" else ("of",) if kind == "crossed" else ():
        if option not in given:
            raise BrokenInput(f"has no {option}", where=where, remedy=f"write {option} = ...")
    return made(**given)


def _words(given: dict[str, Any], where: str, folder: Path) -> tuple[Any, ...]:
    name = given.pop(_FILE)
    if "vocabulary" in given:
        raise BrokenInput(f"has both vocabulary and {_FILE}", where=where, remedy="leave one out")
    if not isinstance(name, str):
        raise BrokenInput(f"{_FILE} = {name!r} is no path", where=where, remedy="write the path in quotes")
    return read_vocabulary(folder / name, dtype=given.get("dtype", "string"))


def _must_know(names: Iterable[str], known: Iterable[str], what: str, where: str = "") -> None:
    choices = list(known)
    for name in names:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(choices)}"
            raise BrokenInput(f"unknown {what} {name!r}", where=where, remedy=remedy)
