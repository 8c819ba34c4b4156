"""``recipes list``: the conversions there are, what each needs, and which a model allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import converters.recipes as registry
from toolkit.cli import options


@click.group("recipes")
def command() -> None:
    """The conversions there are."""


@command.command("list")
@click.option(
    "--model", "bundle", type=click.Path(path_type=Path), help="A run directory: tell which recipes it allows."
)
@options.output
def listing(bundle: Path | None, as_json: bool, run_dir: Path | None) -> None:
    """List every recipe and what it needs.

    \b
    Examples:
      edge-export recipes list
      edge-export recipes list --model runs/mnist-dnn-1a2b3c --json
    """
    rows: list[dict[str, Any]] = []
    for name in registry.names():
        recipe = registry.load(name).RECIPE
        rows.append({"name": name, "needs": list(recipe.needs), "summary": recipe.summary})
    source = bundle or run_dir
    if source is not None:
        _add_legality(rows, source)
    if as_json:
        options.print_json({"schema_version": 1, "recipes": rows})
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        needs = f"  (needs {' and '.join(row['needs'])})" if row["needs"] else ""
        click.echo(f"{row['name']:<{width}}  {row['summary']}{needs}")
        if not row.get("legal", True):
            click.echo(f"{'':<{width}}  not for this model: {row['why']}")


def _add_legality(rows: list[dict[str, Any]], source: Path) -> None:
    from converters import convert
    from toolkit.cli import stages
    from toolkit.progress import Progress, native_output_to

    run = stages.open_run(source, None)
    with native_output_to(run.path("logs", "native.log")):
        job = stages.conversion(source, Progress(quiet=True), run=run)
    for row in rows:
        row["why"] = convert.why_not(job, registry.load(row["name"]))
        row["legal"] = row["why"] is None
