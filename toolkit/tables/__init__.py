"""Tabular data, from memory, CSV or TFRecord: one schema, one way of reading, splits by content.

    table = open_table("train.csv-*-of-*", label="fare_amount", bad_rows="skip")
    for columns in table.batches(1024, split="train", shuffle=50_000, seed=1): ...
    batches = table.as_tf_dataset(32, split="train", shuffle=50_000, repeat=None)

Importing this imports numpy, not TensorFlow.
"""

from __future__ import annotations

from toolkit.tables.bad_rows import BadRow, Tally
from toolkit.tables.convert import Converted, convert
from toolkit.tables.identity import SPLITS, Shares
from toolkit.tables.schema import Column, Schema
from toolkit.tables.steps import Steps, steps
from toolkit.tables.table import Table, of_arrays, of_parts, open_table

__all__ = [
    "SPLITS",
    "BadRow",
    "Column",
    "Converted",
    "Schema",
    "Shares",
    "Steps",
    "Table",
    "Tally",
    "convert",
    "of_arrays",
    "of_parts",
    "open_table",
    "steps",
]
