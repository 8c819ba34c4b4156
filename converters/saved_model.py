"""SavedModels: export with named inputs and outputs, versioned folders, signatures, reference outputs."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BrokenInput
from toolkit.records import Signature, TensorSpec
from toolkit.store import replacing

SIGNATURE = "serving_default"

EXAMPLES = "serve_tf_examples"
"""The signature that takes serialized tf.Examples, as TFX names it."""

EXAMPLES_INPUT = "examples"
"""Its one input: string ``[N]``."""

_NAME = re.compile(r"^[A-Za-z0-9_.][A-Za-z0-9_.\\/>-]*$")
"""Names that TensorFlow takes for an argument."""


def export(
    model: Any,
    folder: Path,
    *,
    keras_version: int,
    layers: Mapping[str, str] | None = None,
    examples: Callable[[Sequence[TensorSpec]], Callable[[Any], Any]] | None = None,
    finish: Callable[[Path], None] = lambda beside: None,
) -> Path:
    """Writes ``folder/<timestamp>`` as TF Serving expects it, whole or not at all.

    The signature ``serving_default`` takes the model's inputs by their names and gives its outputs by
    theirs (a dict-returning model keeps its own keys).

    Args:
        model: a built tf_keras or Keras 3 model.
        folder: the folder above the versions.
        keras_version: 2 or 3.
        layers: further signatures, key to the name of a layer: the same inputs, the layer's output named like it. The
            layers are the model's own, so their weights are stored once.
        examples: makes of the model's inputs what parses tf.Examples; with it there is :data:`EXAMPLES` too.
        finish: adds to the folder before it gets its name.

    Returns:
        The version's folder.

    Raises:
        BrokenInput: the model cannot have such a signature.
    """
    stamp = int(time.time())
    while (version := folder / str(stamp)).exists():
        stamp += 1  # two exports in one second are still two versions
    with replacing(version) as beside:
        export_to(model, beside, keras_version=keras_version, layers=layers, examples=examples)
        finish(beside)
    return version


def export_to(
    model: Any,
    path: Path,
    *,
    keras_version: int,
    layers: Mapping[str, str] | None = None,
    batch: int | None = None,
    examples: Callable[[Sequence[TensorSpec]], Callable[[Any], Any]] | None = None,
) -> None:
    """Writes a SavedModel of a Keras model to ``path`` itself; ``batch``: for this number of samples a call alone."""
    import tensorflow as tf

    names, specs = _inputs(model, keras_version)
    shapes = [s.shape if batch is None else (batch, *s.shape[1:]) for s in specs]
    signature = {n: tf.TensorSpec(shape, s.dtype, name=n) for n, shape, s in zip(names, shapes, specs, strict=True)}
    parts = {key: up_to(model, key, layer, keras_version=keras_version) for key, layer in (layers or {}).items()}
    serving = {SIGNATURE: _serve(model, names), **{key: _serve(part, names) for key, part in parts.items()}}
    takes: dict[str, Any] = dict.fromkeys(serving, signature)
    if examples is not None:
        parse = examples([_spec(name, tensor) for name, tensor in signature.items()])
        serving[EXAMPLES] = lambda examples: serving[SIGNATURE](parse(examples))
        takes[EXAMPLES] = tf.TensorSpec([None], tf.string, name=EXAMPLES_INPUT)

    if keras_version == 3:
        from keras.export import ExportArchive

        # A tf.Module or from_concrete_functions around a Keras 3 model leaves its variables without values.
        archive = ExportArchive()
        archive.track(model)
        for key, serve in serving.items():
            archive.add_endpoint(key, serve, input_signature=[takes[key]])
        archive.write_out(str(path), verbose=False)
    else:
        functions = {key: tf.function(serve, input_signature=[takes[key]]) for key, serve in serving.items()}
        tf.saved_model.save(model, str(path), signatures=functions)


def up_to(model: Any, key: str, layer: str, *, keras_version: int) -> Any:
    """A Keras model from all of the model's inputs to the output of its layer, made of the same layers.

    Args:
        model: functional or sequential.
        key: the signature that it is for.
        layer: the layer's name, which becomes the output's.
        keras_version: 2 or 3.

    Raises:
        BrokenInput: no such layer, several outputs, or a key that no signature can have.
    """
    if keras_version == 3:
        import keras as library
    else:
        import tf_keras as library

    names, tensors = _inputs(model, keras_version)
    known = [found.name for found in model.layers]
    where = f"signature {key!r}"
    if key == SIGNATURE or not _NAME.match(key):
        raise BrokenInput("is taken, or no name for a signature", where=where, remedy="choose another key")
    if layer not in known or layer in names:
        remedy = f"there are: {', '.join(n for n in known if n not in names)}"
        raise BrokenInput(f"the model has no layer {layer!r} to give out", where=where, remedy=remedy)
    outputs = _outputs_of(model, layer)
    if len(outputs) != 1:
        found = f"has {len(outputs)} outputs" if outputs else "is in no graph of layers"
        raise BrokenInput(f"layer {layer!r} {found}", where=where, remedy="choose one that the model calls once")
    return library.Model(tensors if len(tensors) > 1 else tensors[0], {layer: outputs[0]}, name=key)


def _outputs_of(model: Any, layer: str) -> list[Any]:
    """All tensors that a layer gives in the model; ``layer.output`` would silently be the first call's."""
    # A Keras 3 Sequential keeps its graph in a functional model of its own.
    graph = getattr(model, "_functional", None) or model
    nodes = [node for depth in getattr(graph, "_nodes_by_depth", {}).values() for node in depth]
    found: list[Any] = []
    for node in nodes:
        # Keras 2 says layer, Keras 3 operation.
        own = node.layer if hasattr(node, "layer") else node.operation
        if own.name != layer:
            continue
        found += node.outputs if isinstance(node.outputs, (list, tuple)) else [node.outputs]
    return found


