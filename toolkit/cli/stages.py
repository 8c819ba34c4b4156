"""The stages of a run, one function each; commands are thin skins over these.

Each reads and writes the run directory and skips what is already done from the same inputs.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import devices.targets
import toolkit.datasets
import toolkit.models
from converters import bundle as bundles
from converters import convert, recipes, sources
from devices import harness, validate
from toolkit.datasets import _npz
from toolkit.datasets._chosen import Chosen
from toolkit.datasets._dataset import Dataset, Split
from toolkit.errors import BrokenInput, UsageError, unknown_name
from toolkit.models import Task, user
from toolkit.progress import Progress
from toolkit.records import Artifact, Comparison, Measurement, ModelBundle, Signature, from_json, to_json
from toolkit.store import Run, key_of, read_json, sha256_file, sha256_tree, write_json
from toolkit.training import fit, tasks
from toolkit.training.options import TrainingOptions


def train(
    run: Run,
    model: str,
    dataset: Dataset,
    training: TrainingOptions,
    chosen: Chosen,
    progress: Progress,
) -> ModelBundle:
    """Trains ``model`` on ``dataset`` and exports it, unless this run directory holds that very model.

    Raises:
        UsageError: the run directory holds a model trained otherwise; it is not overwritten.
    """
    task = tasks.of(dataset, toolkit.models.load(model))
    described = {**dataset.describe(), "options": chosen.describe(), "task": to_json(task)}
    key = key_of({"model": model, "training": decisive(training), "data": described, "versions": bundles.versions()})
    keras_file, facts = run.path("bundle", "model.keras"), run.path("bundle", "training.json")
    record = run.path("stages", "train.json")
    if record.exists() and facts.exists() and read_json(record).get("key") != key:
        raise UsageError(
            "holds a model trained with other options, data or versions",
            where=str(run.root),
            remedy="choose another --run-dir, or delete this one",
        )

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
        progress=progress,
    )


def decisive(training: TrainingOptions) -> dict[str, Any]:
    """The options, with the content of the user's file in place of its name."""
    found: dict[str, Any] = to_json(training)
    if training.module is not None:
        path, function = user.split(training.module)
        found["module"] = [sha256_file(path), function]
    return found


def teaching(bundle: ModelBundle, dataset: Dataset) -> Split:
    """The training split with what the model is to answer: the images themselves, of an autoencoder."""
    split, task = dataset.train(), _task(bundle)
    return split if task is None else dataclasses.replace(split, labels=tasks.wanted(split, task))


def judging(bundle: ModelBundle, dataset: Dataset) -> Split:
    """The evaluation split with the labels that accuracy is judged by; without, of an autoencoder."""
    split, task = dataset.evaluation(), _task(bundle)
    return dataclasses.replace(split, labels=None) if task and task.kind == "reconstruction" else split


def _task(bundle: ModelBundle) -> Task | None:
    found = bundle.data.get("task")
    return from_json(Task, found) if found else None


def open_run(source: Path, run_dir: Path | None, *, unsafe: bool = False) -> Run:
    """The run directory for a source: the source itself if it is one, else ``run_dir``, else one under ``runs/``."""
    found = sources.identify(source, unsafe=unsafe)
    if found.kind == "run":
        return Run(source)
    if run_dir is not None and (run_dir / "bundle" / "bundle.json").exists():
        kept = read_json(run_dir / "bundle" / "bundle.json").get("sha256")
        if found.kind != "tflite" and kept != _digest(found.path):
            raise UsageError(
                "holds another model", where=str(run_dir), remedy="choose another --run-dir, or delete this one"
            )
    if found.kind == "tflite":
        raise BrokenInput(
            "is already a .tflite", where=str(source), remedy="convert the Keras model or SavedModel it came from"
        )
    return Run(run_dir or Path("runs") / f"{found.name}-{_digest(found.path)[:8]}")


