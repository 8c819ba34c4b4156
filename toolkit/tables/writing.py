"""Tables to CSV and TFRecord, gzipped or not, the same bytes for the same rows."""

from __future__ import annotations

import contextlib
import errno
import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from toolkit.tables import example, stream
from toolkit.tables.parse import Columns
from toolkit.tables.schema import Schema

_QUOTED = re.compile(r'[",\r\n]|\A[ \t]|[ \t]\Z|\A\Z')
"""Text that would not come back as it is: separators, quotes, outer spaces, and nothing at all."""


def csv(blocks: Iterable[Columns], schema: Schema, path: Path, *, zipped: bool = False) -> int:
    """Writes a CSV, with a header line if the schema has one; returns its rows.

    Numbers are the shortest decimals that read back equal, NaN is ``nan``; text is quoted where it must be.
    """
    rows = 0
    with _opened(path, zipped) as out:
        if schema.header:
            out.write((",".join(map(_text, schema.names)) + "\n").encode())
        for block in blocks:
            written = [_WRITE[column.type](block[column.name]) for column in schema.columns]
            out.write("".join(f"{','.join(row)}\n" for row in zip(*written, strict=True)).encode())
            rows += stream.size(block)
    return rows


def records(blocks: Iterable[Columns], schema: Schema, path: Path, *, zipped: bool = False) -> int:
    """Writes a TFRecord of ``tf.train.Example``, a feature of one value for every column; returns its rows.

    Raises:
        OSError: it cannot be written.
    """
    import tensorflow as tf

    rows = 0
    options = tf.io.TFRecordOptions(compression_type="GZIP" if zipped else "")
    try:
        with tf.io.TFRecordWriter(str(path), options) as out:
            for block in blocks:
                for record in example.serialized(block, schema):
                    out.write(record)
                rows += stream.size(block)
    except tf.errors.OpError as error:
        # In Python's words, as the writing of any other file fails.
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        raise OSError(errno.ENOSPC if full else errno.EIO, error.message, str(path)) from error
    return rows


def _floats(values: np.ndarray) -> list[str]:
    return [str(v) for v in values]


def _ints(values: np.ndarray) -> list[str]:
    return list(map(str, values.tolist()))


def _texts(values: np.ndarray) -> list[str]:
    return list(map(_text, values))


_WRITE: dict[str, Callable[[np.ndarray], list[str]]] = {"float": _floats, "int": _ints, "string": _texts}


def _text(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value


@contextlib.contextmanager
def _opened(path: Path, zipped: bool) -> Iterator[BinaryIO]:
    with open(path, "wb") as raw:
        if not zipped:
            yield raw
            return
        # Without a time and a name in it the same rows give the same bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as stream_:
            yield cast(BinaryIO, stream_)
