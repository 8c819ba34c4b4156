"""What kind of model a path holds, decided by its content and not by its ending.

Keras 2 (tf_keras) and Keras 3 write files of the same endings that the other one cannot read; the version
that wrote a file is in its metadata. Reading that needs no TensorFlow, so bad input is refused at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import BrokenInput, UsageError
from toolkit.store import read_json

Kind = Literal["run", "keras", "h5", "saved_model", "tflite"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model as the user gave it. ``keras_version`` is 2 or 3 for a Keras file, else ``None``."""

    kind: Kind
    path: Path
    name: str
    keras_version: int | None = None


def identify(path: Path, *, unsafe: bool = False) -> Source:
    """Finds out what ``path`` holds.

    Args:
        path: a run directory, a ``.keras`` or ``.h5`` file, a SavedModel directory (or the folder above its
            numbered versions: the newest is taken), or a ``.tflite``.
        unsafe: accept models with Lambda layers, whose code is executed on loading.

    Raises:
        UsageError: there is nothing at ``path``.
        BrokenInput: it is no model, is damaged, or has a Lambda layer and ``unsafe`` is off.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise UsageError("there is no such file or folder", where=str(path), remedy="check the path")
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise BrokenInput(f"cannot be read ({error.strerror})", where=str(path)) from error
    if not head:
        raise BrokenInput("is empty", where=str(path), remedy="save the model again")
    if head[4:8] == b"TFL3":
        return Source(kind="tflite", path=path, name=path.stem)
    if head.startswith(_ZIP):
        version, config = _keras_zip(path)
        kind: Kind = "keras"
    elif head.startswith(_HDF5):
        version, config = _keras_h5(path)
        kind = "h5"
    else:
        raise BrokenInput(
            f"is not a model (it starts with {head[:4]!r})",
            where=str(path),
            remedy="give a .keras, .h5, .tflite file or a SavedModel folder",
        )
    lambdas = sorted(set(_lambda_layers(config)))
    if lambdas and not unsafe:
        raise BrokenInput(
            f"has a Lambda layer ({', '.join(lambdas)}), whose Python code would run on loading",
            where=str(path),
            remedy="replace it by built-in layers, or pass --unsafe if you trust the file",
        )
    return Source(kind=kind, path=path, name=path.stem, keras_version=version)


def newest_version(path: Path) -> Path | None:
    """The SavedModel in ``path`` itself or in its highest numbered subfolder, ``None`` if there is none."""
    if (path / "saved_model.pb").exists() or (path / "saved_model.pbtxt").exists():
        return path
    versions = [p for p in path.iterdir() if p.name.isdigit() and (p / "saved_model.pb").exists()]
    return max(versions, key=lambda p: int(p.name)) if versions else None


def _folder(path: Path) -> Source:
    if (path / "run.json").exists():
        bundle = path / "bundle" / "bundle.json"
        if not bundle.exists():
            raise BrokenInput(
                "this run directory has no trained model", where=str(path), remedy="run edge-export train first"
            )
        return Source(kind="run", path=path, name=str(read_json(bundle).get("name", path.name)))
    saved_model = newest_version(path)
    if saved_model is None:
        raise BrokenInput(
            "is neither a run directory nor a SavedModel (no saved_model.pb)",
            where=str(path),
            remedy="give the folder that holds saved_model.pb, or its parent",
        )
    if (saved_model / "saved_model.pb").exists() and not (saved_model / "saved_model.pb").stat().st_size:
        raise BrokenInput("saved_model.pb is empty", where=str(saved_model), remedy="export the model again")
    return Source(kind="saved_model", path=saved_model, name=path.name if not path.name.isdigit() else path.parent.name)


def _keras_zip(path: Path) -> tuple[int, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged:
                raise BrokenInput(f"is damaged at {damaged}", where=str(path), remedy="save the model again")
            metadata = _object(archive.read("metadata.json"))
            config = _object(archive.read("config.json"))
            archive.getinfo("model.weights.h5")
    # RuntimeError: the flag of an encrypted member, which damage can set.
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, RuntimeError, zlib.error) as error:
        raise BrokenInput(
            "is not a whole .keras file", where=str(path), remedy="save the model again with model.save()"
        ) from error
    return _major(metadata.get("keras_version")), config


_READ_H5 = """
import json, sys, h5py
with h5py.File(sys.argv[1], "r") as stored:
    found = [stored.attrs.get(name) for name in ("model_config", "keras_version")]
    stored.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)
print(json.dumps([v.decode() if isinstance(v, bytes) else None if v is None else str(v) for v in found]))
"""
"""Reads every value once, so that damage anywhere shows here and not in the middle of Keras."""

_H5_SECONDS = 60.0
_H5_BYTES_PER_SECOND = 20e6
"""A slow disk; a sound file is read at many times this."""


def _keras_h5(path: Path) -> tuple[int, Any]:
    # In a process of its own with a time limit: on some damaged files the HDF5 library spins for ever or crashes.
    broken = BrokenInput("is not a whole HDF5 file", where=str(path), remedy="save the model again with model.save()")
    try:
        command = [sys.executable, "-c", _READ_H5, str(path)]
        seconds = _H5_SECONDS + path.stat().st_size / _H5_BYTES_PER_SECOND
        done = subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise broken from None
    if done.returncode:
        raise broken
    config, version = json.loads(done.stdout)
    if config is None:
        raise BrokenInput(
            "holds weights only, not the model",
            where=str(path),
            remedy="save with model.save() instead of save_weights()",
        )
    try:
        return _major(version), _object(config)
    except (ValueError, RecursionError) as error:
        raise BrokenInput("has a damaged model_config", where=str(path), remedy="save the model again") from error


def _object(text: bytes | str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _major(version: Any) -> int:
    """Keras 3 says 3.x; tf_keras and older Keras say 2.x (or nothing)."""
    return 3 if str(version).startswith("3.") else 2


def _lambda_layers(config: Any) -> list[str]:
    """Names of Lambda layers anywhere in a model's configuration."""
    found: list[str] = []
    if isinstance(config, dict):
        # Keras writes a function without a name, e.g. as an activation, as "__lambda__": code as well.
        if config.get("class_name") in ("Lambda", "__lambda__"):
            inner = config.get("config")
            return [str(inner.get("name", "lambda")) if isinstance(inner, dict) else "lambda"]
        for value in config.values():
            found += _lambda_layers(value)
    elif isinstance(config, list):
        for value in config:
            found += _lambda_layers(value)
    return found
