"""``bench``: .tflite files from anywhere, measured side by side."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import options


@click.command("bench")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.measuring
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order and of the made-up inputs.")
@options.output
def command(
    files: tuple[Path, ...],
    targets: tuple[str, ...],
    threads: int,
    quick: bool,
    strict: bool,
    seed: int,
    as_json: bool,
    run_dir: Path | None,
) -> int:
    """Measure FILES on every --target, in fresh processes and interleaved. Always measures anew.

    A file is a .tflite, a SavedModel folder (for the saved-model target), or a run directory: all of its artifacts.

    \b
    Examples:
      edge-export bench a.tflite b.tflite
      edge-export bench runs/mnist-dnn-1a2b3c --full --threads 2 --strict
      edge-export bench a.tflite --target cpu:xnnpack=off --json
    """
    from toolkit.cli import benching, pipeline, stages
    from toolkit.cli import files as named
    from toolkit.progress import Progress, native_output_to

    progress = Progress()
    chosen = named.to_measure(files)
    run = named.run_for(files, run_dir, "bench")
    with native_output_to(run.path("logs", "native.log")):
        measurements = benching.bench(
            run, chosen, targets, threads=threads, quick=quick, seed=seed, progress=progress, again=True
        )
        failed = stages.failures([], measurements, [], strict)
        return pipeline.finish(run, progress, as_json, failed, measurements=measurements)
