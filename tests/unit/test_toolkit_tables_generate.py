"""Made-up rides: the documented formula, the same rides for the same seed, whatever the shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit import tables
from toolkit.errors import UsageError
from toolkit.progress import Progress
from toolkit.tables import generate

QUIET = Progress(quiet=True)


def test_shards_hold_the_rides_in_order(tmp_path: Path) -> None:
    (one,) = generate.write(tmp_path / "one.csv", 1001, seed=3, progress=QUIET)
    shards = generate.write(tmp_path / "rides.csv", 1001, shards=4, seed=3, progress=QUIET)
    assert [p.name for p in shards] == [f"rides.csv-0000{i}-of-00004" for i in range(4)]
    lines = one.read_text().splitlines()
    assert [line for p in shards for line in p.read_text().splitlines()[1:]] == lines[1:]
    assert all(p.read_text().splitlines()[0] == ",".join(generate.SCHEMA.names) for p in shards)
    assert len(lines) == 1002
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.csv", *[p.name for p in shards]]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    (path,) = generate.write(tmp_path / "r.csv", 500, seed=1, header=False, progress=QUIET)
    table = tables.open_table(path, columns=generate.SCHEMA.names, label="fare_amount")
    read, made = table.read(), next(generate.rides(500, 1))
    for i, name in enumerate(generate.SCHEMA.names):
        assert np.array_equal(read[name], made[:, i].astype(read[name].dtype))


def test_the_formula_and_the_ranges() -> None:
    fare, lon1, lat1, lon2, lat2, passengers = np.concatenate(list(generate.rides(60_000, 2))).T
    km = 111.2 * (np.abs(lat2 - lat1) + np.cos(np.radians(40.75)) * np.abs(lon2 - lon1))
    noise = (fare - 3.00 - 1.55 * km)[fare > 2.5]
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
    assert fare.min() == 2.5
    assert ((lat1 >= 40.5) & (lat1 <= 41) & (lon2 >= -74.3) & (lon2 <= -73.7)).all()
    assert set(passengers) == set(range(1, 7))
    assert abs((passengers == 1).mean() - (2 / 3 + 1 / 18)) < 0.01


def test_more_rides_begin_with_the_same_rides() -> None:
    few, many = (np.concatenate(list(generate.rides(n, 9))) for n in (100, generate.BLOCK + 100))
    assert np.array_equal(few, many[:100])
    assert len(many) == generate.BLOCK + 100
    assert not np.array_equal(few, next(generate.rides(100, 10)))


@pytest.mark.parametrize(("rows", "shards"), [(3, 4), (0, 1), (1, 0)])
def test_too_few_rows(tmp_path: Path, rows: int, shards: int) -> None:
    with pytest.raises(UsageError):
        generate.write(tmp_path / "r.csv", rows, shards=shards, progress=QUIET)
    assert list(tmp_path.iterdir()) == []
