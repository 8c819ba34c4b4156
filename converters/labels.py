"""Is a file what its label says? Building blocks for the ``expect`` of recipes.

Each function returns the ways in which a file breaks a promise, as one-line strings; empty means kept. Judged is
every subgraph that a signature calls, all together: what a signature of a few small operators cannot keep alone
(such as having a kernel at all) the file keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.flatbuffer import FlatModel, FlatTensor


KERNEL_OPS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operators whose kernels ai-edge-quantizer can store in integers one kind at a time."""

SMALL_WEIGHT_ELEMENTS = 1024
"""Kernels below this many elements are left in float by the converter's dynamic-range mode
(``DEFAULT`` minimum of tensorflow/compiler/mlir/lite/transforms/quantize: weights_minimum_num_elements)."""

UNCHANGED = "no kernel"
"""How the finding begins that a recipe changed nothing: no fault of the file, but no artifact of its own."""

TIE_8_BIT = 2 / 256
"""Scores closer than two steps of an 8-bit output over its range are tied: no 8-bit artifact can order them."""


def io(model: FlatModel, dtype: str) -> list[str]:
    """Every float-like input and output has ``dtype`` (e.g. ``"INT8"``); ids and text (UINT8, no scale) may stay."""
    wrong = []
    for graph in model.graphs:
        for side, indices in (("input", graph.inputs), ("output", graph.outputs)):
            for tensor in (graph.tensors[i] for i in indices):
                text = tensor.dtype == "UINT8" and not tensor.scales
                if tensor.dtype != dtype and not text and tensor.dtype not in ("INT32", "INT64", "BOOL", "STRING"):
                    wrong.append(f"{side} {tensor.name!r} is {tensor.dtype}, not {dtype}")
    return wrong


def weights(model: FlatModel, dtype: str, *, small_may_stay: bool = False) -> list[str]:
    """Every kernel is stored as ``dtype``, and there is at least one.

    Args:
        model: the file.
        dtype: e.g. ``"FLOAT16"``.
        small_may_stay: kernels under :data:`SMALL_WEIGHT_ELEMENTS` elements may be FLOAT32.
    """
    kernels = model.weights()
    if not kernels:
        return [f"no kernel is stored, so none is {dtype}"]
    if all(kernel.dtype == "FLOAT32" for kernel in kernels) and dtype != "FLOAT32":
        # The converter leaves kernels this small in float: the file would be float32 under another name.
        small = all(kernel.elements < SMALL_WEIGHT_ELEMENTS for kernel in kernels)
        why = (
            f": all {len(kernels)} have fewer than {SMALL_WEIGHT_ELEMENTS} elements" if small and small_may_stay else ""
        )
        return [f"{UNCHANGED} is {dtype}{why}"]
    return [
        f"kernel {kernel.name!r} is {kernel.dtype}, not {dtype}"
        for kernel in kernels
        if kernel.dtype != dtype
        and not (small_may_stay and kernel.dtype == "FLOAT32" and kernel.elements < SMALL_WEIGHT_ELEMENTS)
    ]


def activations(model: FlatModel, dtype: str, *, but: tuple[str, ...] = ()) -> list[str]:
    """No operator computes in float: nothing that is computed is FLOAT32 or FLOAT16.

    Args:
        model: the file.
        dtype: what integer activations are meant to be, e.g. ``"INT16"``; at least one must be.
        but: operators whose outputs are not judged, e.g. ``("DEQUANTIZE",)`` at a float output.
    """
    judged: list[tuple[str, FlatTensor]] = [
        (op.name, graph.tensors[i])
        for graph in model.graphs
        for op in graph.ops
        if op.name not in but
        for i in op.outputs
    ]
    wrong = [
        f"{name} computes {tensor.name!r} in {tensor.dtype}, not {dtype}"
        for name, tensor in judged
        if tensor.dtype in ("FLOAT32", "FLOAT16", "FLOAT64")
    ]
    if not any(tensor.dtype == dtype for _, tensor in judged):
        wrong.append(f"nothing is computed in {dtype}")
    return wrong


def unscaled(model: FlatModel) -> list[str]:
    """No activation is quantized by a calibrated scale: no QUANTIZE operator (int8 rows may leave a GATHER, though)."""
    ops = (op for graph in model.graphs for op in graph.ops)
    return sorted({f"has {op.name}, so activations are quantized" for op in ops if op.name == "QUANTIZE"})