def call(model: Any, inputs: Mapping[str, np.ndarray], *, keras_version: int) -> dict[str, np.ndarray]:
    """What a Keras model answers, by the names that its SavedModel uses."""
    names, _ = _inputs(model, keras_version)
    return {k: np.asarray(v) for k, v in _serve(model, names)(dict(inputs)).items()}


class Loaded:
    """A SavedModel in memory, called by one of its signatures.

    Args:
        path: the folder with ``saved_model.pb``.
        key: the signature; by default ``serving_default``, else the only one there is.

    Raises:
        BrokenInput: it cannot be loaded, or has no such signature.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        import tensorflow as tf

        try:
            self._model = tf.saved_model.load(str(path))
        # As with Keras files: whatever TensorFlow raises, the folder is the cause.
        except Exception as error:
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise BrokenInput(
                f"TensorFlow cannot load this SavedModel ({first[:200]})",
                where=str(path),
                remedy="export it again with all of its variables",
            ) from error
        known = sorted(k for k in self._model.signatures)
        chosen = key or (SIGNATURE if SIGNATURE in known else (known[0] if len(known) == 1 else None))
        if chosen not in known:
            raise BrokenInput(
                f"has no signature {key or SIGNATURE!r}",
                where=str(path),
                remedy=f"it has: {', '.join(known) or 'none'}; export it with signatures",
            )
        self.keys = known
        self._choose(str(chosen), path)

    def _choose(self, key: str, path: Path) -> None:
        self.key, self.path = key, path
        self._function = self._model.signatures[key]
        if not self._function.structured_input_signature[1]:
            raise BrokenInput(f"signature {key!r} takes no named input", where=str(path))

    def also(self, key: str) -> Loaded:
        """Another of its ``keys``, without loading anything again; raises BrokenInput as the class does."""
        other = copy.copy(self)
        other._choose(key, self.path)
        return other

    @property
    def signature(self) -> Signature:
        """The signature's named tensors, in alphabetical order of name (SavedModels keep no other)."""
        inputs = self._function.structured_input_signature[1]
        outputs = self._function.structured_outputs
        return Signature(
            key=self.key,
            inputs=tuple(_spec(name, inputs[name]) for name in sorted(inputs)),
            outputs=tuple(_spec(name, outputs[name]) for name in sorted(outputs)),
        )

    def __call__(self, inputs: Mapping[str, np.ndarray], *, batch: int = 256) -> dict[str, np.ndarray]:
        """Outputs for ``inputs``, a batch at a time; all arrays share their first dimension."""
        import tensorflow as tf

        specs = {s.name: s for s in self.signature.inputs}
        n = len(next(iter(inputs.values())))
        fixed = {s.shape[0] for s in specs.values() if s.shape and s.shape[0] is not None}
        step = min(fixed) if fixed else batch
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, n, step):
            feed = {k: tf.constant(v[start : start + step], dtype=specs[k].dtype) for k, v in inputs.items()}
            parts.append({k: v.numpy() for k, v in self._function(**feed).items()})
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _serve(model: Any, names: list[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    structure = _structure(model, names)

    def serve(inputs: dict[str, Any]) -> dict[str, Any]:
        return _named_outputs(model, model(structure(inputs), training=False))

    return serve


def _inputs(model: Any, keras_version: int) -> tuple[list[str], list[Any]]:
    """Input names and tensors of a built model."""
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise BrokenInput(
            "the model does not know its inputs' names and shapes (subclassed models never do)",
            remedy="convert a SavedModel of it (model.export(folder)), or build it before saving",
        )
    names = list(model.input_names) if keras_version == 2 else [t.name for t in tensors]
    names = [n.split(":")[0] for n in names]
    wrong = [n for n in names if not _NAME.match(n)]
    if wrong:
        raise BrokenInput(
            f"input {wrong[0]!r} has a name that no SavedModel signature can hold",
            where="the model",
            remedy="rename it with letters, digits and _ only",
        )
    return names, list(tensors)


def _structure(model: Any, names: list[str]) -> Any:
    """How the model wants its inputs: one tensor, a list or a dict."""
    # Keras 2 and Keras 3 keep the structure that Model(inputs=...) was given under different names.
    own = next((v for a in ("_nested_inputs", "_inputs_struct") if (v := getattr(model, a, None)) is not None), None)
    if isinstance(own, dict):
        tensor_names = {k: str(getattr(t, "name", k)).split(":")[0] for k, t in own.items()}
        return lambda feed: {k: feed[n] for k, n in tensor_names.items()}
    if len(names) == 1:
        return lambda feed: feed[names[0]]
    return lambda feed: [feed[n] for n in names]


def _named_outputs(model: Any, outputs: Any) -> dict[str, Any]:
    if isinstance(outputs, dict):
        return {str(k): v for k, v in outputs.items()}
    tensors = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != len(tensors) or len(set(names)) != len(names):
        names = [f"output_{i}" for i in range(len(tensors))]
    return dict(zip(names, tensors, strict=True))


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = () if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return TensorSpec(name=name, shape=shape, dtype=tensor.dtype.name)
