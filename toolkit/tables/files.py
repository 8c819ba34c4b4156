"""The files of a table: found by name or glob, unzipped if they are gzip, told apart by what is in them."""

from __future__ import annotations

import contextlib
import glob
import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import BrokenInput, UsageError, not_permitted

GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file, or bytes that came out of one. ``name`` is what errors call it."""

    name: str
    open: Callable[[], BinaryIO]

    def head(self, count: int) -> bytes:
        """The first bytes, unzipped."""
        return next(self.chunks(count), b"")

    def zipped(self) -> bool:
        """Whether it is gzip, by its content."""
        with _reading(self.name), self.open() as stream:
            return stream.read(2) == GZIP

    def chunks(self, size: int) -> Iterator[bytes]:
        """The content, unzipped, in pieces of at most ``size`` bytes.

        Raises:
            BrokenInput: damaged gzip, or the file cannot be read.
            MissingError: the file must not be read.
        """
        with _reading(self.name), self.open() as stream:
            zipped = stream.read(2) == GZIP
            stream.seek(0)
            source = gzip.GzipFile(fileobj=stream) if zipped else stream
            while piece := source.read(size):
                yield piece


def of_file(path: Path) -> Part:
    """The part that is a file on disk."""
    return Part(name=str(path), open=lambda: open(path, "rb"))


def of_bytes(name: str, data: bytes) -> Part:
    """The part that is in memory already."""
    return Part(name=name, open=lambda: io.BytesIO(data))


def find(pattern: str | Path) -> list[Path]:
    """The files that ``pattern`` names, in the order of their names.

    Args:
        pattern: a file, or a glob such as ``train.csv-*-of-*``.

    Raises:
        UsageError: a folder, no such file, or a glob that matches nothing.
    """
    path = Path(pattern)
    try:
        if path.is_file():  # also where its name has brackets
            return [path]
        if path.is_dir():
            raise UsageError("is a folder", where=str(path), remedy=f"give a file or a glob: {path}/*.csv")
    except PermissionError as error:
        raise not_permitted(path) from error
    if not glob.has_magic(str(pattern)):
        raise UsageError("there is no such file", where=str(path), remedy="check the path, or give a glob")
    found = sorted(p for p in map(Path, glob.glob(str(pattern), recursive=True)) if p.is_file())
    if not found:
        raise UsageError("matches no file", where=str(pattern), remedy="check the glob, and quote it for the shell")
    return found


def is_records(part: Part) -> bool:
    """Whether it is a TFRecord: its first 8 bytes are a length, the next 4 that length's checksum."""
    head = part.head(12)
    return len(head) == 12 and struct.unpack("<I", head[8:])[0] == masked_crc32c(head[:8])


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord: CRC-32C (RFC 3720, B.4), rotated and shifted (tensorflow/core/lib/hash/crc32c.h)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise not_permitted(name) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BrokenInput("is damaged gzip", where=name, remedy="get the file again") from error
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        raise BrokenInput(what, where=name, remedy="check the file") from error
