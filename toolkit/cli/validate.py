"""``validate``: does the edge answer as the cloud does?"""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import options


@click.command("validate")
@click.argument("edge", type=click.Path(path_type=Path))
@click.option("--against", required=True, help="The cloud model: a SavedModel folder, .keras, .h5, .tflite or run.")
@click.option(
    "--data",
    help="Samples: an npz named like the inputs (and label), a CSV, TFRecord or .jsonl, a folder of images, or a data "
    "set's name.  [default: the run's]",
)
@click.option("--output", help="The output with the class scores, where a model has several.")
@options.budget
@options.pixels
@click.option(
    "--target", "targets", multiple=True, default=("cpu",), show_default=True, help="Repeatable (targets list)."
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the runtime.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@options.output
def command(
    edge: Path,
    against: str,
    data: str | None,
    output: str | None,
    pixels: str | None,
    budget: float | None,
    targets: tuple[str, ...],
    threads: int,
    seed: int,
    as_json: bool,
    run_dir: Path | None,
) -> int:
    """Check that EDGE (a .tflite, or a run: all of its artifacts) answers as the cloud model does.

    With labels: accuracy on both sides (rmse, where the model answers with one number) and the paired difference,
    whose 95 % interval must keep --budget.
    Without: parity of the outputs. Exit 1 when that is not shown.

    \b
    Examples:
      edge-export validate a.tflite --against saved_model_dir --data eval.npz
      edge-export validate a.tflite --against model.keras --data mnist --budget 0.01 --json
    """
    from toolkit.cli import files as named
    from toolkit.cli import pipeline, stages
    from toolkit.progress import Progress, native_output_to

    progress = Progress()
    edges = named.to_measure([edge])
    run = named.run_for([edge], run_dir, "validate")
    with native_output_to(run.path("logs", "native.log")):
        target, cloud = named.cloud(against, run, progress)
        samples = named.samples_for(data, edge, edges[0][1], progress, pixels=pixels)
        comparisons = stages.compare(
            run,
            edges,
            targets,
            cloud,
            target,
            samples,
            budget=budget,
            threads=threads,
            seed=seed,
            progress=progress,
            again=True,
            output=output,
        )
        failed = stages.failures([], [], comparisons, True)
        return pipeline.finish(run, progress, as_json, failed, comparisons=comparisons)
