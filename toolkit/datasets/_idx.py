"""Reads idx files, the format MNIST was published in, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from toolkit.errors import BrokenInput


def read(path: Path, dimensions: int) -> np.ndarray:
    """An array of unsigned bytes.

    Args:
        path: an idx file; gzip is recognised by its content.
        dimensions: 3 for images ``[N, rows, columns]``, 1 for labels ``[N]``.

    Raises:
        BrokenInput: wrong magic number, truncated, or damaged gzip.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenInput(f"cannot be read ({error})", where=str(path), remedy="download it again") from error
    # Magic: two zero bytes, 8 for unsigned bytes, the number of dimensions; then each size, big-endian.
    if data[:4] != bytes([0, 0, 8, dimensions]):
        raise BrokenInput(
            f"is not an idx file of {dimensions} dimensions (it starts with {data[:4].hex(' ')})",
            where=str(path),
            remedy="download it again",
        )
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    count = int(np.prod(shape, dtype=np.int64))
    if len(data) < start or len(data) - start != count:
        state = "truncated" if len(data) - start < count else "longer than it says"
        raise BrokenInput(
            f"is {state}: {max(0, len(data) - start)} of {count} bytes", where=str(path), remedy="download it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
