"""``datasets list``: the data sets there are."""

from __future__ import annotations

from pathlib import Path

import click

import toolkit.datasets as registry
from toolkit.cli import options


@click.group("datasets")
def command() -> None:
    """The data sets there are."""


@command.command("list")
@options.output
def listing(as_json: bool, run_dir: Path | None) -> None:
    """List every data set and where it can come from.

    \b
    Examples:
      edge-export datasets list
    """
    rows = []
    for name in registry.names():
        module = registry.module(name)
        rows.append({"name": name, "summary": module.SUMMARY})
    if as_json:
        options.print_json({"schema_version": 1, "datasets": rows})
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        click.echo(f"{row['name']:<{width}}  {row['summary']}")
