"""``bench``: .tflite files from anywhere, measured side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from toolkit.cli import options

OWN_SAMPLES = 64
"""Of the user's own: what a slow device answers in a minute."""


@click.command("bench")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.measuring
@click.option(
    "--fleet", "fleet_file", type=click.Path(path_type=Path), help="A fleet.toml: its devices instead of --target."
)
@click.option("--label", "labels", multiple=True, help="With --fleet: only devices with this label; repeatable.")
@click.option(
    "--parallel", type=click.IntRange(1), default=32, show_default=True, help="With --fleet: devices at a time."
)
@click.option("--again", is_flag=True, help="With --fleet: also the devices that are done from these files.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="What an earlier bench --json printed: exit 1 where a file is slower now.",
)
@click.option(
    "--download",
    metavar="URL#sha256=HEX",
    help="Google's benchmark_model, for android targets that name no runner; kept by its digest.",
)
@click.option("--profile", is_flag=True, help="Also which operator takes how long, in a run of its own.")
@click.option("--data", help="Samples of yours that every device answers too, as for validate (64 at most).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order and of the made-up inputs.")
@options.output
def command(
    files: tuple[Path, ...],
    targets: tuple[str, ...],
    threads: int,
    quick: bool,
    strict: bool,
    fleet_file: Path | None,
    labels: tuple[str, ...],
    parallel: int,
    again: bool,
    baseline: Path | None,
    download: str | None,
    profile: bool,
    data: str | None,
    seed: int,
    as_json: bool,
    run_dir: Path | None,
) -> int:
    """Measure FILES on every --target, in fresh processes and interleaved. Always measures anew.

    A file is a .tflite, a SavedModel folder (for the saved-model target), or a run directory: all of its artifacts.
    What each file answers on a device is compared with this machine's answers in the same run.

    \b
    Examples:
      edge-export bench a.tflite b.tflite
      edge-export bench runs/mnist-dnn-1a2b3c --full --threads 2 --strict
      edge-export bench a.tflite --target cpu:xnnpack=off --json
      edge-export bench a.tflite --target raspberry-pi:pi@10.0.0.7 --target android:R58M12ABCDE
      edge-export bench a.tflite --fleet fleet.toml --label arm64
      edge-export bench a.tflite --baseline last-week.json --strict
    """
    from click.core import ParameterSource

    from devices import downloads, fleet, harness
    from toolkit.cli import baseline as earlier
    from toolkit.cli import benching, fleets, pipeline, stages
    from toolkit.cli import files as named
    from toolkit.errors import UsageError
    from toolkit.progress import Progress, native_output_to

    given = click.get_current_context().get_parameter_source("targets")
    if fleet_file is not None and given == ParameterSource.COMMANDLINE:
        raise UsageError("--fleet and --target exclude each other", remedy="give one of them")
    if fleet_file is None and (labels or again):
        raise UsageError("--label and --again are for --fleet", remedy="give --fleet fleet.toml")
    old = earlier.read(baseline) if baseline is not None else None
    members = fleet.chosen(fleet.read(fleet_file), labels) if fleet_file is not None else None
    progress = Progress()
    if download is not None:
        runner = downloads.fetch(download)
        targets = tuple(benching.with_runner(target, runner) for target in targets)
        members = members and [dataclasses.replace(m, target=benching.with_runner(m.target, runner)) for m in members]
    chosen = named.to_measure(files)
    run = named.run_for(files, run_dir, "bench")
    own = None
    if data is not None:
        split = named.samples_for(data, files[0], chosen[0][1], progress)
        own = {name: array[:OWN_SAMPLES] for name, array in split.inputs.items()}
    with native_output_to(run.path("logs", "native.log")):
        if members is not None:
            plan = harness.QUICK if quick else harness.FULL
            measurements = fleets.bench(
                run,
                chosen,
                members,
                threads=threads,
                plan=plan,
                seed=seed,
                parallel=parallel,
                progress=progress,
                again=again,
                own=own,
                profile=profile,
            )
        else:
            measurements = benching.bench(
                run,
                chosen,
                targets,
                threads=threads,
                quick=quick,
                seed=seed,
                progress=progress,
                again=True,
                own=own,
                profile=profile,
            )
        failed = stages.failures([], measurements, [], strict)
        rows = earlier.compare(measurements, old, str(baseline)) if old is not None else None
        if rows is not None:
            failed += [f"baseline: {line}" for line in earlier.failures(rows, strict)]
        return pipeline.finish(run, progress, as_json, failed, measurements=measurements, regressions=rows)
