"""``sensitivity``: what eight bits cost each layer of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("sensitivity")
@click.argument("source", type=click.Path(path_type=Path))
@options.source
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True, help="That judge, at most.")
@click.option("--plot", type=click.Path(path_type=Path), help="The picture: .svg, .png or .pdf.  [default: in the run]")
@options.output
def command(
    source: Path,
    samples: int,
    plot: Path | None,
    as_json: bool,
    run_dir: Path | None,
    unsafe: bool,
    **given: Any,
) -> None:
    """Quantize each layer of SOURCE to int8 alone and say what that costs: noise, and the task's metric.

    The worst come first: what convert --recipe int8_mixed leaves in float it takes from this list.

    \b
    Examples:
      edge-export sensitivity runs/mnist-cnn-1a2b3c
      edge-export sensitivity model.keras --calibration data.npz --plot layers.png --json
    """
    from converters import sensitivity
    from converters.parents import Parents
    from toolkit.cli import stages
    from toolkit.errors import UsageError
    from toolkit.progress import Progress, native_output_to
    from toolkit.report import sensitivity as shown

    if plot is not None and plot.suffix not in shown.FORMATS:
        raise UsageError("the name says no format", where=str(plot), remedy=f"end it in {', '.join(shown.FORMATS)}")
    progress = Progress()
    run = stages.open_run(source, run_dir, unsafe=unsafe)
    with native_output_to(run.path("logs", "native.log")):
        job = stages.conversion(source, progress, run=run, unsafe=unsafe, **given)
        found = sensitivity.measured(job, Parents(job), samples)
    picture = plot or run.path("sensitivity.svg")
    shown.draw(found, picture)
    if plot is None:
        run.keep(picture)
    if as_json:
        options.print_json({**found, "run_dir": str(run.root), "plot": str(picture), "warnings": progress.warnings})
        return
    for line in shown.lines(found):
        click.echo(line)
    click.echo(f"plot           {picture}")
    click.echo(f"run directory  {run.root}")
