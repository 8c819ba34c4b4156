"""``doctor``: builds a real interpreter on every runtime and says what to install."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Make the isolated runtime environments that are missing (pip, 85 MB each).")
@click.option("--runtime", "fleet", multiple=True, help="Also check NAME==VERSION; with --fix, make it. Repeatable.")
@options.output
def command(fix: bool, fleet: tuple[str, ...], as_json: bool, run_dir: Path | None) -> int:
    """Check this machine: packages, runtimes (by a real inference each), targets. Exit 3 if something is missing.

    \b
    Examples:
      edge-export doctor
      edge-export doctor --fix
      edge-export doctor --fix --runtime tflite-runtime==2.9.1 --runtime ai-edge-litert==1.4.0
    """
    import platform
    import sys

    import devices.targets
    from converters.bundle import versions
    from devices import environments, runtimes
    from toolkit.progress import Progress

    progress = Progress(quiet=as_json)
    named = [runtimes.parse(text) for text in fleet]
    impossible = runtimes.why_not()
    if fix:
        wanted = ["==".join(runtimes.OLDEST)] if not impossible else []
        environments.ready([*wanted, *fleet], progress=progress)
    rows = _rows([runtimes.OLDEST, *named])
    for row in rows:
        row["possible"] = not (row["runtime"] == runtimes.OLDEST[0] and impossible)
        row["remedy"] = None if row["works"] else _remedy(row)
    targets = [_proved(row) for row in devices.targets.describe_all()]
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
        state = "reachable" if row["reachable"] else f"not reachable: {row['why']}"
        click.echo(f"target {row['name']}: {state}{', ' + row['adapter'] if row.get('adapter') else ''}")
    click.echo("all is well" if ok else "something is missing, see above")
    return 0 if ok else 3


def _proved(row: dict[str, Any]) -> dict[str, Any]:
    """A GPU that is said to be there, after an inference on it: a driver alone is no health check."""
    import devices.targets
    from devices import runtimes
    from toolkit.errors import EdgeExportError

    if row["name"] != "gpu" or not row["reachable"]:
        return row
    try:
        device = devices.targets.open("gpu")
        runtimes.check_probe(device.answer(runtimes.PROBE, {"x": runtimes.probe_input()}).outputs["y"])
    except EdgeExportError as error:
        return {**row, "reachable": False, "why": error.what}
    return {**row, "adapter": device.target.accelerator}


def _rows(wanted: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """An inference on our own runtime and on every one in the cache, and what of ``wanted`` is not there."""
    from devices import runtimes

    rows: list[dict[str, Any]] = [runtimes.probe(runtimes.NAMES[0])]
    own = "==".join((rows[0]["runtime"], str(rows[0]["version"])))
    rows += [runtimes.probe(*runtimes.parse(text)) for text in runtimes.available() if text != own]
    for name, version in dict.fromkeys(wanted):
        if runtimes.exact(name, version) is None:
            why = runtimes.why_not(name) or "its environment is not installed"
            rows.append({"runtime": name, "version": version, "works": False, "why": why})
    return rows


def _remedy(row: dict[str, Any]) -> str:
    from devices import runtimes

    name, version = row["runtime"], row["version"]
    if not row["possible"]:
        return "everything else works without it"
    if (name, version) == runtimes.OLDEST:
        return "run scripts/bootstrap"
    if version and version != runtimes.installed(name):
        return f"edge-export doctor --fix --runtime {name}=={version} makes it"
    return "install ai-edge-litert again"
