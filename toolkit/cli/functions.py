"""A function of the user's own, ``FILE.py:FUNCTION``: a metric, or what divides the rows into slices."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput, UsageError


def is_one(text: str) -> bool:
    """Whether a name is a function's."""
    return re.search(r"\.py:\w+$", text) is not None


def load(text: str) -> Callable[..., Any]:
    """The function; its file runs.

    Raises:
        UsageError: there is no such file or function.
        BrokenInput: the file cannot be imported.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UsageError("there is no such file", where=file, remedy="write FILE.py:FUNCTION")
    module = _imported(path.resolve(), path.stat().st_mtime_ns)
    found = getattr(module, name, None)
    if not callable(found):
        there = [n for n, v in vars(module).items() if inspect.isfunction(v) and not n.startswith("_")]
        raise UsageError(f"has no function {name!r}", where=file, remedy=f"there are: {', '.join(there) or 'none'}")
    return found


def call(text: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns; what it raises is the user's fault, said in one line (:class:`BrokenInput`)."""
    try:
        return function(*arguments)
    except Exception as error:
        raise BrokenInput(f"raised {type(error).__name__}: {error}", where=text, remedy="mend it") from error


@functools.cache
def _imported(path: Path, changed: int) -> Any:
    spec = importlib.util.spec_from_file_location(f"edge_export_own_{abs(hash((path, changed)))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        what = f"cannot be imported ({type(error).__name__}: {error})"
        raise BrokenInput(what, where=str(path), remedy="mend it") from error
    return module
