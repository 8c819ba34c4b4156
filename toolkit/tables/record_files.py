"""TFRecord files of tf.Example as blocks of columns: one value per feature, parsed in batches by TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput
from toolkit.tables import stream
from toolkit.tables.bad_rows import Tally
from toolkit.tables.files import Part
from toolkit.tables.parse import Columns, Parsed, check_label, lacks
from toolkit.tables.schema import Column, Schema, missing

RECORDS = 4096
"""Records that are parsed at a time."""

UNDER_WAY = 4

_FRAME = 16
"""Bytes of a record's length and of both checksums."""

KINDS = {"float_list": "float", "int64_list": "int", "bytes_list": "string"}
"""The column type of each kind of feature."""


@dataclass(frozen=True)
class RecordFiles:
    """One TFRecord or its shards; the parts' names are their paths."""

    parts: tuple[Part, ...]

    def blocks(self, part: Part, schema: Schema, tally: Tally, pool: Executor) -> Iterator[Columns]:
        """The rows of a file in its order; errors as of CSV files, and BrokenInput for a wrong checksum."""
        done = 0
        for parsed in stream.ahead(lambda batch: _parsed(batch, schema), batches(part), pool, UNDER_WAY):
            for offset, what in parsed.bad:
                tally.refuse(f"{part.name}, record {done + offset + 1:,}", what, row=tally.seen + offset)
            tally.place = _placed(part, tally.seen - done)
            done += parsed.lines
            tally.seen += parsed.rows
            if stream.size(parsed.columns):
                yield parsed.columns


def batches(part: Part, size: int | None = None) -> Iterator[Any]:
    """Serialized records as string tensors ``[size]`` (:data:`RECORDS`), the last one shorter.

    Raises:
        BrokenInput: a record that is cut off or whose checksum is wrong, with its place in the file.
    """
    import tensorflow as tf

    zipped = "GZIP" if part.zipped() else None
    dataset = tf.data.TFRecordDataset(part.name, compression_type=zipped, buffer_size=1 << 20)
    records = iter(dataset.batch(size or RECORDS).prefetch(2))
    read = 0
    while True:
        try:
            batch = next(records, None)
        except tf.errors.DataLossError as error:
            raise _damaged(part, error.message, zipped is not None) from error
        except tf.errors.OpError as error:
            raise BrokenInput(f"cannot be read ({error.message})", where=part.name, remedy="check the file") from error
        if batch is None:
            # TensorFlow takes a file that ends within a record's length for one that ends before it.
            if not zipped and read != os.path.getsize(part.name):
                raise _damaged(part, f"truncated record at {read}", False)
            return
        read += _FRAME * int(batch.shape[0]) + int(tf.reduce_sum(tf.strings.length(batch)))
        yield batch


def _damaged(part: Part, message: str, zipped: bool) -> BrokenInput:
    # "corrupted record at 123" or "truncated record at 123", where the damaged length or content begins.
    place = re.search(r"(corrupted|truncated) record at (\d+)", message)
    if place is None:
        what = "is damaged gzip" if zipped else f"is damaged ({message})"
        return BrokenInput(what, where=part.name, remedy="get the file again")
    what = "its checksum is wrong" if place[1] == "corrupted" else "the file ends in the middle of it"
    where = f"byte {int(place[2]):,}{' of the unzipped file' if zipped else ''}"
    return BrokenInput(
        f"the record at {where} is damaged ({what})", where=part.name, remedy="get the file again, or write it anew"
    )


def _parsed(batch: Any, schema: Schema) -> Parsed:
    import tensorflow as tf

    count = int(batch.shape[0])
    try:
        found = tf.io.parse_example(batch, {c.name: _feature(c) for c in schema.columns})
        columns = {c.name: found[c.name].numpy() for c in schema.columns}
        for column in schema.columns:
            if column.type == "string":
                columns[column.name] = schema.cast(column, [v.decode("utf-8") for v in columns[column.name]])
        wrong: dict[int, str] = {}
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
        # The batch has a malformed record. Only one by one can they be told apart.
        columns, wrong = _one_by_one(batch.numpy(), schema)
    check_label(columns, schema, wrong)
    if wrong:
        kept = np.ones(count, dtype=bool)
        kept[list(wrong)] = False
        columns = stream.take(columns, kept)
    places = tuple(sorted(wrong))
    bad = tuple((row, wrong[row]) for row in places)
    return Parsed(columns=columns, bad=bad, places=places, lines=count, line_of=lambda place: place)


def _placed(part: Part, first: int) -> Callable[[int], str]:
    return lambda row: f"{part.name}, record {row - first + 1:,}"


def _feature(column: Column) -> Any:
    import tensorflow as tf

    dtype = {"float": tf.float32, "int": tf.int64, "string": tf.string}[column.type]
    return tf.io.FixedLenFeature([], dtype, column.default)


def _one_by_one(records: np.ndarray, schema: Schema) -> tuple[Columns, dict[int, str]]:
    from google.protobuf.message import DecodeError
    from tensorflow.train import Example

    wrong: dict[int, str] = {}
    values: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row, record in enumerate(records):
        try:
            features = Example.FromString(record).features.feature
        except DecodeError:
            features = {}
            wrong[row] = "is no tf.Example"
        for column in schema.columns:
            value, problem = _value(features, column, schema)
            if problem:
                wrong.setdefault(row, problem)
            values[column.name].append(value)
    return {c.name: schema.cast(c, values[c.name]) for c in schema.columns}, wrong


def _value(features: Any, column: Column, schema: Schema) -> tuple[Any, str]:
    """A feature's one value, and what is wrong with it."""
    kind = features[column.name].WhichOneof("kind") if column.name in features else None
    held = getattr(features[column.name], kind).value if kind else []
    if kind is None or not len(held):
        return missing(column), "" if column.default is not None else lacks(column, schema)
    if KINDS[kind] != column.type:
        return missing(column), f"column {column.name!r} is of type {KINDS[kind]}, not {column.type}"
    if len(held) != 1:
        return missing(column), f"column {column.name!r} has {len(held)} values, not 1"
    if column.type != "string":
        return held[0], ""
    try:
        return held[0].decode("utf-8"), ""
    except UnicodeDecodeError:
        return missing(column), f"column {column.name!r} is not UTF-8"
