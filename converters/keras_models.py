"""Loads Keras files of both generations; the only place that imports Keras by generation.

Always ``tf_keras`` (Keras 2) or ``keras`` (Keras 3) by name: what ``tf.keras`` means depends on the order
of imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput


def load(path: Path, keras_version: int, *, unsafe: bool = False) -> Any:
    """Loads a Keras model for inference, without its optimizer.

    Args:
        path: a ``.keras`` or ``.h5`` file.
        keras_version: 2 or 3, as :func:`converters.sources.identify` found.
        unsafe: let Lambda layers run their code.

    Raises:
        BrokenInput: the file cannot be rebuilt into a model; the reason is Keras's own, on one line.
    """
    try:
        if keras_version == 3:
            # Whatever backend the user trained with, only TensorFlow's can be exported to a SavedModel.
            os.environ["KERAS_BACKEND"] = "tensorflow"
            import keras

            return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
        import tf_keras

        from toolkit.features.layer import register

        register()
        tf_keras.backend.clear_session()
        with _scope(path):
            return tf_keras.models.load_model(path, compile=False, safe_mode=not unsafe)
    except BrokenInput:
        raise
    # Keras raises anything at all on a damaged or foreign file (ValueError, TypeError, KeyError, OSError,
    # its own classes); whatever it is, the file is the cause and the user gets its first line.
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        for wrapper, strip in _WRAPPED.items():
            if wrapper in _config(path):
                raise BrokenInput(
                    f"still has TFMOT's wrappers ({wrapper.decode()})",
                    where=str(path),
                    remedy=f"save {strip}(model) in its place",
                ) from error
        # A legacy h5 does not say whose a class is, so there only the message does.
        told = re.findall(r"Unknown (?:layer|object): '(\w+)'", first)
        unknown = [name for name in custom_names(path) or told if name not in _defined]
        if unknown:
            raise BrokenInput(
                f"needs the code of {', '.join(unknown)}",
                where=str(path),
                remedy="give it with --code FILE.py (it will run), or convert a SavedModel",
            ) from error
        raise BrokenInput(
            f"Keras {keras_version} cannot load it ({first[:200]})", where=str(path), remedy="save the model again"
        ) from error


_WRAPPED = {
    b"PruneLowMagnitude": "tfmot.sparsity.keras.strip_pruning",
    b"ClusterWeights": "tfmot.clustering.keras.strip_clustering",
}
"""Wrappers of training that are no part of a model, and what takes them off."""

_defined: set[str] = set()
"""Names of what :func:`define` made known."""


def define(objects: Mapping[str, Any]) -> None:
    """Makes classes and functions of the user's known by their names to the generations of Keras that are imported."""
    for library in ("tf_keras", "keras"):
        if library in sys.modules:
            sys.modules[library].saving.get_custom_objects().update(objects)
    _defined.update(objects)


def custom_names(path: Path) -> list[str]:
    """Classes that a Keras file names and that are neither Keras's own nor ours; empty where it cannot be read."""
    try:
        found = json.loads(_config(path))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return []
    names: dict[str, None] = {}

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for each in value:
                walk(each)
        elif isinstance(value, dict):
            known = str(value.get("module") or "").startswith(("keras", "tf_keras", "builtins", "tensorflow"))
            registered = str(value.get("registered_name") or "")
            if "class_name" in value and "module" in value and not known and not registered.startswith(_OURS):
                names[registered.rpartition(">")[2] or str(value["class_name"])] = None
            for each in value.values():
                walk(each)

    walk(found)
    return list(names)


_OURS = ("edge_export>",)


def _config(path: Path) -> bytes:
    """A Keras file's own description of its model, JSON."""
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path, "r") as stored:
            config = stored.attrs.get("model_config", b"")
    else:
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json")
    # As text or as bytes, by what wrote it.
    return config.encode() if isinstance(config, str) else bytes(config)


@contextlib.contextmanager
def plain_loops(model: Any) -> Iterator[None]:
    """Within it the LSTM and GRU layers of a Keras 2 model are traced as loops of plain operators.

    Otherwise TensorFlow marks them, and the converter makes one operator of each that keeps state between calls.
    """
    found = [layer for layer in _leaves(model) if getattr(layer, "_could_use_gpu_kernel", False)]
    for layer in found:
        layer._could_use_gpu_kernel = False
    try:
        yield
    finally:
        for layer in found:
            layer._could_use_gpu_kernel = True


def _leaves(model: Any) -> Iterator[Any]:
    for layer in getattr(model, "layers", []):
        if getattr(layer, "layers", None):
            yield from _leaves(layer)
        else:
            yield layer
            # Of a wrapper such as Bidirectional: what it wraps.
            yield from (
                part for name in ("layer", "forward_layer", "backward_layer") if (part := getattr(layer, name, None))
            )


def kinds(model: Any) -> dict[str, int]:
    """How many layers of each class a model has, those of models inside it too; own classes as ``custom NAME``."""
    counts: dict[str, int] = {}
    for layer in getattr(model, "layers", []):
        inside = kinds(layer) if getattr(layer, "layers", None) else None
        own = not type(layer).__module__.startswith(("keras.", "tf_keras."))
        name = f"custom {type(layer).__name__}" if own else type(layer).__name__
        for kind, count in (inside or {name: 1}).items():
            counts[kind] = counts.get(kind, 0) + count
    return dict(sorted(counts.items()))


def _scope(path: Path) -> contextlib.AbstractContextManager[None]:
    """What TFMOT's wrappers need to be known, where the file has some; else nothing is imported for them."""
    if b"QuantizeWrapper" not in _config(path):
        return contextlib.nullcontext()
    from toolkit.training import quantizing

    return quantizing.scope()
