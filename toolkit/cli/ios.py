"""``ios``: measure on an iPhone by way of a Mac."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import options


@click.group("ios")
def command() -> None:
    """Measure on an iPhone or iPad: a bundle for a Mac, and its results taken back."""


@command.command("bundle")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The folder to write; must be new or empty."
)
@click.option(
    "--delegate",
    "delegates",
    multiple=True,
    type=click.Choice(["cpu", "metal", "coreml"]),
    default=("cpu", "metal"),
    show_default=True,
    help="Where it runs; repeatable.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of the runtime.")
@click.option("--quick/--full", "quick", default=True, show_default=True, help="2 processes and 1 s, or 5 and 60 s.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order and of the made-up inputs.")
@options.output
def bundle(
    files: tuple[Path, ...],
    out: Path,
    delegates: tuple[str, ...],
    threads: int,
    quick: bool,
    seed: int,
    as_json: bool,
    run_dir: Path | None,
) -> None:
    """Write everything that a Mac needs to measure FILES on an iPhone, and a script that does it.

    \b
    Examples:
      edge-export ios bundle int8.tflite float32.tflite --out iphone
      edge-export ios bundle runs/mnist-dnn-1a2b3c --out iphone --delegate cpu --delegate coreml --full
    """
    from devices import harness
    from devices.ios import bundle as bundles
    from toolkit.cli import files as named

    plan = harness.QUICK if quick else harness.FULL
    manifest = bundles.write(out, named.to_measure(files), delegates, plan, threads=threads, seed=seed)
    if as_json:
        options.print_json({"schema_version": 1, "folder": str(out), **manifest})
        return
    click.echo(f"{len(manifest['jobs'])} jobs for {len(manifest['models'])} models, {', '.join(delegates)}: {out}")
    click.echo(f"on a Mac:   DEVELOPMENT_TEAM=… {out}/run.sh UDID")
    click.echo(f"then here:  edge-export ios import {out}")


@command.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Exit 1 unless every measurement is valid.")
@options.output
def importing(folder: Path, strict: bool, as_json: bool, run_dir: Path | None) -> int:
    """Take back the results of a bundle that run.sh has filled: measurements like any other.

    \b
    Examples:
      edge-export ios import iphone
      edge-export ios import iphone --run-dir runs/mnist-dnn-1a2b3c --json
    """
    from devices.ios import importing as back
    from toolkit.cli import pipeline, stages
    from toolkit.cli.benching import slug
    from toolkit.progress import Progress, native_output_to
    from toolkit.store import Run, key_of, write_json

    progress = Progress()
    found = back.measurements(folder)
    run = Run(run_dir or Path("runs") / f"ios-{key_of(str(folder.resolve()))[:8]}")
    with native_output_to(run.path("logs", "native.log")):
        for measurement in found:
            path = run.path("measurements", slug(measurement.target.name), f"{measurement.recipe}.json")
            write_json(path, measurement)
            run.keep(path)
        return pipeline.finish(run, progress, as_json, stages.failures([], found, [], strict), measurements=found)
