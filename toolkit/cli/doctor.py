"""``doctor``: builds a real interpreter on every runtime and says what to install."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Make the isolated runtime environments that are missing (pip, 85 MB).")
@options.output
def command(fix: bool, as_json: bool, run_dir: Path | None) -> int:
    """Check this machine: packages, runtimes (by a real inference each), targets. Exit 3 if something is missing.

    \b
    Examples:
      edge-export doctor
      edge-export doctor --fix
    """
    import platform
    import sys

    import devices.targets
    from converters.bundle import versions
    from devices import runtimes
    from toolkit.progress import Progress

    progress = Progress(quiet=as_json)
    name, version = runtimes.OLDEST
    impossible = runtimes.why_not()
    if fix and not impossible:
        runtimes.create(progress=progress)
    rows: list[dict[str, Any]] = [runtimes.probe("ai-edge-litert")]
    if runtimes.locate(name, version) is not None:
        rows.append(runtimes.probe(name, version))
    else:
        why = impossible or "its environment is not installed"
        rows.append({"runtime": name, "version": version, "works": False, "why": why})
    for row in rows:
        row["possible"] = not (row["runtime"] == name and impossible)
        row["remedy"] = None if row["works"] else _remedy(row, name)
    targets = devices.targets.describe_all()
    ok = all(row["works"] or not row["possible"] for row in rows)
    found = {
        "schema_version": 1,
        "ok": ok,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": versions(),
        "runtimes": rows,
        "targets": targets,
    }
    if as_json:
        options.print_json(found)
        return 0 if ok else 3
    click.echo(f"Python {found['python']} on {found['platform']}")
    for package, number in versions().items():
        if package != "python":
            click.echo(f"  {package} {number}")
    for row in rows:
        state = "ran an inference" if row["works"] else f"no: {row['why']}; {row['remedy']}"
        click.echo(f"runtime {row['runtime']} {row['version'] or ''}: {state}")
    for row in targets:
        click.echo(f"target {row['name']}: {'reachable' if row['reachable'] else 'not reachable: ' + str(row['why'])}")
    click.echo("all is well" if ok else "something is missing, see above")
    return 0 if ok else 3


def _remedy(row: dict[str, Any], oldest: str) -> str:
    if not row["possible"]:
        return "everything else works without it"
    return "run scripts/bootstrap" if row["runtime"] == oldest else "install ai-edge-litert again"