def dataset_of(bundle: ModelBundle, progress: Progress) -> Dataset | None:
    """The data set a bundle was trained on, from the same source; ``None`` for a model from elsewhere.

    Raises:
        BrokenInput: the data set is not the one recorded (its digests differ).
    """
    if not bundle.data:
        return None
    chosen = Chosen.of(bundle.data.get("options", {}))
    dataset = chosen.open(progress, features=bundle.data.get("features"))
    described = dataset.describe()
    if any(bundle.data.get(k) != v for k, v in described.items()):
        raise BrokenInput(
            "is no longer the data this model was trained on",
            where=f"data set {dataset.name}",
            remedy="restore the data, or train again in a new --run-dir",
        )
    return dataset


def conversion(
    source: Path,
    progress: Progress,
    *,
    run: Run,
    calibration: str | None = None,
    train_data: Path | None = None,
    unsafe: bool = False,
    seed: int = 0,
) -> convert.Conversion:
    """Opens ``source`` for conversion with the data it comes with, or the data given."""
    found = sources.identify(source, unsafe=unsafe)
    bundle = bundles.load(run) if found.kind == "run" else bundles.adopt(run, found, unsafe=unsafe, progress=progress)
    module = (bundle.options or {}).get("module")
    if module is not None and Path(module.rpartition(":")[0]).is_file():
        user.load(module)  # which makes its layers known: recipes that fine-tune load the Keras file
    dataset = None
    if found.kind == "run" and not (calibration and train_data):
        dataset = dataset_of(bundle, progress)
    return convert.Conversion(
        run=run,
        bundle=bundle,
        calibration=_samples(calibration, bundle.signature, "calibration", progress)
        or (dataset.calibration() if dataset else None),
        training=_npz.read(
            train_data, bundle.signature.inputs, need_labels=True, regression=regresses(bundle.signature)
        )
        if train_data
        else (teaching(bundle, dataset) if dataset else None),
        seed=bundle.seed if bundle.seed is not None else seed,
        progress=progress,
    )


def choose_recipes(job: convert.Conversion, names: Sequence[str], everything: bool) -> list[str]:
    """The recipes to make: those named, or all that this model and data allow (the others are said)."""
    if not everything:
        return list(names)
    chosen = []
    for name in recipes.names():
        reason = convert.why_not(job, recipes.load(name))
        if reason and name not in names:
            job.progress.warn(f"recipe {name} left out: it {reason}")
        else:
            chosen.append(name)
    return chosen


def bench(
    run: Run,
    files: Sequence[tuple[str, Path]],
    targets: Sequence[str],
    *,
    threads: int,
    quick: bool,
    seed: int,
    progress: Progress,
    again: bool = False,
) -> list[Measurement]:
    """Measures ``files`` (name, path) on every target, interleaved; results already there stay unless ``again``."""
    opened = _opened(targets, threads)
    plan = harness.QUICK if quick else harness.FULL
    found: list[Measurement] = []
    for spec, device in opened:
        folder = run.path("measurements", slug(spec))
        digests = {name: _digest(path) for name, path in files}
        key = key_of({"files": digests, "target": device.target, "plan": plan, "seed": seed})

        def work(device: Any = device, folder: Path = folder) -> Iterable[Path]:
            if any(folder.glob("*.json")):
                # Ratios are taken between files measured side by side: an earlier session is kept, but apart.
                aside = run.path(
                    "measurements-earlier", f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(2)}-{folder.name}"
                )
                aside.parent.mkdir(parents=True, exist_ok=True)
                os.rename(folder, aside)
            results = harness.measure(files, device, plan, progress=progress, seed=seed)
            for measurement, (_, path) in zip(results, files, strict=True):
                measurement.provenance["file"] = str(path)
                write_json(folder / f"{measurement.recipe}.json", measurement)
            return [folder / f"{m.recipe}.json" for m in results]

        if again:
            run.path("stages", f"bench-{slug(spec)}.json").unlink(missing_ok=True)
        run.stage(f"bench-{slug(spec)}", key, work)
        found += [from_json(Measurement, read_json(folder / f"{name}.json")) for name, _ in files]
    return found