def integers(model: FlatModel) -> list[str]:
    """Kernels stored in integers are used as integers: none becomes float before its operator."""
    wrong = []
    for graph in model.graphs:
        dequantized = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.name == "DEQUANTIZE"}
        for op in graph.ops:
            source = dequantized.get(op.inputs[1]) if op.name in KERNEL_OPS and len(op.inputs) > 1 else None
            if source is not None and graph.tensors[source].constant:
                wrong.append(f"kernel {graph.tensors[source].name!r} becomes float before it is used")
    return wrong


def only(model: FlatModel, name: str, dtype: str) -> list[str]:
    """Every operator ``name`` has activations and kernel in ``dtype``, there is one, and no other is quantized.

    Operators of other subgraphs (loop bodies) cannot be judged here, so one named ``name`` there breaks the promise.
    """
    found = any(op.name == name for graph in model.graphs for op in graph.ops)
    wrong = [] if found else [f"has no {name}, so none is {dtype}"]
    for graph in model.graphs:
        for op in graph.ops:
            if op.name in ("QUANTIZE", "DEQUANTIZE"):
                continue
            own = op.name == name
            indices = (*op.inputs[:2], *op.outputs) if own else (*op.inputs, *op.outputs)
            touched = [graph.tensors[i] for i in indices if i >= 0]
            if own:
                wrong += [f"{name} has {t.name!r} in {t.dtype}, not {dtype}" for t in touched if t.dtype != dtype]
            else:
                wrong += [f"{op.name} has {t.name!r} quantized ({t.dtype})" for t in touched if t.scales]
    return wrong + [f"{name} in a subgraph is not judged" for op in model.other_ops if op.name == name]


def floats(model: FlatModel, names: Sequence[str], dtype: str) -> list[str]:
    """Operators that compute these tensors are in float, all others that have a kernel in ``dtype``.

    Args:
        model: the file; its main graph is judged.
        names: of tensors.
        dtype: of the others' kernels, inputs and outputs.
    """
    wrong = []
    graph = model.graphs[0]
    there = {
        graph.tensors[i].name: op for op in graph.ops for i in op.outputs if op.name not in ("QUANTIZE", "DEQUANTIZE")
    }
    for name in names:
        op = there.get(name)
        touched = [] if op is None else [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
        if op is None:
            wrong.append(f"no operator computes {name!r}")
        wrong += [f"{name!r} was to stay in float and has {t.name!r} in {t.dtype}" for t in touched if t.scales]
    kept = {id(there[name]) for name in names if name in there}
    for op in graph.ops:
        if op.name in KERNEL_OPS and id(op) not in kept:
            touched = [graph.tensors[i] for i in (*op.inputs[:2], *op.outputs)]
            wrong += [f"{op.name} has {t.name!r} in {t.dtype}, not {dtype}" for t in touched if t.dtype != dtype]
    return wrong


def parts(
    model: FlatModel, bits: Mapping[str, int], *, dynamic: bool = True, narrow: Mapping[str, int] | None = None
) -> list[str]:
    """Kernels of some kinds of operators are stored in integers, those of all others in floats.

    Args:
        model: the file.
        bits: 4 or 8 by the operator's name; the file must have one of each kind.
        dynamic: the operator takes the integers as they are; else they become floats before it.
        narrow: output channels by the operator's name, of which those with fewer are in floats too.
    """
    wrong: list[str] = []
    found: set[str] = set()
    for graph in model.graphs:
        dequantized = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.name == "DEQUANTIZE"}
        for op in graph.ops:
            if op.name not in KERNEL_OPS or len(op.inputs) < 2 or op.inputs[1] < 0:
                continue
            kernel = graph.tensors[dequantized.get(op.inputs[1], op.inputs[1])]
            if not kernel.constant:
                continue
            wide = (kernel.shape[0] or 0) >= (narrow or {}).get(op.name, 0)
            promised = f"INT{bits[op.name]}" if op.name in bits and wide else "FLOAT32"
            if kernel.dtype != promised:
                wrong.append(f"kernel {kernel.name!r} of {op.name} is {kernel.dtype}, not {promised}")
            elif op.name in bits and wide and dynamic == (op.inputs[1] in dequantized):
                how = "becomes float before it is used" if dynamic else "is used without becoming float"
                wrong.append(f"kernel {kernel.name!r} of {op.name} {how}")
            found.add(op.name)
    return wrong if wrong or found & set(bits) else [f"{UNCHANGED} is of {' or '.join(bits)}"]


