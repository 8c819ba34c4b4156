"""What the paths given to ``bench`` and ``validate`` stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import toolkit.datasets
from converters import bundle as bundles
from converters import contract, convert, keras_models, metadata, saved_model, sources
from toolkit import flatbuffer
from toolkit.cli import samples, stages
from toolkit.datasets import _images
from toolkit.datasets._dataset import Split
from toolkit.errors import UsageError
from toolkit.progress import Progress
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


def samples_for(data: str | None, edge: Path, model: Path, progress: Progress, *, pixels: str | None = None) -> Split:
    """The samples to validate on, checked against the edge model's inputs.

    Without ``data`` a run's own evaluation split is taken.
    """
    if data is None:
        if sources.identify(edge).kind != "run":
            raise UsageError(
                "no samples given", remedy=f"give --data eval.npz or a data set: {', '.join(toolkit.datasets.names())}"
            )
        bundle = bundles.load(Run(edge))
        dataset = samples.dataset_of(bundle, progress)
        if dataset is None:
            raise UsageError("the run's model came without data", where=str(edge), remedy="give --data eval.npz")
        return samples.judging(bundle, dataset)
    found = contract.find(model)[0]
    told = (metadata.read(flatbuffer.read(model), where=str(model)) if model.is_file() else None) or {}
    known = samples.Meaning(
        spec=found.spec, classes=found.classes, pixels=pixels or _images.scale_of(told.get("normalisation"), [])
    )
    return samples.read(data, contract.float_signature(model), "evaluation", progress, known=known)
