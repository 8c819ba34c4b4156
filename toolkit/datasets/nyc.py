"""Taxi rides in New York with the deck's five inputs: the user's own table, or made-up rides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit import tables
    from toolkit.datasets._dataset import Dataset

SUMMARY = "taxi fares in New York: your own table, or 20,000 made-up rides of a known formula"

RIDES, SEED = 20_000, 0
"""What is generated; both are part of the source's name."""


def load(*, data_dir: Path | None = None, source: str | None = None, progress: Progress) -> Dataset:
    """Rides; see :func:`toolkit.datasets.load` for arguments and errors.

    Inputs ``[N]``: ``pickup_longitude``, ``pickup_latitude``, ``dropoff_longitude``, ``dropoff_latitude`` in degrees
    and ``passenger_count``, float32, NaN where a field is empty. Label: ``fare_amount`` in US dollars, float32. The
    source ``generated`` is the formula of :mod:`toolkit.tables.generate`; its noise of 1 dollar is the least rmse that
    any model can have.
    """
    from toolkit.datasets._table_data import Field, Origin, Tabular

    nan = float("nan")
    rides = Tabular(
        name="nyc",
        label="fare_amount",
        fields=(
            Field(name="pickup_longitude", default=nan),
            Field(name="pickup_latitude", default=nan),
            Field(name="dropoff_longitude", default=nan),
            Field(name="dropoff_latitude", default=nan),
            Field(name="passenger_count", default=nan),
            Field(name="fare_amount"),
        ),
        origin=Origin(name="generated", said=f"{RIDES:,} generated rides (seed {SEED})", open=_generated),
    )
    return rides.load(data_dir=data_dir, source=source, progress=progress)


def _generated(progress: Progress) -> tables.Table:
    import numpy as np

    from toolkit import tables
    from toolkit.tables import generate

    drawn = np.concatenate(list(generate.rides(RIDES, SEED)))
    return tables.of_arrays(dict(zip(generate.SCHEMA.names, drawn.T, strict=True)))
