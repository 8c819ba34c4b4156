"""What kinds of kernels a ``.tflite`` holds, and which a recipe makes: the rows of the legality table.

A kind is a layer (``dense``, ``conv``, ``depthwise``), a pattern (how zeros are encoded) and a dtype (of weights and
activations, with the granularity). Whether a runtime answers rightly depends on all three at once.

Patterns: ``dense`` stores every value; ``unstructured`` and ``blocks`` are sparse encodings, of single values and of
rows of 4 or 16. Of convolutions the converter encodes single values only, whatever they were pruned by, and so it does
with 2:4: a file cannot be told from an unstructured one.

Dtypes: ``float32``, ``float16`` (stored; computed in float32), ``dynamic int8`` and ``dynamic int4`` (activations
quantized while running), ``int8``, ``int4`` and ``int16x8`` (activations by calibrated scales), ``weight-only int8``
and ``weight-only int4`` (floats again before use); behind a comma ``narrow`` where a 4-bit dense kernel is (see
:func:`narrow`), ``per tensor`` or ``per channel``, and ``undeclared`` where an operator's version does not say that it
needs a kernel which knows a scale per channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatmodel import FlatGraph, FlatModel, FlatOp, FlatTensor
    from toolkit.records import ModelBundle, Recipe

LAYERS = {"FULLY_CONNECTED": "dense", "CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise"}
"""Operators that the table knows, and what it calls them."""

DECLARED = 12
"""The version of FULLY_CONNECTED that knows a scale per channel where activations are quantized while running
(tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc)."""

FLOAT = "float32"


class Kind(NamedTuple):
    """One row of the table, as found in a file or promised by a recipe."""

    layer: str
    pattern: str
    dtype: str


def of_file(model: FlatModel) -> set[Kind]:
    """The kinds of all kernels that the table has rows for."""
    found = set()
    for graph in model.graphs:
        producer = {out: op for op in graph.ops for out in op.outputs}
        for op in graph.ops:
            if op.name in LAYERS and len(op.inputs) > 1 and min(op.inputs[:2]) >= 0:
                kernel, floats = _stored(graph, producer, op.inputs[1])
                if kernel.constant:
                    dtype = _dtype(op, graph.tensors[op.inputs[0]], kernel, floats)
                    found.add(Kind(LAYERS[op.name], _pattern(kernel), dtype))
    return found


def of_recipe(module: Any) -> set[Kind]:
    """The kinds that a recipe makes, by layer: as its ``KINDS`` say, else what follows from its record.

    ``KINDS`` maps layers to ``"dtype"`` or ``(pattern, dtype)``; a layer that is not named stays float32.
    """
    recipe: Recipe = module.RECIPE
    named: Mapping[str, str | tuple[str, str]] | None = getattr(module, "KINDS", None)
    found = set()
    for layer in LAYERS.values():
        said = named.get(layer, FLOAT) if named is not None else _derived(recipe, layer)
        pattern, dtype = ("dense", said) if isinstance(said, str) else said
        found.add(Kind(layer, pattern, dtype))
    return found


def layers_of(bundle: ModelBundle) -> set[str]:
    """The layers that a bundle is known to have; those inside a SavedModel or a layer of the user's are not seen."""
    found = set()
    for name in bundle.layers:
        if "Depthwise" in name or "Separable" in name:
            found.add("depthwise")
        if "Conv" in name and "Depthwise" not in name and "Transpose" not in name:
            found.add("conv")
        if "Dense" in name:
            found.add("dense")
    return found


def _stored(graph: FlatGraph, producer: Mapping[int, FlatOp], index: int) -> tuple[FlatTensor, bool]:
    """The tensor that a kernel is in the file, and whether it becomes float on the way to its operator."""
    floats = False
    while (source := producer.get(index)) is not None and source.name in ("DEQUANTIZE", "DENSIFY"):
        floats |= source.name == "DEQUANTIZE"
        index = source.inputs[0]
    return graph.tensors[index], floats


def _pattern(kernel: FlatTensor) -> str:
    if not kernel.sparse:
        return "dense"
    blocks = kernel.sparsity.blockMap
    return "blocks" if blocks is not None and len(blocks) else "unstructured"


def _dtype(op: FlatOp, activation: FlatTensor, kernel: FlatTensor, floats: bool) -> str:
    name = kernel.dtype.lower()
    if name in ("float32", "float16"):
        return name
    many = len(kernel.scales) > 1
    granularity = "per channel" if many else "per tensor"
    if floats:
        return f"weight-only {name}, {granularity}"
    if activation.dtype == "FLOAT32" and name == "int4" and op.name == "FULLY_CONNECTED" and narrow(kernel.shape):
        return f"dynamic {name}, narrow, {granularity}"
    if activation.dtype == "FLOAT32":
        late = many and op.name == "FULLY_CONNECTED" and op.version < DECLARED and name == "int8"
        return f"dynamic {name}, {granularity}{', undeclared' if late else ''}"
    if activation.dtype == "INT16":
        return f"int16x8, {granularity}"
    return f"{name}, {granularity}"


def narrow(shape: Sequence[int | None]) -> bool:
    """Whether a dense kernel ``[units, inputs]`` has a shape whose 4-bit weights tflite-runtime 2.14 gets wrong.

    Measured on kernels of 4 to 784 inputs and 1 to 784 units: right from 32 inputs on if they are even in number, with
    4 units or more, or with 1; wrong, at 5 to 12 dB, otherwise.
    """
    units, inputs = (size or 1 for size in shape[-2:])
    return units != 1 and (units < 4 or inputs < 32 or inputs % 2 == 1)


def _derived(recipe: Recipe, layer: str) -> str:
    weights = recipe.weight_dtype
    if weights.startswith("float"):
        return weights
    granularity = _granularity(recipe.granularity, layer)
    if recipe.activation_dtype == "int16":
        return f"int16x8, {granularity}"
    mode = "dynamic " if recipe.activation_dtype == FLOAT else ""
    return f"{mode}{weights}, {granularity}"


def _granularity(text: str, layer: str) -> str:
    """Of a recipe's words such as ``per-tensor in dense layers, per-channel in convolutions``."""
    kind = "dense" if layer == "dense" else "convolutions"
    parts = [part.split(" in ", 1) for part in text.split(", ")]
    fitting = (part[0] for part in parts if len(part) == 1 or kind in part[1])
    return next(fitting, "per-channel").replace("-", " ")
