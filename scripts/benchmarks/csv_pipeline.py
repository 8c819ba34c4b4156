"""Rows per second of the table pipeline, on one generated file, against three others.

- the course's own: TextLineDataset, map(decode_csv) row by row, shuffle, batch (asked: at least 15x);
- reading the bytes and doing nothing with them;
- for TFRecord: TFRecordDataset, map(parse_single_example) record by record, shuffle, batch.

Both sides of a pair run one after the other in one process, and the ratio is the median over rounds. Then peak memory
(VmHWM of a child process that reads the whole file in batches) for 100 MB and, with --large, 2 GB: asked is that it
stays flat.

python scripts/benchmarks/csv_pipeline.py [--rows N] [--rounds N] [--large]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from toolkit import tables
from toolkit.progress import Progress
from toolkit.tables import generate

BATCH_SIZES = (32, 512)
"""The course's own batch, and one where TensorFlow's cost per batch no longer shows."""

BUFFER = 10_000
ASKED = 15.0
SLOW_ROWS = 100_000
"""Rows that the slow sides are timed over: their rate does not depend on it."""

BYTES_PER_ROW = 49.9
ASKED_GROWTH_MB = 50

CHILD = """
import sys
from toolkit import tables
table = tables.open_table(sys.argv[1], label="fare_amount")
rows = sum(len(b["fare_amount"]) for b in table.batches(512, split="train", shuffle=10_000))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(rows, int(peak.split()[1]) / 1024)
"""


def counted(dataset: Any) -> int:
    """Rows of a dataset of (inputs, label)."""
    import tensorflow as tf

    return int(dataset.reduce(0, lambda rows, batch: rows + tf.shape(batch[1])[0]))


def consumed(dataset: Any, rows: int) -> int:
    """Takes everything out of a dataset of ``rows`` rows, which costs next to nothing in C++, and returns ``rows``."""
    assert not list(dataset.skip(rows + 1))
    return rows


def row_by_row(path: Path, batch_size: int) -> Any:
    """The course's pipeline."""
    import tensorflow as tf

    def parse(line: Any) -> Any:
        columns = dict(zip(generate.SCHEMA.names, tf.io.decode_csv(line, [[0.0]] * 6), strict=True))
        return columns, columns.pop("fare_amount")

    return tf.data.TextLineDataset(str(path)).skip(1).take(SLOW_ROWS).map(parse).shuffle(BUFFER).batch(batch_size)


def record_by_record(path: Path, batch_size: int) -> Any:
    """The same for tf.Example."""
    import tensorflow as tf

    spec = {
        c.name: tf.io.FixedLenFeature([], tf.int64 if c.type == "int" else tf.float32) for c in generate.SCHEMA.columns
    }

    def parse(record: Any) -> Any:
        columns = tf.io.parse_single_example(record, spec)
        return columns, columns.pop("fare_amount")

    return tf.data.TFRecordDataset(str(path)).take(SLOW_ROWS).map(parse).shuffle(BUFFER).batch(batch_size)


def ours(path: Path, batch_size: int) -> Any:
    """The table pipeline, with the same buffer and batches; the columns are declared, as on the other side."""
    return tables.open_table(path, schema=generate.SCHEMA).as_tf_dataset(batch_size, shuffle=BUFFER)


def read_bytes(path: Path) -> int:
    """Bytes of a file, read in blocks."""
    total = 0
    with open(path, "rb", buffering=0) as stream:
        while block := stream.read(1 << 20):
            total += len(block)
    return total


def per_second(work: Callable[[], int]) -> float:
    """What ``work`` counted, per second."""
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


def compared(
    title: str, left: Callable[[Path, int], Any], right: Callable[[Path, int], Any], path: Path, rounds: int
) -> bool:
    """Prints both sides per batch size; whether all of them keep what is asked."""
    good = True
    for batch_size in BATCH_SIZES:
        sides = [(made, counted(made(path, batch_size))) for made in (left, right)]  # and warms up
        rates = [[rate(made, path, batch_size, rows) for made, rows in sides] for _ in range(rounds)]
        fast, slow = (statistics.median(side) for side in zip(*rates, strict=True))
        ratio = statistics.median(a / b for a, b in rates)
        good &= ratio >= ASKED
        print(
            f"{title}, batches of {batch_size}: {fast:,.0f} rows/s, one by one {slow:,.0f} rows/s, {ratio:.1f}x "
            f"(asked {ASKED:g}x: {'kept' if ratio >= ASKED else 'NOT KEPT'})"
        )
    return good


def rate(made: Callable[[Path, int], Any], path: Path, batch_size: int, rows: int) -> float:
    """Rows per second of making a pipeline and emptying it."""
    return per_second(lambda: consumed(made(path, batch_size), rows))


def peak(path: Path) -> tuple[int, float]:
    """Rows that a child process read, and its peak memory in MB."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, capture_output=True, text=True)
    rows, megabytes = done.stdout.split()
    return int(rows), float(megabytes)


def memory(folder: Path, sizes: list[int], quiet: Progress) -> bool:
    """Prints the peak for every size in MB; whether it stays flat."""
    found = []
    for size in sizes:
        rows = int(size * 1e6 / BYTES_PER_ROW)
        (path,) = generate.write(folder / f"{size}.csv", rows, seed=1, progress=quiet)
        read, megabytes = peak(path)
        found.append(megabytes)
        print(f"memory: {path.stat().st_size / 1e6:,.0f} MB, {read:,} rows read, peak {megabytes:,.0f} MB")
        path.unlink()
    growth = found[-1] - found[0]
    print(f"memory grows by {growth:,.0f} MB (asked: at most {ASKED_GROWTH_MB})")
    return growth <= ASKED_GROWTH_MB


def main() -> int:
    """Prints all comparisons; 1 if one is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the generated file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="memory for 2 GB as well (needs the disk space)")
    given = parser.parse_args()
    quiet = Progress(quiet=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (csv,) = generate.write(folder / "rides.csv", given.rows, progress=quiet)
        record = tables.convert(csv, folder / "rides.tfrecord", label="fare_amount", progress=quiet).path
        good = compared("CSV", ours, row_by_row, csv, given.rounds)
        good &= compared("TFRecord", ours, record_by_record, record, given.rounds)
        table = tables.open_table(csv, schema=generate.SCHEMA)
        columns = statistics.median(
            per_second(lambda: sum(len(b["fare_amount"]) for b in table.batches())) for _ in range(given.rounds)
        )
        per_row = csv.stat().st_size / given.rows
        raw = statistics.median(per_second(lambda: read_bytes(csv)) for _ in range(given.rounds))
        print(
            f"to numpy columns: {columns:,.0f} rows/s, {columns * per_row / 1e6:,.0f} MB/s; reading the bytes (cached) "
            f"{raw / 1e6:,.0f} MB/s, {raw / (columns * per_row):.0f}x as fast"
        )
        good &= memory(folder, [10, 100, 2000] if given.large else [10, 100], quiet)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
