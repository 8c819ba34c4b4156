"""What a model's rows and answers mean, kept with every artifact and found again from the model's path."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters import metadata, saved_model
from converters.legality import FEATURES
from toolkit import features, flatbuffer
from toolkit.errors import BrokenInput, UsageError
from toolkit.prediction import Contract
from toolkit.records import ModelBundle, Signature, from_json
from toolkit.store import read_json, sha256_file

CLASSES = "classes"
"""Key of a bundle's ``data`` under which a classifier has the names of its classes, by number."""

_BUNDLE = ("bundle", "bundle.json")

_ABOVE = 6
"""Folders above a model in which its run is looked for: ``bundle/saved_model/<timestamp>`` is three below."""


def kept(bundle: ModelBundle) -> dict[str, Any]:
    """What an artifact's record keeps of its bundle, so that the two files alone can answer raw rows."""
    return {key: bundle.data[key] for key in (FEATURES, CLASSES) if bundle.data.get(key)}


def find(model: Path, spec: Path | None = None, *, origin: Path | None = None) -> tuple[Contract, str | None]:
    """The contract of a ``.tflite`` or a SavedModel folder, and the key of the signature to call.

    It is looked for in ``spec``, in the record beside a ``.tflite``, in the file itself, and in its run.

    Args:
        model: the file or folder.
        origin: what it was made of, if its run is to be looked for there.
        spec: an adapted FeatureSpec (JSON, TOML), or a bundle's, an artifact's or a run's record of one.

    Raises:
        UsageError: ``spec`` is not adapted, or there is nothing.
        BrokenInput: a record is damaged or belongs to another model.
    """
    bundle_file = _bundle_around(origin or model)
    where = str(bundle_file)
    data: Mapping[str, Any] = {}
    bundle = _bundle(bundle_file) if bundle_file is not None else None
    if bundle is not None:
        data = bundle.data
    if model.is_file() and (beside := _beside(model)):
        where, data = str(model.with_suffix(".json")), beside
    elif model.is_file() and (inside := _inside(model)):
        where, data = str(model), inside
    if spec is not None:
        where, data = str(spec), _given(spec)
    adapted = None
    if data.get(FEATURES):
        adapted = features.loads(str(data[FEATURES]), format="json", where=where)
        if adapted.unlearned:
            what = f"is not adapted: {', '.join(adapted.unlearned)} still has options to learn"
            raise UsageError(what, where=where, remedy="give the spec that training left in bundle/bundle.json")
    classes = data.get(CLASSES)
    if classes is not None and not isinstance(classes, list):
        raise BrokenInput("has classes that are no list", where=where, remedy="run the stage again")
    inputs, key = None, None
    if model.is_file():
        inputs = float_signature(model).inputs
    elif bundle is not None and _is_own(bundle, bundle_file, model):
        inputs, key = bundle.signature.inputs, bundle.signature.key
    elif adapted is None:
        signature = float_signature(model)
        inputs, key = signature.inputs, signature.key
    return Contract(inputs=inputs, spec=adapted, classes=tuple(map(str, classes)) if classes else None), key


def saved_model_of(run: Path) -> Path:
    """The SavedModel folder of a run directory, which is only read: nothing in it is locked or changed.

    Raises:
        BrokenInput: its record is damaged.
    """
    return run / _bundle(run.joinpath(*_BUNDLE)).saved_model


def float_signature(model: Path, key: str | None = None) -> Signature:
    """What a model takes in the units of the float model: whoever runs it quantizes for integer inputs.

    Args:
        model: a ``.tflite``, or a SavedModel folder, which TensorFlow loads.
        key: of a ``.tflite``'s signature; ``None``: the main one.

    Raises:
        BrokenInput: it is damaged, or takes no input.
    """
    if model.is_dir():
        return saved_model.Loaded(model).signature
    found = flatbuffer.read(model).signature(key)
    if not found.inputs:
        raise BrokenInput("takes no input", where=str(model))
    inputs = (dataclasses.replace(s, dtype="float32" if s.scale else s.dtype) for s in found.inputs)
    return dataclasses.replace(found, inputs=tuple(dataclasses.replace(s, scale=None, zero_point=None) for s in inputs))


def _bundle(path: Path) -> ModelBundle:
    try:
        return from_json(ModelBundle, read_json(path))
    except ValueError as error:
        raise BrokenInput(f"is damaged ({error})", where=str(path), remedy="run the stage again") from error


def _bundle_around(model: Path) -> Path | None:
    whole = model.resolve()
    for folder in (whole, *list(whole.parents)[:_ABOVE]):
        if (folder / "run.json").is_file() and folder.joinpath(*_BUNDLE).is_file():
            return folder.joinpath(*_BUNDLE)
    return None


def _is_own(bundle: ModelBundle, bundle_file: Path | None, model: Path) -> bool:
    return bundle_file is not None and (bundle_file.parents[1] / bundle.saved_model).resolve() == model.resolve()


def _beside(model: Path) -> Mapping[str, Any] | None:
    """What the record beside a ``.tflite`` keeps of its contract; another file of that name says nothing."""
    path = model.with_suffix(".json")
    try:
        record = read_json(path) if path.is_file() else {}
    except BrokenInput:
        return None
    if "columns" in record:
        return _given(path)
    if not isinstance(record.get("data"), dict) or "recipe" not in record:
        return None
    if record.get("sha256") != sha256_file(model):
        raise BrokenInput(
            "is not the file that its record describes (the sha256 differs)",
            where=str(model),
            remedy=f"convert again, or move {path.name} away",
        )
    return {key: record["data"][key] for key in (FEATURES, CLASSES) if key in record["data"]} or None


def _inside(model: Path) -> Mapping[str, Any] | None:
    """What the file's own contract says."""
    found = metadata.read(flatbuffer.read(model), where=str(model)) or {}
    spec, classes = found.get(FEATURES), found.get(CLASSES)
    return {**({FEATURES: json.dumps(spec)} if spec else {}), **({CLASSES: classes} if classes else {})} or None


def _given(path: Path) -> Mapping[str, Any]:
    """A FeatureSpec under its key, whatever file it comes in."""
    if path.is_dir():
        path = path.joinpath(*_BUNDLE)
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path), remedy="give the bundle.json of the model's run")
    if path.suffix.lower() == ".toml":
        return {FEATURES: features.dumps(features.load(path))}
    record = read_json(path)
    data = record.get("data")
    if isinstance(data, dict) and data.get(FEATURES):
        return data
    if "columns" in record:
        return {FEATURES: json.dumps(record)}
    raise BrokenInput("holds no feature spec", where=str(path), remedy="give the bundle.json of the model's run")
