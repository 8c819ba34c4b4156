"""``export``: the main job, all stages in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("export")
@click.argument("model")
@options.training
@options.data
@options.serving
@options.recipes
@options.fleet
@options.measuring
@options.budget
@options.output
def command(model: str, as_json: bool, run_dir: Path | None, **given: Any) -> int:
    """Train MODEL, convert, gate, bench, validate and report. Run again, it goes on where it stopped.

    Without --recipe the usual recipes are made, as far as model and data allow; --all makes every one they allow.

    \b
    Examples:
      edge-export export mnist
      edge-export export mnist --model cnn --json
      edge-export export mnist --recipe float32 --recipe int8 --dropout --seed 3
      edge-export export mnist --runtime tflite-runtime==2.14.0
      edge-export export wide-deep --spec adult.toml --data adult.csv
      edge-export export dnn --data houses.csv --label price
    """
    from toolkit.cli import pipeline

    return pipeline.export(model, run_dir=run_dir, as_json=as_json, **given)
