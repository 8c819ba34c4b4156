"""``report``: the table and the HTML page of a run."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import options


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@options.output
def command(run: Path | None, as_json: bool, run_dir: Path | None) -> int:
    """Print the table of RUN and write its HTML page.

    \b
    Examples:
      edge-export report runs/mnist-dnn-1a2b3c
      edge-export report runs/mnist-dnn-1a2b3c --json
    """
    from converters import convert
    from toolkit.cli import pipeline, stages
    from toolkit.errors import UsageError
    from toolkit.report import document, html
    from toolkit.store import Run

    folder = run or run_dir
    if folder is None:
        raise UsageError("no run directory given", remedy="edge-export report runs/NAME")
    if not (folder / "run.json").exists():
        raise UsageError("is not a run directory", where=str(folder), remedy="give the folder that export printed")
    opened = Run(folder)
    stages.intact(opened, convert.load(opened))
    result = document.collect(opened)
    page = html.write(opened, result)
    pipeline.show(result, as_json)
    if not as_json:
        click.echo(f"HTML report  {page}")
    return 0
