"""``validate``: does the edge answer as the cloud does?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("validate")
@click.argument("edge", type=click.Path(path_type=Path))
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option(
    "--against",
    help="The cloud model: a SavedModel folder, .keras, .h5, .tflite or run.  [default: EDGE's run]",
)
@click.option(
    "--data",
    help="Samples: an npz named like the inputs (and label), a CSV, TFRecord or .jsonl, a folder of images, or a data "
    "set's name.  [default: the run's]",
)
@click.option("--output", help="The output with the class scores, where a model has several.")
@options.budget
@options.evaluating
@options.pixels
@click.option(
    "--target", "targets", multiple=True, default=("cpu",), show_default=True, help="Repeatable (targets list)."
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the runtime.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@options.output
def command(edge: Path, recipes: tuple[str, ...], **given: Any) -> int:
    """Check that EDGE (a .tflite, or a run: all of its artifacts, or the RECIPEs named) answers as the cloud does.

    With labels: the metrics of both sides and their paired differences with 95 % intervals; accuracy (rmse, where the
    model answers with one number) must keep --budget with its interval's bad end. Without: parity of the outputs.
    --slices finds groups for which the edge is worse. Exit 1 when something is not kept, or cannot be shown to be.

    \b
    Examples:
      edge-export validate a.tflite --against saved_model_dir --data eval.npz
      edge-export validate runs/taxi int8 --slices payment_type,trip_miles:quantiles=5
      edge-export validate runs/taxi int8 --data "rides-*.csv" --workers 2
    """
    from toolkit.cli import validating

    return validating.validate(edge, recipes, **given)
