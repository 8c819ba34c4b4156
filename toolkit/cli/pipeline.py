"""Runs the stages for the commands that need several of them, and prints what came out."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import toolkit.datasets
import toolkit.models
from converters import convert, recipes
from devices import environments
from toolkit.cli import baseline, benching, comparing, options, samples, stages
from toolkit.cli import files as named
from toolkit.datasets._chosen import Chosen
from toolkit.errors import UsageError, unknown_name
from toolkit.models import user
from toolkit.progress import Progress, native_output_to
from toolkit.records import Artifact, Comparison, Measurement, ModelBundle
from toolkit.report import document, html, loading, samples_files, terminal, zeros
from toolkit.store import Run, key_of, write_json
from toolkit.training import cluster, distribution, fit
from toolkit.training.options import TrainingOptions


def export(model: str, *, run_dir: Path | None, as_json: bool, **given: Any) -> int:
    """Train, convert, gate, bench, validate, report. Returns the exit code."""
    progress = Progress()
    for name in given["recipes"]:
        recipes.load(name)
    with benching.opened(given["targets"], given["threads"]):
        pass  # a target that is not there ends it now, and not after the training
    fleet = environments.ready(given["fleet"], progress=progress)
    run, bundle_of = _prepare(model, run_dir, given, progress)
    with native_output_to(run.path("logs", "native.log")):
        bundle, dataset = bundle_of()
        job = convert.Conversion(
            run=run,
            bundle=bundle,
            calibration=dataset.calibration(),
            training=samples.teaching(bundle, dataset),
            seed=given["seed"],
            progress=progress,
            fleet=fleet,
        )
        everything = given["all_recipes"] or not given["recipes"]
        known = None if given["all_recipes"] else recipes.USUAL
        chosen = stages.choose_recipes(job, given["recipes"], everything, known)
        artifacts = convert.convert(job, chosen, optional=everything, named=given["recipes"])
        files = stages.passed_files(run, artifacts)
        measurements = benching.bench(
            run,
            files,
            given["targets"],
            threads=given["threads"],
            quick=given["quick"],
            seed=given["seed"],
            progress=progress,
        )
        comparisons = comparing.compare(
            run,
            files,
            given["targets"],
            run.path(bundle.saved_model),
            "saved-model",
            named.source_of_run(bundle, dataset),
            comparing.Asked(budget=given["budget"], seed=given["seed"]),
            threads=given["threads"],
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
    regressions: Sequence[Mapping[str, Any]] | None = None,
    page: bool = True,
) -> int:
    """Prints what this command did, writes the run's report, says what failed. Returns the exit code.

    The document and the table hold this command's results only; the page and ``report`` show the whole run.
    """
    write_json(run.path("warnings.json"), {"warnings": progress.warnings})
    run.keep(run.path("warnings.json"))
    records = loading.Records(
        bundle=bundle,
        artifacts=artifacts,
        measurements=measurements,
        comparisons=comparisons,
        warnings=progress.warnings,
        embeddings=loading.embeddings(run) if bundle else (),
        sparsity=loading.sparsity(run) if bundle else (),
    )
    result = document.from_records(loading.arranged(records), run_dir=run.root)
    result["summary"]["passed"] = not failed
    if regressions is not None:
        result["regressions"] = list(regressions)
    if measurements:
        samples_files.write(run, loading.load(run).measurements)
    report = html.write(run) if page else None
    show(result, as_json)
    if not as_json:
        for line in baseline.lines(regressions or ()):
            click.echo(f"baseline       {line}")
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
    elif result["artifacts"] or result["measurements"] or result["comparisons"] or zeros.line(result):
        click.echo(terminal.render(result), nl=False)


def _prepare(model: str, run_dir: Path | None, given: dict[str, Any], progress: Progress) -> Any:
    """Checks names and options, loads the data, opens the run directory; nothing slow before that."""
    if model not in toolkit.models.names():
        raise unknown_name("model", model, toolkit.models.names())
    module = toolkit.models.load(model)
    architecture = given["variant"] or module.DEFAULT_VARIANT
    default = toolkit.models.variant(model, architecture)
    training = _training(architecture, default, given)
    if (training.module is None) == (model == "user"):
        needs = "needs --module FILE.py:build_model" if model == "user" else "takes no --module"
        raise UsageError(f"model {model} {needs}", remedy="see edge-export train --help")
    if training.strategy == "multi-worker":
        cluster.need()
    chosen = _chosen(module, given)
    dataset = chosen.open(progress)
    if chosen.name is not None:
        # The source that was taken: tomorrow another one may answer first.
        chosen = dataclasses.replace(chosen, source=dataset.taken)
    # The default folder's name holds the options and the data: another model never lands on this one.
    key = key_of({"training": fit.decisive(training), "data": dataset.describe()})
    name = f"{model}-{training.variant}-{key[:8]}"
    if training.strategy == "multi-worker" and distribution.worker():
        name += f"-worker{distribution.worker()}"
    run = Run(run_dir or Path("runs") / name)

    def bundle_of() -> Any:
        bundle = stages.train(run, model, dataset, training, chosen, progress, examples=bool(given.get("tf_examples")))
        return bundle, dataset

    return run, bundle_of


def _training(variant: str, usual: toolkit.models.Variant, given: Mapping[str, Any]) -> TrainingOptions:
    values = {f.name: given[f.name] for f in dataclasses.fields(TrainingOptions) if f.name in given}
    if values["batch_size"] is None:
        values["batch_size"] = usual.batch_size
    if values.get("module") is not None:
        # A run is taken up from any folder.
        path, function = user.split(values["module"])
        values["module"] = f"{path.resolve()}:{function}"
    options = TrainingOptions(**{**values, "variant": variant})
    if options.epochs is None and options.train_examples is None:
        # The epochs that are really trained, not "the default": the default may change with a version.
        options = dataclasses.replace(options, epochs=usual.epochs)
    return options


def _chosen(module: Any, given: Mapping[str, Any]) -> Chosen:
    """A registry's data set by name, a file of the user's, or the family's own data set."""
    data, folder, columns = given["data"], given["data_dir"], given["columns"]
    is_name = data is None or (data in toolkit.datasets.names() and not Path(data).exists())
    if data is not None and not is_name and not any(c in data for c in "./*?["):
        raise unknown_name("data set", data, toolkit.datasets.names())
    return Chosen(
        name=(data or module.DATASET) if is_name else None,
        pattern=None if is_name else data,
        data_dir=str(folder.resolve()) if folder else None,
        source=given["data_source"],
        spec=given["spec"],
        label=given["label"],
        columns=tuple(name.strip() for name in columns.split(",")) if columns is not None else None,
        bad_rows=given["bad_rows"],
    )


def _metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in metrics.items())
