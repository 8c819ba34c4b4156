"""``recipes list``: the conversions there are, what each needs, and which a model allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import converters.recipes as registry
from converters import cells
from toolkit.cli import options
from toolkit.errors import UsageError


@click.group("recipes")
def command() -> None:
    """The conversions there are."""


@command.command("list")
@click.option(
    "--model", "bundle", type=click.Path(path_type=Path), help="A run directory: tell which recipes it allows."
)
@click.option("--legality", "measured", is_flag=True, help="Also what each runtime does with each kind of kernel.")
@options.fleet
@options.output
def listing(bundle: Path | None, measured: bool, fleet: tuple[str, ...], as_json: bool, run_dir: Path | None) -> None:
    """List every recipe and what it needs.

    \b
    Examples:
      edge-export recipes list
      edge-export recipes list --legality
      edge-export recipes list --model runs/mnist-dnn-1a2b3c --json
    """
    rows: list[dict[str, Any]] = []
    for name in registry.names():
        recipe = registry.load(name).RECIPE
        rows.append({"name": name, "needs": list(recipe.needs), "summary": recipe.summary})
    source = bundle or run_dir
    if fleet and source is None:
        raise UsageError("--runtime is for --model", remedy="name a run directory with --model")
    if source is not None:
        _add_legality(rows, source, fleet)
    if as_json:
        found: dict[str, Any] = {"schema_version": 1, "recipes": rows}
        if measured:
            found["legality"] = cells.rows()
        options.print_json(found)
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        needs = f"  (needs {' and '.join(row['needs'])})" if row["needs"] else ""
        click.echo(f"{row['name']:<{width}}  {row['summary']}{needs}")
        if not row.get("legal", True):
            click.echo(f"{'':<{width}}  not for this model: {row['why']}")
    if measured:
        click.echo()
        click.echo(cells.text())


def _add_legality(rows: list[dict[str, Any]], source: Path, fleet: tuple[str, ...]) -> None:
    from converters import convert
    from toolkit.cli import stages
    from toolkit.progress import Progress, native_output_to

    run = stages.open_run(source, None)
    with native_output_to(run.path("logs", "native.log")):
        job = stages.conversion(source, Progress(quiet=True), run=run, fleet=fleet)
    for row in rows:
        row["why"] = convert.why_not(job, registry.load(row["name"]))
        row["legal"] = row["why"] is None
