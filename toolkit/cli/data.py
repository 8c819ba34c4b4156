"""``data convert``: a table from CSV to TFRecord or back."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import options


@click.group("data")
def command() -> None:
    """Tables as files: CSV and TFRecord."""


@command.command("convert")
@click.argument("source")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--label", help="The label's column: rows without a finite label are malformed.")
@click.option("--columns", help="Names of all columns, with commas, of a CSV without a header line.")
@click.option(
    "--bad-rows",
    default="error",
    show_default=True,
    help="What to do with malformed rows: error (write nothing) or skip.",
)
@options.output
def convert(
    source: str,
    destination: Path,
    label: str | None,
    columns: str | None,
    bad_rows: str,
    as_json: bool,
    run_dir: Path | None,
) -> None:
    """Convert SOURCE, a CSV or TFRecord or a quoted glob of shards, to DESTINATION.

    DESTINATION ends in .csv, .tfrecord or .tfrecords, with .gz behind it to zip it.

    \b
    Examples:
      edge-export data convert train.csv train.tfrecord --label price
      edge-export data convert 'train.csv-*-of-*' train.tfrecord.gz --bad-rows skip
      edge-export data convert rides.tfrecord rides.csv --json
    """
    import tempfile

    from toolkit import tables
    from toolkit.progress import Progress, native_output_to
    from toolkit.store import sha256_file

    progress = Progress()
    names = tuple(name.strip() for name in columns.split(",")) if columns is not None else None
    # There is no run whose log TensorFlow's chatter could go to.
    with tempfile.TemporaryDirectory() as folder, native_output_to(Path(folder, "native.log")):
        done = tables.convert(source, destination, label=label, columns=names, bad_rows=bad_rows, progress=progress)
    for row in done.tally.named:
        progress.warn(f"left out: {row}")
    if done.tally.left_out > len(done.tally.named):
        progress.warn(f"and {done.tally.left_out - len(done.tally.named):,} malformed rows more")
    if as_json:
        options.print_json(
            {
                "schema_version": 1,
                "source": source,
                "destination": str(destination),
                "rows": done.rows,
                "bad_rows": done.tally.left_out,
                "columns": {c.name: c.type for c in done.schema.columns},
                "label": done.schema.label,
                "size_bytes": destination.stat().st_size,
                "sha256": sha256_file(destination),
                "warnings": progress.warnings,
            }
        )
        return
    left_out = f"; left out as malformed: {done.tally.left_out:,}" if done.tally.left_out else ""
    click.echo(f"{destination}: {done.rows:,} rows of {len(done.schema.columns)} columns{left_out}")
