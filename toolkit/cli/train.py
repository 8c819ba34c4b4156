"""``train``: a ModelBundle in a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("train")
@click.argument("model")
@options.training
@options.data
@options.serving
@options.output
def command(model: str, as_json: bool, run_dir: Path | None, **given: Any) -> int:
    """Train MODEL and export its SavedModel.

    \b
    Examples:
      edge-export train mnist
      edge-export train mnist --model cnn --epochs 5 --dropout 0.3 --early-stopping
      edge-export train wide-deep --data "train.csv-*-of-*" --spec taxi.toml
      edge-export train user --module mine.py:build_model --data data.npz
    """
    from toolkit.cli import pipeline

    return pipeline.train(model, run_dir=run_dir, as_json=as_json, **given)
