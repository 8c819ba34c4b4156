"""Columns out of a pickled pandas DataFrame, without pandas and without running what a pickle asks for.

A pickle names the functions it wants called. Here it gets stand-ins: numpy's dtypes and arrays for the data, and a
record that only remembers its arguments for everything of pandas. Any other name is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput

_REMEDY = "give the data as a CSV"


def columns(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The columns of a DataFrame that pandas 1 or 2 pickled, by name.

    Raises:
        BrokenInput: no pickle, one that asks for other functions, or one of something else than a DataFrame.
    """
    try:
        frame = _Unpickler(io.BytesIO(data)).load()
        blocks, (names, _) = frame.state["_mgr"].arguments
        labels = [str(name) for name in names.arguments[1]["data"]]
        found: dict[str, np.ndarray] = {}
        for block in blocks:
            values, place, _ = block.arguments
            for row, column in zip(values, np.arange(len(labels))[place], strict=True):
                found[labels[column]] = row
    except pickle.UnpicklingError as error:
        raise BrokenInput(f"is no pickled table ({error})", where=where, remedy=_REMEDY) from error
    # What a damaged pickle, or one of another shape, comes to: all of it means the same.
    except (EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError) as error:
        raise BrokenInput("is no pickled pandas DataFrame", where=where, remedy=_REMEDY) from error
    return {name: found[name] for name in labels if name in found}


class _Record:
    """Remembers what it was called with and what state it was given."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _frombuffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _reconstruct(subtype: type, shape: tuple[int, ...], kind: bytes) -> np.ndarray:
    return np.ndarray(shape, kind.decode("ascii"))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("builtins", "slice"): slice,
            ("numpy", "dtype"): np.dtype,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy.core.numeric", "_frombuffer"): _frombuffer,
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        }
        # numpy 2 writes its own new name.
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) in known:
            return known[module, name]
        if module.partition(".")[0] == "pandas":
            return _Record
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
