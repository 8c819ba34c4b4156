"""Which samples a command works on: a run's own splits, a data set's by name, or a file of the user's."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import toolkit.datasets
from toolkit.datasets import _featured, _images, _npz
from toolkit.datasets._chosen import Chosen
from toolkit.datasets._dataset import Dataset, Split
from toolkit.errors import BrokenInput, unknown_name
from toolkit.features import FeatureSpec, loads
from toolkit.models import Task
from toolkit.prediction import Contract
from toolkit.prediction import samples as rows
from toolkit.progress import Progress
from toolkit.records import ModelBundle, Signature, from_json
from toolkit.training import tasks


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


def teaching(bundle: ModelBundle, dataset: Dataset) -> Split:
    """The training split with what the model is to answer: the images themselves, of an autoencoder."""
    return _with_wanted(dataset.train(), bundle)


def judging(bundle: ModelBundle, dataset: Dataset) -> Split:
    """The evaluation split with what the model's answers are judged by."""
    return _with_wanted(dataset.evaluation(), bundle)


def spec_of(bundle: ModelBundle) -> FeatureSpec | None:
    """The adapted columns of a model of tables, ``None`` of another."""
    found = bundle.data.get("features")
    return loads(str(found), format="json", where="the model's features") if found else None


def _with_wanted(split: Split, bundle: ModelBundle) -> Split:
    task = _task(bundle)
    return split if task is None else dataclasses.replace(split, labels=tasks.wanted(split, task))


def _task(bundle: ModelBundle) -> Task | None:
    found = bundle.data.get("task")
    return from_json(Task, found) if found else None


def regresses(signature: Signature) -> bool:
    """Whether an output of the model is, or may be, one number a sample: then labels may be values."""
    return any(spec.shape[-1] in (1, None) if len(spec.shape) > 1 else True for spec in signature.outputs)


CALIBRATION_ROWS = 1000
"""Of a table or a folder, so many samples calibrate: TensorFlow's guide says 100 to 500, and each is an inference."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What is known of a model's samples beyond their tensors.

    ``spec``: the adapted columns of a model of tables; ``classes``: the names of its classes; ``pixels``: how a
    folder's images are scaled for it, one of ``0..1``, ``-1..1``, ``0..255``.
    """

    spec: FeatureSpec | None = None
    classes: tuple[str, ...] | None = None
    pixels: str | None = None


def meaning_of(bundle: ModelBundle, pixels: str | None = None) -> Meaning:
    """What a bundle records; ``pixels`` is what the user says of them, which counts more."""
    classes = bundle.data.get("classes")
    return Meaning(
        spec=spec_of(bundle),
        classes=tuple(map(str, classes)) if classes else None,
        pixels=pixels or _images.scale_of(bundle.data.get("normalisation"), list(bundle.layers)),
    )


def read(
    data: str, signature: Signature, split: str, progress: Progress, *, known: Meaning = Meaning(), need: bool = False
) -> Split:
    """Samples for a model: an npz, a table, a folder of images, or a split of a data set.

    Args:
        data: path or name.
        signature: what the model takes.
        split: ``"train"``, ``"evaluation"`` or ``"calibration"``: of a data set, which one; of a table and a folder,
            at most :data:`CALIBRATION_ROWS` calibrate.
        progress: told where the data came from.
        known: what the samples mean; a data set's raw columns are encoded by its spec.
        need: refuse samples without labels.

    Raises:
        UsageError: there is no such file or data set.
        BrokenInput: it does not fit the model.
    """
    given, path = data, Path(data)
    if not path.exists() and given in toolkit.datasets.names():
        return _of_dataset(given, signature, split, progress, known.spec)
    limit = CALIBRATION_ROWS if split == "calibration" else None
    if path.is_dir():
        found, total = _images.read(
            path, signature.inputs, scale=known.pixels, classes=known.classes, limit=limit, progress=progress
        )
    elif rows.is_table(given):
        contract = Contract(inputs=signature.inputs, spec=known.spec, classes=known.classes)
        found, total = rows.read(given, contract, limit=limit)
    elif not path.exists() and not path.suffix and os.sep not in given:
        raise unknown_name("data set", given, toolkit.datasets.names())
    else:
        return _npz.read(path, signature.inputs, need_labels=need, regression=regresses(signature))
    if need and found.labels is None:
        raise BrokenInput("has no labels", where=given, remedy="add a column 'label', or a folder for each class")
    drawn = f"{len(found):,} of {total:,}" if len(found) < total else f"{total:,}"
    progress.say(f"data: {given}: {drawn} samples{'' if found.labels is not None else ', without labels'}")
    return found


def _of_dataset(name: str, signature: Signature, split: str, progress: Progress, spec: FeatureSpec | None) -> Split:
    dataset = toolkit.datasets.load(name, data_dir=None, source=None, progress=progress)
    if spec is not None:
        dataset = _featured.encoded(dataset, spec)
    chosen: Split = getattr(dataset, split)()
    missing = sorted({s.name for s in signature.inputs} - set(chosen.inputs))
    if missing:
        raise BrokenInput(
            f"has no column for the model's input {', '.join(missing)} (it has: {', '.join(chosen.inputs)})",
            where=f"data set {name}",
            remedy="give an npz whose arrays are named like the model's inputs",
        )
    return chosen
