"""``ios``: what a Mac needs to measure models on an iPhone, and the results that come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from devices.ios import DELEGATES
from toolkit.cli import options

if TYPE_CHECKING:  # help imports nothing heavy
    from collections.abc import Iterable, Sequence

    from toolkit.records import Measurement
    from toolkit.store import Run


@click.group("ios")
def command() -> None:
    """Measure models on an iPhone: write a bundle here, run it on a Mac, import what comes back.

    \b
    Examples:
      edge-export ios bundle a.tflite b.tflite --out phone
      edge-export ios import results.zip --bundle phone
    """


@command.command("bundle")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the bundle: new or empty.")
@click.option(
    "--delegate",
    "delegates",
    multiple=True,
    default=("cpu",),
    show_default=True,
    type=click.Choice(DELEGATES),
    help="Repeatable; cpu is XNNPACK.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the runtime.")
@click.option("--quick/--full", "quick", default=True, show_default=True, help="2 processes and 6 s, or 5 and 60 s.")
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
    """Write all that a Mac needs to measure FILES on an iPhone: app, models, plans, inputs, run.sh.

    A file is a .tflite or a run directory: all of its artifacts. --run-dir is not used.

    \b
    Examples:
      edge-export ios bundle a.tflite b.tflite --out phone
      edge-export ios bundle runs/mnist-dnn-1a2b3c --out phone --delegate cpu --delegate metal --full
      edge-export ios bundle a.tflite --out phone --delegate coreml --json
    """
    from devices.ios import bundle as bundles
    from toolkit.cli import files as named
    from toolkit.errors import UsageError

    chosen = named.to_measure(files)
    for _, path in chosen:
        if path.is_dir():
            raise UsageError("is a SavedModel, which no phone runs", where=str(path), remedy="edge-export convert it")
    plan = bundles.QUICK if quick else bundles.FULL
    manifest = bundles.write_bundle(out, chosen, plan, None, delegates, seed, threads=threads)
    if as_json:
        options.print_json({**manifest, "bundle": str(out)})
        return
    models, jobs = len(manifest["models"]), len(manifest["jobs"])
    click.echo(f"{out}: {models} model{'s' * (models != 1)}, {jobs} jobs; on a Mac: see {out / 'README.md'}")


@command.command("import")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path),
    help="The bundle that it was made from.  [default: RESULT itself, or the folder it is in]",
)
@click.option("--strict", is_flag=True, help="Exit 1 unless every measurement is valid.")
@options.output
def import_(result: Path, folder: Path | None, strict: bool, as_json: bool, run_dir: Path | None) -> int:
    """Take RESULT, the results.zip or the folder that run.sh left, into a run directory.

    Everything in it is checked against the bundle; outputs are compared with this machine's on the same inputs. Exit 1
    where a job failed, or where the phone does not answer as this machine does.

    \b
    Examples:
      edge-export ios import results.zip --bundle phone
      edge-export ios import phone --run-dir runs/phone --strict --json
    """
    import devices.targets
    from devices.ios import bundle as bundles
    from devices.ios import importing
    from toolkit.cli import files as named
    from toolkit.cli import pipeline, stages
    from toolkit.progress import Progress, native_output_to

    progress = Progress()
    made_from = folder or _bundle_of(result)
    manifest = bundles.read(made_from)
    host = devices.targets.open("cpu", threads=int(manifest.get("threads") or 1))
    with progress.task(f"import {result.name}"):
        measurements = importing.take(result, made_from, host=host)
    run = named.run_for([result, made_from], run_dir, "ios")
    with native_output_to(run.path("logs", "native.log")):
        _keep(run, measurements)
        failed = stages.failures([], measurements, [], strict) + _unlike(measurements)
        return pipeline.finish(run, progress, as_json, failed, measurements=measurements)


def _bundle_of(result: Path) -> Path:
    """Where a result's bundle is, if nobody says: the folder that has the models beside the manifest."""
    from toolkit.errors import UsageError

    for folder in (result, result.parent):
        if (folder / "models").is_dir() and (folder / "manifest.json").is_file():
            return folder
    if not result.exists():
        raise UsageError("does not exist", where=str(result), remedy="give the results.zip that run.sh left")
    raise UsageError("its bundle is not beside it", where=str(result), remedy="name the bundle with --bundle")


def _keep(run: Run, measurements: Sequence[Measurement]) -> None:
    """The records in the run directory, a stage for each target; earlier ones of a target are set aside."""
    from toolkit.cli import benching
    from toolkit.store import key_of, write_json

    for target in dict.fromkeys(m.target.name for m in measurements):
        chosen = [m for m in measurements if m.target.name == target]
        folder = run.path("measurements", benching.slug(target))

        def work(folder: Path = folder, chosen: Sequence[Measurement] = chosen) -> Iterable[Path]:
            benching.set_aside(run, folder)
            for position, measurement in enumerate(chosen):
                write_json(folder / f"{_file_name(measurement.recipe, position)}.json", measurement)
            return sorted(folder.glob("*.json"))

        stage = f"bench-{benching.slug(target)}"
        run.forget(stage)
        run.stage(stage, key_of([(m.artifact_sha256, m.plan, m.provenance) for m in chosen]), work)


def _file_name(recipe: str, position: int) -> str:
    """A model's name if it is a plain file name; it came through a file that others could write."""
    from toolkit.cli import benching

    return recipe if recipe == benching.slug(recipe) and recipe.strip(".") else f"model-{position}"


def _unlike(measurements: Sequence[Measurement]) -> list[str]:
    """Where the phone does not answer as this machine does, one line each."""
    lines = []
    for measurement in measurements:
        fidelity = measurement.provenance.get("fidelity")
        if fidelity is not None and not fidelity["kernels"]["passed"]:
            why = "; ".join(fidelity["kernels"]["reasons"])
            lines.append(f"{measurement.recipe} on {measurement.target.name}: not as on this machine: {why}")
    return lines
