"""Reads idx files, the format of the original MNIST (http://yann.lecun.com/exdb/mnist), gzipped or not.

Two zero bytes, a type byte, the number of dimensions, then each dimension as a big-endian uint32, then
the values. Only unsigned bytes (type 8) are read.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from toolkit.errors import BrokenInput, not_permitted

_UNSIGNED_BYTE = 8
_BLOCK = 1 << 20


def read(path: Path, *, dimensions: int) -> np.ndarray:
    """The uint8 array in an idx file.

    Args:
        path: the file; whether it is gzipped is seen from its first bytes, not from its name.
        dimensions: how many the array must have (images 3, labels 1).

    Raises:
        BrokenInput: wrong magic number, wrong number of dimensions, too few or too many bytes, none, damaged gzip.
        MissingError: the file must not be read.
    """
    try:
        with open(path, "rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.open(plain, "rb") if zipped else contextlib.nullcontext(plain) as stream:
                return _read(cast("IO[bytes]", stream), path, dimensions)
    except PermissionError as error:
        raise not_permitted(path) from error
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenInput(
            f"cannot be read ({error or type(error).__name__})", where=str(path), remedy="fetch the file again"
        ) from error


def _read(stream: IO[bytes], path: Path, dimensions: int) -> np.ndarray:
    head = stream.read(4)
    wanted = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if head != wanted:
        raise BrokenInput(
            f"is not an idx file of unsigned bytes with {dimensions} dimension(s): it begins with "
            f"{head.hex(' ') or 'nothing'}, not {wanted.hex(' ')}",
            where=str(path),
            remedy="check that images and labels were not mixed up, or fetch the file again",
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise BrokenInput("is truncated in its header", where=str(path), remedy="fetch the file again")
    shape = struct.unpack(f">{dimensions}I", sizes)
    expected = math.prod(shape)
    # In blocks: a damaged header can promise terabytes, which must not be allocated.
    found = bytearray()
    while len(found) <= expected and (block := stream.read(_BLOCK)):
        found += block
    if len(found) != expected:
        state = f"is truncated: {len(found):,} of" if len(found) < expected else "holds more than the"
        raise BrokenInput(
            f"{state} {expected:,} bytes promised by its header", where=str(path), remedy="fetch the file again"
        )
    if not expected:  # numpy cannot even name some shapes without values, such as 4294967295 x 4294967295 x 0
        raise BrokenInput("holds no values", where=str(path), remedy="fetch the file again")
    return np.frombuffer(bytes(found), dtype=np.uint8).reshape(shape)
