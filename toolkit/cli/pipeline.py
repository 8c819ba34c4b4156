"""Runs the stages for the commands that need several of them, and prints what came out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import devices.targets
import toolkit.datasets
import toolkit.models
from converters import convert, recipes
from toolkit.cli import options, stages
from toolkit.errors import unknown_name
from toolkit.progress import Progress, native_output_to
from toolkit.records import Artifact, Comparison, Measurement, ModelBundle
from toolkit.report import document, html, loading, terminal
from toolkit.store import Run, key_of, write_json
from toolkit.training.options import TrainingOptions

TRAINING = ("variant", "epochs", "batch_size", "learning_rate", "dropout", "l1", "l2", "early_stopping", "seed")


def export(model: str, *, run_dir: Path | None, as_json: bool, **given: Any) -> int:
    """Train, convert, gate, bench, validate, report. Returns the exit code."""
    progress = Progress()
    for name in given["recipes"]:
        recipes.load(name)
    for spec in given["targets"]:
        devices.targets.open(spec, threads=given["threads"])
    run, bundle_of = _prepare(model, run_dir, given, progress)
    with native_output_to(run.path("logs", "native.log")):
        bundle, dataset = bundle_of()
        job = convert.Conversion(
            run=run,
            bundle=bundle,
            calibration=dataset.calibration(),
            training=dataset.train(),
            seed=given["seed"],
            progress=progress,
        )
        everything = given["all_recipes"] or not given["recipes"]
        chosen = stages.choose_recipes(job, given["recipes"], everything)
        artifacts = convert.convert(job, chosen, optional=everything, named=given["recipes"])
        files = stages.passed_files(run, artifacts)
        measurements = stages.bench(
            run,
            files,
            given["targets"],
            threads=given["threads"],
            quick=given["quick"],
            seed=given["seed"],
            progress=progress,
        )
        comparisons = stages.compare(
            run,
            files,
            given["targets"],
            run.path(bundle.saved_model),
            "saved-model",
            dataset.evaluation(),
            budget=given["budget"],
            threads=given["threads"],
            seed=given["seed"],
            progress=progress,
        )
        for comparison in filter(stages.undecided, comparisons):
            progress.warn(
                f"{comparison.recipe} on {comparison.target} is not shown to keep its budget: {comparison.verdict}"
            )
        return finish(
            run,
            progress,
            as_json,
            stages.failures(artifacts, measurements, comparisons, given["strict"]),
            bundle=bundle,
            artifacts=artifacts,
            measurements=measurements,
            comparisons=comparisons,
        )


def train(model: str, *, run_dir: Path | None, as_json: bool, **given: Any) -> int:
    """Train and export the SavedModel. Returns the exit code."""
    progress = Progress()
    run, bundle_of = _prepare(model, run_dir, given, progress)
    with native_output_to(run.path("logs", "native.log")):
        bundle, _ = bundle_of()
        progress.say(f"trained {bundle.name}: {_metrics(bundle.metrics)}")
        return finish(run, progress, as_json, [], bundle=bundle, page=False)


def finish(
    run: Run,
    progress: Progress,
    as_json: bool,
    failed: list[str],
    *,
    bundle: ModelBundle | None = None,
    artifacts: Sequence[Artifact] = (),
    measurements: Sequence[Measurement] = (),
    comparisons: Sequence[Comparison] = (),
    page: bool = True,
) -> int:
    """Prints what this command did, writes the run's report, says what failed. Returns the exit code.

    The document and the table hold this command's results only; the page and ``report`` show the whole run.
    """
    write_json(run.path("warnings.json"), {"warnings": progress.warnings})
    records = loading.Records(
        bundle=bundle,
        artifacts=artifacts,
        measurements=measurements,
        comparisons=comparisons,
        warnings=progress.warnings,
    )
    result = document.from_records(loading.arranged(records), run_dir=run.root)
    result["summary"]["passed"] = not failed
    report = html.write(run) if page else None
    show(result, as_json)
    if not as_json:
        click.echo(f"run directory  {run.root}")
        if report:
            click.echo(f"HTML report    {report}")
    for line in failed:
        progress.say(f"failed: {line}")
    return 1 if failed else 0


def show(result: dict[str, Any], as_json: bool) -> None:
    """The document, or the table in the terminal's own width and colours; plain text when not a terminal."""
    if as_json:
        options.print_json(result)
    elif sys.stdout.isatty():
        from rich.console import Console

        terminal.show(result, Console())
    elif result["artifacts"] or result["measurements"] or result["comparisons"]:
        click.echo(terminal.render(result), nl=False)


def _prepare(model: str, run_dir: Path | None, given: dict[str, Any], progress: Progress) -> Any:
    """Checks names and options, loads the data, opens the run directory; nothing slow before that."""
    if model not in toolkit.models.names():
        raise unknown_name("model", model, toolkit.models.names())
    module = toolkit.models.load(model)
    architecture = given["variant"] or module.DEFAULT_VARIANT
    default = toolkit.models.variant(model, architecture)
    values = {k: given[k] for k in TRAINING if k not in ("variant", "epochs")}
    # The epochs that are really trained, not "the default": the default may change with a version.
    training = TrainingOptions(
        variant=architecture, epochs=given["epochs"] if given["epochs"] is not None else default.epochs, **values
    )
    dataset = toolkit.datasets.load(
        module.DATASET, data_dir=given["data_dir"], source=given["data_source"], progress=progress
    )
    # The source that was taken: tomorrow another one may answer first.
    chosen = {"data_dir": str(given["data_dir"].resolve()) if given["data_dir"] else None, "source": dataset.taken}
    # The default folder's name holds the options and the data: another model never lands on this one.
    name = f"{model}-{training.variant}-{key_of({'training': training, 'data': dataset.describe()})[:8]}"
    run = Run(run_dir or Path("runs") / name)

    def bundle_of() -> Any:
        return stages.train(run, model, dataset, training, chosen, progress), dataset

    return run, bundle_of


def _metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in metrics.items())
