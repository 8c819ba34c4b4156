"""``targets list``: the devices there are, and why one is not reachable."""

from __future__ import annotations

from pathlib import Path

import click

import devices.targets as registry
from toolkit.cli import options


@click.group("targets")
def command() -> None:
    """The devices there are, and why one is not reachable."""


@command.command("list")
@options.output
def listing(as_json: bool, run_dir: Path | None) -> None:
    """List every target; a name can be given to --target as it stands.

    \b
    Examples:
      edge-export targets list
      edge-export targets list --json
    """
    rows = registry.describe_all()
    if as_json:
        options.print_json({"schema_version": 1, "targets": rows})
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        state = ", ".join(row["runtimes"]) if row["reachable"] else f"not reachable: {row['why']}"
        click.echo(f"{row['name']:<{width}}  {row['platform']}  {state}")
        if row["reachable"] and row["why"]:
            click.echo(f"{'':<{width}}  {row['why']}")
