"""Taxi trips in Chicago, 15,002 real ones: the user's own table, or the one in a registry's wheel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit import tables
    from toolkit.datasets._dataset import Dataset

SUMMARY = "taxi fares: your own table, or 15,002 trips in Chicago from the tfx wheel"

WHEEL_SHA256 = "51032ac740ac6d28185c2814ada5a7e917f3016bcd2043f03ba98e7e674e4165"
MEMBER_SHA256 = "cdaf0b5931442ef47693f408f25a37af710aca23fccb90a78f00930e89548805"
"""Digests of the tfx 1.21.0 wheel, and of its sample of Chicago's open data in it."""

NO_AREA = -1
"""Stands in where a trip has no community area (they are numbered from 1)."""


def load(*, data_dir: Path | None = None, source: str | None = None, progress: Progress) -> Dataset:
    """Trips; see :func:`toolkit.datasets.load` for arguments and errors.

    Inputs ``[N]``: the coordinates of both ends in degrees (NaN where the trip has none), hour, day and month of the
    start, and where they are there ``trip_miles``, ``trip_seconds``, areas, census tracts, payment and company.
    Label: ``fare`` in US dollars, float32. ``tips`` are no input: they are given after the fare is known.
    """
    from toolkit.datasets._table_data import Field, Tabular, in_wheel
    from toolkit.datasets._wheel import WheelMember

    nan = float("nan")
    trips = Tabular(
        name="chicago",
        label="fare",
        fields=(
            Field(name="pickup_latitude", default=nan),
            Field(name="pickup_longitude", default=nan),
            Field(name="dropoff_latitude", default=nan),
            Field(name="dropoff_longitude", default=nan),
            Field(name="trip_start_hour", type="int"),
            Field(name="trip_start_day", type="int"),
            Field(name="trip_start_month", type="int"),
            Field(name="trip_start_timestamp", type="int", optional=True),
            Field(name="trip_miles", default=nan, optional=True),
            Field(name="trip_seconds", default=nan, optional=True),
            Field(name="pickup_community_area", type="int", default=NO_AREA, optional=True),
            Field(name="dropoff_community_area", type="int", default=NO_AREA, optional=True),
            # Eleven digits: more than float32 or int32 hold.
            Field(name="pickup_census_tract", type="string", default="", optional=True),
            Field(name="dropoff_census_tract", type="string", default="", optional=True),
            Field(name="payment_type", type="string", default="", optional=True),
            Field(name="company", type="string", default="", optional=True),
            Field(name="fare"),
        ),
        origin=in_wheel(
            WheelMember(
                name="tfx",
                version="1.21.0",
                wheel_sha256=WHEEL_SHA256,
                member="tfx/examples/chicago_taxi_pipeline/data/simple/data.csv",
                member_sha256=MEMBER_SHA256,
            ),
            _unpack,
        ),
    )
    return trips.load(data_dir=data_dir, source=source, progress=progress)


def _unpack(data: bytes, where: str) -> tables.Table:
    from toolkit import tables
    from toolkit.tables import files

    return tables.of_parts((files.of_bytes(where, data),))
