"""``verify``: is a run directory still what it was?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("verify")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@options.output
def command(run: Path | None, as_json: bool, run_dir: Path | None) -> int:
    """Recompute every digest of RUN and follow its lineage: weights, SavedModel, artifacts, measurements.

    Nothing is changed. Exit code 1 if anything does not match; every file that does not is named.

    \b
    Examples:
      edge-export verify runs/mnist-dnn-1a2b3c
      edge-export verify runs/mnist-dnn-1a2b3c --json
    """
    from converters import verify
    from toolkit.errors import UsageError
    from toolkit.records import to_json

    folder = run or run_dir
    if folder is None:
        raise UsageError("no run directory given", remedy="edge-export verify runs/NAME")
    found = verify.verify(folder)
    if as_json:
        options.print_json(
            {
                "schema_version": 1,
                "run_dir": str(folder),
                "verified": not found.mismatches,
                "files": found.files,
                "mismatches": to_json(found.mismatches),
                "lineage": found.lineage,
            }
        )
    else:
        _print(found)
    return 1 if found.mismatches else 0


def _print(found: Any) -> None:
    weights = found.lineage.get("weights")
    if weights:
        source = weights["keras_file"] or weights["saved_model"]
        click.echo(f"weights      {weights['sha256'][:12]}  {source}")
        click.echo(f"SavedModel   {(weights['saved_model_sha256'] or 'missing')[:12]}  {weights['saved_model']}")
    for artifact in found.lineage.get("artifacts", []):
        gate = "passed" if artifact["gate"] else "FAILED"
        via = (artifact["saved_model"] or {}).get("path", "")
        by = f", by {via.split('/')[1]}" if via.startswith("parents/") else ""
        click.echo(f"artifact     {artifact['sha256'][:12]}  {artifact['path']}  gate {gate}{by}")
    for wrong in found.mismatches:
        click.echo(f"MISMATCH     {wrong.path}: {wrong.what}")
    if not found.mismatches:
        click.echo(f"all {found.files} files are what they were")
