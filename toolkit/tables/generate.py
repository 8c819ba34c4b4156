"""Made-up taxi rides with the columns of New York's fares, as many as wanted, for tests of scale.

    fare_amount = 3.00 + 1.55 * km + noise,  km = 111.2 * (|Δlatitude| + cos(40.75°) * |Δlongitude|)

3.00 is New York's flag fall of 2012 with its surcharge, 1.55 its 2.50 dollars a mile; km is the way along a grid of
streets, 111.2 km to a degree; noise is normal with a deviation of 1 dollar; no fare is below 2.50. Both ends are
normal around Manhattan (40.75, -73.97) with a deviation of 0.03 degrees, kept within 40.5..41.0 and -74.3..-73.7.
``passenger_count`` is 1 to 6, one passenger in two rides of three, and has no effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toolkit.errors import UsageError
from toolkit.progress import Progress
from toolkit.store import replacing
from toolkit.tables.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="fare_amount"),
        Column(name="pickup_longitude"),
        Column(name="pickup_latitude"),
        Column(name="dropoff_longitude"),
        Column(name="dropoff_latitude"),
        Column(name="passenger_count", type="int"),
    ),
    label="fare_amount",
)

BLOCK = 50_000
"""Rides that are drawn together: a ride depends on the seed and its number, not on the number of shards."""

_ROW = "%.2f,%.6f,%.6f,%.6f,%.6f,%d\n"


def rides(rows: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Rides as float64 ``[n, 6]`` in the order of the schema's columns, rounded as they are written."""
    for number, first in enumerate(range(0, rows, BLOCK)):
        rng = np.random.default_rng([seed, number])
        n = BLOCK  # a shorter last block is cut, not drawn otherwise
        latitude = np.clip(rng.normal(40.75, 0.03, (2, n)), 40.5, 41.0).round(6)
        longitude = np.clip(rng.normal(-73.97, 0.03, (2, n)), -74.3, -73.7).round(6)
        narrow = math.cos(math.radians(40.75))
        km = 111.2 * (np.abs(latitude[1] - latitude[0]) + narrow * np.abs(longitude[1] - longitude[0]))
        fare = np.maximum(3.00 + 1.55 * km + rng.normal(0.0, 1.0, n), 2.50).round(2)
        passengers = np.where(rng.random(n) < 2 / 3, 1, rng.integers(1, 7, n))
        block = np.stack([fare, longitude[0], latitude[0], longitude[1], latitude[1], passengers], axis=1)
        yield block[: rows - first]


def write(
    prefix: Path, rows: int, *, shards: int = 1, seed: int = 0, header: bool = True, progress: Progress
) -> list[Path]:
    """Writes rides to ``PREFIX`` or to ``PREFIX-00000-of-00004`` and so on, one block in memory at a time.

    Args:
        prefix: the file, or the shards' names up to their number.
        rows: rides in all; at least one per shard.
        shards: files they are dealt to, in order and evenly.
        seed: same seed, same rides.
        header: whether every file begins with the names.
        progress: told the rides so far.

    Raises:
        UsageError: fewer rows than shards, or no shard.
        MissingError: the files cannot be written.
    """
    if shards < 1 or rows < shards:
        raise UsageError(f"{rows} rows in {shards} shards", remedy="give one row or more for every shard")
    paths = [prefix] if shards == 1 else [Path(f"{prefix}-{i:05d}-of-{shards:05d}") for i in range(shards)]
    ends = [rows * (i + 1) // shards for i in range(shards)]
    blocks = rides(rows, seed)
    waiting, done = np.zeros((0, len(SCHEMA.columns))), 0
    with progress.task(f"generating {rows:,} rides", rows) as task:
        for path, end in zip(paths, ends, strict=True):
            with replacing(path) as beside, open(beside, "w", encoding="ascii") as out:
                if header:
                    out.write(",".join(SCHEMA.names) + "\n")
                while done < end:
                    if not len(waiting):
                        waiting = next(blocks)
                    part, waiting = waiting[: end - done], waiting[end - done :]
                    out.write(_ROW * len(part) % tuple(part.ravel().tolist()))
                    done += len(part)
                    task.advance(len(part))
    return paths
