"""What the paths given to ``bench`` and ``validate`` stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import toolkit.datasets
import toolkit.models
from converters import bundle as bundles
from converters import contract, convert, keras_models, metadata, saved_model, sources
from toolkit import flatbuffer
from toolkit.cli import feeding, samples, stages
from toolkit.datasets import _images
from toolkit.datasets._dataset import Dataset, Split
from toolkit.errors import UsageError, unknown_name
from toolkit.prediction import Contract
from toolkit.prediction import samples as rows
from toolkit.progress import Progress
from toolkit.records import ModelBundle
from toolkit.store import Run, key_of, replacing, sha256_file


def to_measure(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """A name and a path for every model in ``paths``; names are unique.

    Raises:
        UsageError: nothing at a path, or a Keras file (convert it first).
        BrokenInput: a damaged file.
    """
    found: list[tuple[str, Path]] = []
    for path in paths:
        source = sources.identify(path)
        if source.kind == "run":
            run = Run(path)
            passed = stages.passed_files(run, convert.load(run))
            if not passed:
                raise UsageError("has no artifact", where=str(path), remedy="run edge-export convert on it first")
            found += passed
        elif source.kind == "tflite":
            flatbuffer.read(path)
            found.append((path.stem, path))
        elif source.kind == "saved_model":
            found.append((source.name, source.path))
        else:
            raise UsageError(
                "is a Keras file, which no target runs", where=str(path), remedy="convert it: edge-export convert"
            )
    names = [name for name, _ in found]
    return [
        (name if names.count(name) == 1 else f"{name}-{names[: i + 1].count(name)}", path)
        for i, (name, path) in enumerate(found)
    ]


def chosen(edge: Path, recipes: Sequence[str]) -> tuple[Path, list[tuple[str, Path]]]:
    """What ``validate EDGE [RECIPE]...`` means: the path that EDGE stands for, and its artifacts.

    EDGE may be a file, a run, ``RUN/RECIPE.tflite``, or the name of a model whose newest run under ``runs/`` is taken.

    Raises:
        UsageError: there is no such thing, or no such artifact.
    """
    path = edge
    if not path.exists() and path.suffix == ".tflite" and (path.parent / "artifacts" / path.name).exists():
        path = path.parent / "artifacts" / path.name
    elif not path.exists() and str(edge) in toolkit.models.names():
        runs = sorted(Path("runs").glob(f"{edge}-*/bundle/bundle.json"), key=lambda p: p.stat().st_mtime)
        if not runs:
            raise UsageError("has no run under runs/", where=f"model {edge}", remedy=f"edge-export export {edge} first")
        path = runs[-1].parent.parent
    found = to_measure([path])
    if not recipes:
        return path, found
    names = [name for name, _ in found]
    for recipe in recipes:
        if recipe not in names:
            raise unknown_name("artifact", recipe, names)
    return path, [(name, file) for name, file in found if name in recipes]


def run_of(path: Path) -> Path | None:
    """The run directory that a path is, or that an artifact lies in."""
    for folder in (path, *path.resolve().parents[:2]):
        if (folder / "run.json").exists() and (folder / "bundle" / "bundle.json").exists():
            return folder
    return None


def run_for(paths: Sequence[Path], run_dir: Path | None, purpose: str) -> Run:
    """Where results go: ``--run-dir``, else the one run that was given, else a folder under ``runs/``."""
    if run_dir is not None:
        return Run(run_dir)
    if len(paths) == 1 and (paths[0] / "run.json").exists():
        return Run(paths[0])
    names = sorted(str(p.resolve()) for p in paths)
    return Run(Path("runs") / f"{purpose}-{key_of(names)[:8]}")


def cloud(against: str, run: Run, progress: Progress) -> tuple[str, Path]:
    """The target and the path that stand for the cloud side.

    A Keras file is exported to a SavedModel inside the run directory first.
    """
    path = Path(against)
    source = sources.identify(path)
    if source.kind == "tflite":
        return "cpu", path
    if source.kind == "saved_model":
        return "saved-model", source.path
    if source.kind == "run":
        other = Run(path) if path.resolve() != run.root.resolve() else run
        return "saved-model", other.path(bundles.load(other).saved_model)
    assert source.keras_version is not None
    folder = run.path("cloud", sha256_file(path)[:16])
    if not (folder / "saved_model.pb").exists():
        with progress.task(f"export {path.name}"), replacing(folder) as beside:
            model = keras_models.load(path, source.keras_version)
            saved_model.export_to(model, beside, keras_version=source.keras_version)
    return "saved-model", folder


def source_of_run(bundle: ModelBundle, dataset: Dataset, slices: Sequence[str] = ()) -> feeding.Source:
    """A run's own evaluation split."""
    spec = samples.spec_of(bundle)
    shown = feeding.shown_by(Contract(inputs=None, spec=spec)) if spec is not None else {}
    return feeding.of_split(samples.judging(bundle, dataset), name=dataset.name, shown=shown, slices=slices)


def source_for(
    data: str | None,
    edge: Path,
    model: Path,
    progress: Progress,
    *,
    pixels: str | None = None,
    slices: Sequence[str] = (),
) -> feeding.Source:
    """The samples to validate on, checked against the edge model's inputs; a table is read block by block.

    Without ``data`` a run's own evaluation split is taken.
    """
    if data is None:
        return source_of_run(*_of_run(edge, progress), slices)
    found, known = _known(model, pixels)
    signature = contract.float_signature(model)
    if rows.is_table(data) and not Path(data).is_dir():
        wanted = Contract(inputs=signature.inputs, spec=known.spec, classes=known.classes)
        return feeding.of_table(data, wanted, slices=slices)
    split = samples.read(data, signature, "evaluation", progress, known=known)
    return feeding.of_split(split, name=data, shown=feeding.shown_by(found), slices=slices)


def samples_for(data: str | None, edge: Path, model: Path, progress: Progress, *, pixels: str | None = None) -> Split:
    """The samples to measure with, in memory; else as :func:`source_for`."""
    if data is None:
        return samples.judging(*_of_run(edge, progress))
    return samples.read(data, contract.float_signature(model), "evaluation", progress, known=_known(model, pixels)[1])


def _of_run(edge: Path, progress: Progress) -> tuple[ModelBundle, Dataset]:
    run = run_of(edge)
    if run is None:
        raise UsageError(
            "no samples given", remedy=f"give --data eval.npz or a data set: {', '.join(toolkit.datasets.names())}"
        )
    bundle = bundles.load(Run(run))
    dataset = samples.dataset_of(bundle, progress)
    if dataset is None:
        raise UsageError("the run's model came without data", where=str(edge), remedy="give --data eval.npz")
    return bundle, dataset


def _known(model: Path, pixels: str | None) -> tuple[Contract, samples.Meaning]:
    found = contract.find(model)[0]
    told = (metadata.read(flatbuffer.read(model), where=str(model)) if model.is_file() else None) or {}
    scale = pixels or _images.scale_of(told.get("normalisation"), [])
    return found, samples.Meaning(spec=found.spec, classes=found.classes, pixels=scale)