def has(model: FlatModel, *names: str) -> list[str]:
    """The file has one of these operators; without them the recipe would be another by name alone."""
    missing = not any(op.name in names for graph in model.graphs for op in graph.ops)
    return [f"{UNCHANGED} is of {' or '.join(names)}, which this recipe is about"] if missing else []


def unquantized(model: FlatModel) -> list[str]:
    """Nothing is quantized: no scales, no integer kernel, no (DE)QUANTIZE operator."""
    wrong = []
    for graph in model.graphs:
        scaled = (t for t in graph.tensors if t.scales and t.dtype != "FLOAT32")
        wrong += [f"tensor {t.name!r} is quantized ({t.dtype})" for t in scaled]
        wrong += [f"has {op.name}" for op in graph.ops if op.name in ("QUANTIZE", "DEQUANTIZE")]
    return wrong


def zeros(model: FlatModel, share: float) -> list[str]:
    """Kernels hold at least ``share`` zeros, all together (biases do not count)."""
    kernels = [k for k in model.weights() if k.zero_share is not None]
    count = sum(k.elements for k in kernels)
    found = sum(k.elements * (k.zero_share or 0.0) for k in kernels) / count if count else 0.0
    # Half a percent of room: TFMOT's threshold rounds down to whole weights, layer by layer.
    return [] if found >= share - 0.005 else [f"{found:.1%} of the weights are zero, not {share:.0%}"]


def blocks(model: FlatModel, size: int, least: float) -> list[str]:
    """In dense kernels, each ``size`` weights in a row (of one unit) hold enough zeros, as a pattern promises.

    Args:
        model: the file.
        size: weights that go together, e.g. 4 for 2:4. Kernels whose inputs are no multiple of it, or
            with one unit, are not judged.
        least: the zeros that every row of ``size`` has, if at least 1; else the share of rows that are all zero, over
            all kernels.
    """
    wrong, rows, empty = [], 0, 0
    for kernel in model.weights():
        values = kernel.values()
        if values is None or values.ndim != 2 or values.shape[-1] % size or len(values) < 2:
            continue
        zero = kernel.zero_points[0] if len(kernel.zero_points) == 1 else 0
        counts = (values.reshape(-1, size) == zero).sum(axis=-1)
        if counts.min() < least:
            wrong.append(f"{kernel.name!r} has {counts.min()} zeros in {size} weights, not {least:g}")
        rows, empty = rows + len(counts), empty + int((counts == size).sum())
    if not rows:
        return [f"has no dense kernel with inputs in a multiple of {size}"]
    if least >= 1:
        return wrong
    # As for single zeros: small kernels may round.
    return [f"{empty / rows:.1%} of the blocks are zero, not {least:.0%}"] if empty / rows < least - 0.005 else []


def clusters(model: FlatModel, most: int) -> list[str]:
    """Every kernel holds at most ``most`` different values; of a convolution, every output channel."""
    wrong = []
    for kernel in model.weights():
        values = kernel.values()
        if values is None:
            continue
        groups = values if values.ndim == 4 else [values]
        found = max(len(set(group.reshape(-1).tolist())) for group in groups)
        if found > most:
            wrong.append(f"kernel {kernel.name!r} has {found} different values, not {most}")
    return wrong


def sparse(model: FlatModel) -> list[str]:
    """At least one kernel is stored in sparse encoding."""
    return [] if any(kernel.sparse for kernel in model.weights()) else ["no kernel is stored in sparse encoding"]


def runnable(model: FlatModel) -> list[str]:
    """Nothing in the file needs what no Python runtime has: custom or Flex operators, variables and kernels without
    values."""
    wrong = []
    for op in model.every_op():
        if op.custom.startswith("Flex"):
            wrong.append(f"needs the Flex operator {op.custom}")
        elif op.name == "CUSTOM":
            wrong.append(f"needs the custom operator {op.custom}")
        elif op.name in ("VAR_HANDLE", "READ_VARIABLE"):
            wrong.append(f"{op.name}: a variable whose value is not in the file")
    # Of a kernel that is zero throughout the converter stores nothing; runtimes then read what happens to be there.
    empty = (t for graph in model.graphs for t in graph.tensors if t.sparse and not t.constant)
    wrong += [f"{t.name!r} is stored sparse without a value: runtimes read memory nobody wrote" for t in empty]
    return sorted(set(wrong))
