"""Reads arrays from an npz that anybody may have written, in any state."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from toolkit.errors import BrokenInput, not_permitted

_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    RuntimeError,  # an encrypted member, or a compression that zipfile does not know
    MemoryError,  # a damaged header promises terabytes
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise for a file that is no npz, or a damaged one."""


def read(path: Path, wanted: Sequence[str] | None = None, *, remedy: str) -> dict[str, np.ndarray]:
    """Arrays of an npz by name.

    Args:
        path: the file.
        wanted: the arrays that must be there and alone are read; ``None``: all.
        remedy: what the error says to do about it.

    Raises:
        BrokenInput: not an npz, damaged, arrays missing, or arrays of Python objects.
        MissingError: the file must not be read.
    """
    try:
        # Opened here: of a damaged file numpy leaves the stream open.
        with open(path, "rb") as stream:
            return _read(stream, path, wanted, remedy)
    except PermissionError as error:
        raise not_permitted(path) from error
    except _UNREADABLE as error:
        objects = "object arrays" in str(error).lower() and zipfile.is_zipfile(path)
        reason = "an array of Python objects" if objects else "damaged, or not an npz"
        raise BrokenInput(f"cannot be read ({reason})", where=str(path), remedy=remedy) from error


def _read(stream: BinaryIO, path: Path, wanted: Sequence[str] | None, remedy: str) -> dict[str, np.ndarray]:
    # Never pickle: an array of objects runs whatever code its author liked.
    archive = np.load(stream, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError("a single array")
    with archive:
        missing = [name for name in wanted or () if name not in archive.files]
        if missing:
            raise BrokenInput(
                f"has no array {', '.join(missing)} (it has: {', '.join(archive.files) or 'none'})",
                where=str(path),
                remedy=remedy,
            )
        arrays = {name: archive[name] for name in (archive.files if wanted is None else wanted)}
    # numpy hands out the bytes of a member that is no array.
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("a member that is no array")
    return arrays
