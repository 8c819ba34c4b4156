"""The stages of a run, one function each; commands are thin skins over these.

Each reads and writes the run directory and skips what is already done from the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import toolkit.datasets
import toolkit.models
from converters import bundle as bundles
from converters import convert, keras_models, recipes, saved_model, sources
from devices.evaluation import budgets
from toolkit.cli import samples
from toolkit.cli.benching import digest
from toolkit.datasets._chosen import Chosen
from toolkit.datasets._dataset import Dataset
from toolkit.errors import BrokenInput, UsageError
from toolkit.models import user
from toolkit.progress import Progress
from toolkit.records import Artifact, Comparison, Measurement, ModelBundle, to_json
from toolkit.store import Run, key_of, read_json, sha256_file, write_json
from toolkit.training import fit, tasks
from toolkit.training.options import TrainingOptions


def train(
    run: Run,
    model: str,
    dataset: Dataset,
    training: TrainingOptions,
    chosen: Chosen,
    progress: Progress,
    *,
    examples: bool = False,
) -> ModelBundle:
    """Trains ``model`` on ``dataset`` and exports it, unless this run directory holds that very model.

    Raises:
        UsageError: the run directory holds a model trained otherwise; it is not overwritten.
    """
    task = tasks.of(dataset, toolkit.models.load(model))
    described = {**dataset.describe(), "options": chosen.describe(), "task": to_json(task)}
    key = key_of(
        {"model": model, "training": fit.decisive(training), "data": described, "versions": bundles.versions()}
    )
    keras_file, facts = run.path("bundle", "model.keras"), run.path("bundle", "training.json")
    record = run.path("stages", "train.json")
    if record.exists() and facts.exists() and read_json(record).get("key") != key:
        raise UsageError(
            "holds a model trained with other options, data or versions",
            where=str(run.root),
            remedy="choose another --run-dir, or delete this one",
        )

    if training.module is not None:
        user.load(training.module)  # what it registers is needed to load the model again, trained now or before

    def work() -> Iterable[Path]:
        trained = fit.train(
            model,
            dataset,
            training,
            out=keras_file,
            logs=run.path("logs", "tensorboard"),
            maps=run.path("embeddings"),
            progress=progress,
        )
        write_json(facts, {"metrics": trained.metrics, "history": trained.history, **trained.facts})
        return [keras_file, facts, *sorted(run.root.glob("embeddings/*.json"))]

    run.stage("train", key, work)
    return bundles.create(
        run,
        name=model,
        keras_file=keras_file,
        keras_version=2,
        seed=training.seed,
        options=to_json(training),
        metrics=read_json(facts)["metrics"],
        data=described,
        signatures=getattr(toolkit.models.load(model), "SIGNATURES", None),
        examples=examples,
        progress=progress,
    )


def open_run(source: Path, run_dir: Path | None, *, unsafe: bool = False) -> Run:
    """The run directory for a source: the source itself if it is one, else ``run_dir``, else one under ``runs/``."""
    found = sources.identify(source, unsafe=unsafe)
    if found.kind == "run":
        return Run(source)
    if run_dir is not None and (run_dir / "bundle" / "bundle.json").exists():
        kept = read_json(run_dir / "bundle" / "bundle.json").get("sha256")
        if found.kind != "tflite" and kept != digest(found.path):
            raise UsageError(
                "holds another model", where=str(run_dir), remedy="choose another --run-dir, or delete this one"
            )
    if found.kind == "tflite":
        raise BrokenInput(
            "is already a .tflite", where=str(source), remedy="convert the Keras model or SavedModel it came from"
        )
    return Run(run_dir or Path("runs") / f"{found.name}-{digest(found.path)[:8]}")


def conversion(
    source: Path,
    progress: Progress,
    *,
    run: Run,
    calibration: str | None = None,
    train_data: str | None = None,
    pixels: str | None = None,
    unsafe: bool = False,
    examples: bool = False,
    code: Path | None = None,
    seed: int = 0,
    fleet: tuple[str, ...] = (),
) -> convert.Conversion:
    """Opens ``source`` for conversion with the data it comes with, or the data given, for the runtimes named."""
    found = sources.identify(source, unsafe=unsafe)
    if code is not None:
        keras_models.define(_objects(code))
    if found.kind == "run":
        bundle = bundles.load(run)
        _recall(bundle, code)
        if examples and saved_model.EXAMPLES not in bundle.left_out:
            raise UsageError(
                "its SavedModel was exported without --tf-examples",
                where=str(source),
                remedy="train or convert again with --tf-examples, from the same data or Keras file",
            )
    else:
        bundle = bundles.adopt(run, found, code=code, unsafe=unsafe, examples=examples, progress=progress)
    module = (bundle.options or {}).get("module")
    if module is not None and Path(module.rpartition(":")[0]).is_file():
        user.load(module)  # which makes its layers known: recipes that fine-tune load the Keras file
    known = samples.meaning_of(bundle, pixels)
    dataset = None
    if found.kind == "run" and not (calibration and train_data):
        dataset = samples.dataset_of(bundle, progress)
    return convert.Conversion(
        run=run,
        bundle=bundle,
        calibration=samples.read(calibration, bundle.signature, "calibration", progress, known=known)
        if calibration is not None
        else (dataset.calibration() if dataset else None),
        training=samples.read(train_data, bundle.signature, "train", progress, known=known, need=True)
        if train_data is not None
        else (samples.teaching(bundle, dataset) if dataset else None),
        seed=bundle.seed if bundle.seed is not None else seed,
        progress=progress,
        unsafe=unsafe,
        fleet=fleet,
    )


def _objects(code: Path) -> dict[str, Any]:
    import tf_keras  # noqa: F401 - what a file defines for it is made known to it, whatever the file imports

    return user.objects(code)


def _recall(bundle: ModelBundle, code: Path | None) -> None:
    """Makes the layers of an adopted model known again, if their file is still the one that it was adopted with."""
    kept = (bundle.options or {}).get("code")
    if kept is None or code is not None:
        return
    path = Path(kept)
    if not path.is_file() or sha256_file(path) != bundle.options.get("code_sha256"):
        state = "has changed since" if path.is_file() else "is gone"
        raise UsageError(f"the code of the model's layers {state}", where=kept, remedy="give it with --code FILE.py")
    keras_models.define(_objects(path))


def choose_recipes(
    job: convert.Conversion, names: Sequence[str], everything: bool, known: Sequence[str] | None = None
) -> list[str]:
    """The recipes to make: those named, or all of ``known`` that this model and data allow (the others are said).

    ``known``: by default all that there are.
    """
    if not everything:
        return list(names)
    chosen = []
    for name in recipes.names():
        if name not in names and known is not None and name not in known:
            continue
        reason = convert.why_not(job, recipes.load(name))
        if reason and name not in names:
            job.progress.warn(f"recipe {name} left out: it {reason}")
        else:
            chosen.append(name)
    return chosen


def passed_files(run: Run, artifacts: Sequence[Artifact]) -> list[tuple[str, Path]]:
    """Recipe and path of the artifacts that passed their gate.

    Raises:
        BrokenInput: a file is gone, or is not the one that passed.
    """
    intact(run, artifacts)
    return [(a.recipe, run.path(a.path)) for a in artifacts if a.gate.passed]


def intact(run: Run, artifacts: Sequence[Artifact]) -> None:
    """Refuses artifacts whose file is gone or has changed since its gate (raises :class:`BrokenInput`)."""
    for artifact in artifacts:
        path = run.path(artifact.path)
        if not path.is_file() or sha256_file(path) != artifact.sha256:
            state = "is gone" if not path.is_file() else "is not the file that went through its gate"
            raise BrokenInput(f"{state} (its sha256 is recorded)", where=str(path), remedy="convert the run again")


def failures(
    artifacts: Sequence[Artifact], measurements: Sequence[Measurement], comparisons: Sequence[Comparison], strict: bool
) -> list[str]:
    """What failed, one line each; empty when all is well.

    A timing that is not valid and a budget that could not be decided are no failures unless ``strict``.
    """
    lines = []
    for artifact in artifacts:
        for check in artifact.gate.checks:
            if not check.passed:
                lines.append(f"{artifact.recipe}: gate check {check.name} failed: {check.detail}")
    for measurement in measurements:
        if measurement.verdict == "failed" or (strict and measurement.verdict != "valid"):
            reasons = "; ".join(measurement.reasons) or measurement.verdict
            lines.append(f"{measurement.recipe} on {measurement.target.name}: {measurement.verdict} ({reasons})")
    for comparison in comparisons:
        if not comparison.passed and (strict or not undecided(comparison)):
            lines.append(f"{comparison.recipe} on {comparison.target}: {comparison.verdict}")
    return lines


def undecided(comparison: Comparison) -> bool:
    """Whether more samples could still show that the budget is kept."""
    return not comparison.passed and budgets.undecided(comparison.verdict)
