"""``convert``: a trained model in, gated artifacts out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from toolkit.cli import options


@click.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@options.recipes
@options.fleet
@options.source
@click.option(
    "--keep-float",
    multiple=True,
    help="For int8_mixed: auto, none, or a layer that stays in float (see sensitivity); repeatable.  [default: auto]",
)
@click.option(
    "--budget",
    type=click.FloatRange(0),
    help="For --keep-float auto: loss that is allowed, e.g. 0.005 of accuracy.  [default: 0.005, 0.02 of rmse]",
)
@options.serving
@click.option("--seed", type=int, default=0, show_default=True, help="Of fine-tuning and made-up inputs.")
@options.output
def command(
    source: Path,
    recipes: tuple[str, ...],
    all_recipes: bool,
    fleet: tuple[str, ...],
    keep_float: tuple[str, ...],
    budget: float | None,
    tf_examples: bool,
    seed: int,
    as_json: bool,
    run_dir: Path | None,
    unsafe: bool,
    **given: Any,
) -> int:
    """Convert SOURCE to .tflite artifacts that passed their gate.

    SOURCE is a run directory, a .keras (Keras 2 or 3), an .h5 or a SavedModel folder.

    \b
    Examples:
      edge-export convert model.keras --recipe int8 --calibration data.npz
      edge-export convert model.keras --recipe int8 --calibration photos/ --pixels -1..1
      edge-export convert model.keras --code layers.py --recipe float16
      edge-export convert saved_model_dir --recipe float16 --recipe dynamic_range
      edge-export convert runs/mnist-dnn-1a2b3c --recipe int8_mixed --keep-float auto --budget 0.005
      edge-export convert runs/mnist-dnn-1a2b3c --all --json
      edge-export convert model.keras --recipe dynamic_range --runtime tflite-runtime==2.14.0
    """
    from converters import convert
    from converters import recipes as registry
    from devices import environments
    from toolkit.cli import pipeline, stages
    from toolkit.errors import UsageError
    from toolkit.progress import Progress, native_output_to

    if not recipes and not all_recipes:
        raise UsageError(
            "no recipe given", remedy="name one with --recipe, or take --all (see edge-export recipes list)"
        )
    for name in recipes:
        registry.load(name)
    progress = Progress()
    served = environments.ready(fleet, progress=progress)
    run = stages.open_run(source, run_dir, unsafe=unsafe)
    with native_output_to(run.path("logs", "native.log")):
        job = stages.conversion(
            source,
            progress,
            run=run,
            unsafe=unsafe,
            examples=tf_examples,
            seed=seed,
            fleet=served,
            **given,
        )
        job = dataclasses.replace(job, keep_float=kept_float(keep_float), budget=budget)
        chosen = stages.choose_recipes(job, recipes, all_recipes)
        if (keep_float or budget is not None) and not any(hasattr(registry.load(n), "decide") for n in chosen):
            raise UsageError("--keep-float and --budget are for recipe int8_mixed", remedy="add --recipe int8_mixed")
        artifacts = convert.convert(job, chosen, optional=all_recipes, named=recipes)
        failed = stages.failures(artifacts, [], [], False)
        return pipeline.finish(run, progress, as_json, failed, bundle=job.bundle, artifacts=artifacts, page=False)


def kept_float(given: tuple[str, ...]) -> tuple[str, ...] | None:
    """What ``--keep-float`` asks for: names, none at all, or (``None``) the fewest within the budget."""
    from toolkit.errors import UsageError

    if not given or given == ("auto",):
        return None
    if "auto" in given or ("none" in given and len(given) > 1):
        raise UsageError("--keep-float auto and none exclude all others", remedy="give one of them, or names")
    return () if given == ("none",) else given
