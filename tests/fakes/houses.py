"""Houses of a made-up formula, as the files a user may have them in."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.progress import Progress
from toolkit.tables import convert

HEADER = "sqft,rooms,kind,heating-cost,price"
SPEC = """label = "price"

[[columns]]
name = "sqft"
kind = "numeric"

[[columns]]
name = "sqft_band"
input = "sqft"
kind = "bucketized"
buckets = 4

[[columns]]
name = "rooms"
kind = "vocabulary"
indicator = true

[[columns]]
name = "kind"
kind = "vocabulary"
embedding = 2

[[columns]]
name = "heating-cost"
kind = "numeric"

[[columns]]
name = "kind_and_band"
kind = "crossed"
of = ["kind", "sqft_band"]
"""


def rows(count: int = 300, seed: int = 0) -> list[str]:
    """Rows of :data:`HEADER`; every tenth is there twice more, with other prices, and one in nine has no cost."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        sqft, rooms = int(rng.integers(400, 3000)), int(rng.integers(1, 7))
        kind = ("flat", "house", "castle")[rng.choice(3, p=[0.6, 0.3, 0.1])]
        cost = "" if rng.random() < 1 / 9 else f"{rng.normal(100, 20):.1f}"
        for _ in range(3 if rng.random() < 0.1 else 1):
            price = 50 + 0.1 * sqft + 5 * rooms + (100 if kind == "castle" else 0) + rng.normal(0, 5)
            found.append(f"{sqft},{rooms},{kind},{cost},{price:.2f}")
    return found


def write(path: Path, lines: Sequence[str], header: str | None = HEADER) -> Path:
    """A CSV; gzipped if its name ends so."""
    data = ("\n".join([*([header] if header else []), *lines]) + "\n").encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def shards(folder: Path, lines: Sequence[str], names: Sequence[str]) -> str:
    """Shards of equal size under ``names``, and the glob that matches them; the columns' order is each its own."""
    folder.mkdir()
    for i, name in enumerate(names):
        turned = [",".join(np.roll(line.split(","), i)) for line in (HEADER, *lines[i :: len(names)])]
        write(folder / name, turned[1:], turned[0])
    return str(folder / "*")


def records(source: Path) -> Path:
    """The same rows as a TFRecord beside it."""
    found = source.with_suffix(".tfrecord")
    convert(source, found, progress=Progress(quiet=True))
    return found
