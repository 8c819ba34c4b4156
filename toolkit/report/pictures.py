"""Samples as PNG images inside the page. The standard library's zlib is all a PNG needs."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import Any

_COLOUR_TYPE = {1: 0, 3: 2}  # PNG specification, table 11.1: greyscale, truecolour


def data_uri(image: Any) -> str:
    """A ``data:image/png`` address of raw pixels.

    Args:
        image: ``{"shape": [h, w] or [h, w, 1 or 3], "dtype": "uint8", "base64": raw bytes, row by row}``.

    Raises:
        ValueError: not such a picture, or the bytes do not fill the shape.
    """
    if not isinstance(image, dict) or image.get("dtype") != "uint8" or not isinstance(image.get("shape"), list):
        raise ValueError("a picture needs a shape, dtype uint8 and base64 bytes")
    shape = [*image["shape"], 1] if len(image["shape"]) == 2 else image["shape"]
    if len(shape) != 3 or shape[2] not in _COLOUR_TYPE or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(f"a picture of shape {image['shape']} is neither grey nor RGB")
    try:
        pixels = base64.b64decode(image.get("base64") or "", validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"the picture's bytes are not base64 ({error})") from error
    height, width, channels = shape
    if len(pixels) != height * width * channels:
        raise ValueError(f"{len(pixels)} bytes do not fill a picture of shape {image['shape']}")
    return "data:image/png;base64," + base64.b64encode(_png(pixels, height, width, channels)).decode("ascii")


def _png(pixels: bytes, height: int, width: int, channels: int) -> bytes:
    row = width * channels
    # Each row starts with its filter; 0 is none.
    lines = b"".join(b"\0" + pixels[i * row : (i + 1) * row] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines, 9)) + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
