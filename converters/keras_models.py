"""Loads Keras files of both generations; the only place that imports Keras by generation.

Always ``tf_keras`` (Keras 2) or ``keras`` (Keras 3) by name: what ``tf.keras`` means depends on the order
of imports.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
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
        raise BrokenInput(
            f"Keras {keras_version} cannot load it ({first[:200]})",
            where=str(path),
            remedy="save the model again, without custom objects that this program cannot import",
        ) from error


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
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path, "r") as stored:
            config = stored.attrs.get("model_config", b"")
    else:
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json")
    # As text or as bytes, by what wrote it.
    if b"QuantizeWrapper" not in (config.encode() if isinstance(config, str) else bytes(config)):
        return contextlib.nullcontext()
    from toolkit.training import quantizing

    return quantizing.scope()
