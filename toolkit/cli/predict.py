"""``predict``: rows of raw features in, answers out, in one format for cloud and edge."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import options


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--input", "rows", required=True, help="Rows: .jsonl, .csv, .tfrecord or .npz; - is JSON lines from stdin."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="A .jsonl or .csv, whole or not at all.  [default: stdout]"
)
@click.option("--target", help="Where it runs (targets list).  [default: cpu for a .tflite, else saved-model]")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the runtime.")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Feature spec of a model away from its run: bundle.json, or JSON."
)
@click.option(
    "--bad-rows",
    default="error",
    show_default=True,
    help="What to do with malformed rows: error (answer nothing more) or skip.",
)
@options.output
def command(
    model: Path,
    rows: str,
    output: Path | None,
    target: str | None,
    threads: int,
    spec: Path | None,
    bad_rows: str,
    as_json: bool,
    run_dir: Path | None,
) -> None:
    """Answer rows with MODEL: a run (its SavedModel), a .tflite, a SavedModel folder, .keras or .h5.

    Rows hold raw features by name; a missing value is an empty field or null. Answers are one JSON object a row, the
    same for cloud and edge.

    \b
    Examples:
      edge-export predict runs/taxi --input rides.csv
      edge-export predict runs/taxi/artifacts/float16.tflite --input rides.jsonl --output fares.csv
      edge-export predict x.tflite --spec bundle.json --input - < rides.jsonl
    """
    from toolkit.cli import answering

    answering.answer(
        model,
        rows,
        output=output,
        target=target,
        threads=threads,
        spec=spec,
        bad_rows=bad_rows,
        as_json=as_json,
        run_dir=run_dir,
    )