def compare(
    run: Run,
    edges: Sequence[tuple[str, Path]],
    targets: Sequence[str],
    cloud: Path,
    against: str,
    samples: Split,
    *,
    budget: float | None,
    threads: int,
    seed: int,
    progress: Progress,
    again: bool = False,
    output: str | None = None,
) -> list[Comparison]:
    """Compares every edge file on every target with the cloud model, on the same samples.

    ``budget``: of the metric that fits the model; ``None``: its usual one.
    """
    allowed = dict(validate.BUDGETS) if budget is None else budget
    opened = _opened(targets, threads)
    cloud_digest = _digest(cloud)
    reference: list[Any] = []

    def cloud_answer() -> Any:
        # Once for all comparisons, and only if one has to be made: TensorFlow takes seconds to start.
        if not reference:
            with progress.task(f"answers of {against}"):
                # The samples are named like the edge's inputs; an only one is the cloud's only one by any name.
                given = samples.inputs if len(samples.inputs) > 1 else {"": next(iter(samples.inputs.values()))}
                reference.append(devices.targets.open(against).answer(cloud, given))
        return reference[0]

    found = []
    for spec, device in opened:
        for name, path in edges:
            record = run.path("comparisons", slug(spec), f"{name}.json")
            key = key_of(
                {
                    "edge": _digest(path),
                    "cloud": cloud_digest,
                    "against": against,
                    "samples": samples.digest,
                    "target": device.target,
                    "budget": allowed,
                    "output": output,
                    "seed": seed,
                }
            )

            def work(
                device: Any = device, spec: str = spec, name: str = name, path: Path = path, record: Path = record
            ) -> Iterable[Path]:
                left = cloud_answer()
                with progress.task(f"validate {name} on {spec}"):
                    comparison = validate.compare(
                        recipe=name,
                        target=spec,
                        against=against,
                        edge=device.answer(path, samples.inputs),
                        cloud=left,
                        labels=samples.labels,
                        inputs=samples.inputs,
                        output=output,
                        budget=allowed,
                        seed=seed,
                    )
                write_json(record, dataclasses.replace(comparison, artifact_sha256=_digest(path)))
                return [record]

            stage = f"validate-{slug(spec)}-{name}"
            if again:
                run.path("stages", f"{stage}.json").unlink(missing_ok=True)
            run.stage(stage, key, work)
            found.append(from_json(Comparison, read_json(record)))
    return found


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


def _opened(targets: Sequence[str], threads: int) -> list[tuple[str, Any]]:
    """Every target once; a number of threads other than 1 becomes part of its name, and so of its records."""
    found = {}
    for spec in targets:
        if threads != 1 and spec.partition(":")[0] == "cpu" and "threads=" not in spec:
            spec += f"{',' if ':' in spec else ':'}threads={threads}"
        found[spec] = devices.targets.open(spec, threads=threads)
    return list(found.items())


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
    return not comparison.passed and comparison.verdict.endswith("more needed")


def slug(target: str) -> str:
    """A target's name as one folder name."""
    return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in target)


def read_samples(data: str, signature: Signature, progress: Progress) -> Split:
    """Samples to validate on: an npz, or a data set's evaluation split."""
    samples = _samples(data, signature, "evaluation", progress)
    assert samples is not None
    return samples


def regresses(signature: Signature) -> bool:
    """Whether an output of the model is, or may be, one number a sample: then labels may be values."""
    return any(spec.shape[-1] in (1, None) if len(spec.shape) > 1 else True for spec in signature.outputs)


def _samples(given: str | None, signature: Signature, split: str, progress: Progress) -> Split | None:
    if given is None:
        return None
    if not Path(given).exists() and given in toolkit.datasets.names():
        dataset = toolkit.datasets.load(given, data_dir=None, source=None, progress=progress)
        chosen: Split = getattr(dataset, split)()
        missing = sorted({s.name for s in signature.inputs} - set(chosen.inputs))
        if missing:
            raise BrokenInput(
                f"has no column for the model's input {', '.join(missing)} (it has: {', '.join(chosen.inputs)})",
                where=f"data set {given}",
                remedy="give an npz whose arrays are named like the model's inputs",
            )
        return chosen
    if not Path(given).exists() and not Path(given).suffix and os.sep not in given:
        raise unknown_name("data set", given, toolkit.datasets.names())
    return _npz.read(Path(given), signature.inputs, regression=regresses(signature))


def _digest(path: Path) -> str:
    return sha256_tree(path) if path.is_dir() else sha256_file(path)
