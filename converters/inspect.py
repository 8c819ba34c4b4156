"""Why is a file big, and why is it slow: where its bytes are, what stayed float, what no delegate takes.

Everything but :func:`delegation` is read from the file; that one loads it, in a process of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import devices.targets
from converters import further
from toolkit.errors import EdgeExportError
from toolkit.flatmodel import FlatModel, FlatTensor

WORTH_NAMING = 1024
"""Bytes of a float constant in a quantized file from which on it is named."""

_WIDTH = {"FLOAT32": 4, "FLOAT16": 2, "FLOAT64": 8, "INT64": 8, "INT32": 4, "INT16": 2, "INT4": 0.5}


def analyse(path: Path, model: FlatModel) -> dict[str, Any]:
    """What ``inspect`` says beyond the lists of operators and tensors, as JSON values.

    ``bytes_by_op``
        stored constants by the kind of operator that reads them first, largest first;
    ``moved_bytes``
        read and written by one inference of one sample: every operator's inputs and outputs, constants included, as if
        nothing were kept in a cache between two operators; ``null`` where a shape is not known;
    ``stayed_float``
        float constants of a file that has integer kernels, with the reason as far as the file tells it;
    ``duplicates``
        constants that are stored more than once, and the bytes that costs;
    ``delegation``
        see :func:`delegation`.
    """
    return {
        "bytes_by_op": _bytes_by_op(model),
        "moved_bytes": _moved(model),
        "stayed_float": _stayed_float(model),
        "duplicates": _duplicates(model),
        "delegation": delegation(path, model),
    }


def delegation(path: Path, model: FlatModel) -> dict[str, Any]:
    """How much of the main signature XNNPACK takes, found by loading the file once.

    Returns:
        ``taken`` of ``ops`` operators in ``partitions``, the kinds that are ``left``, and ``why`` not known otherwise.
        Every partition beyond the first is a hand-over and back: files with more than their float version are slow.
    """
    unknown = {"taken": None, "ops": None, "partitions": None, "left": None}
    try:
        inputs = further.seeded_inputs(_float_signature(model), 1)
        answer = devices.targets.open("cpu:xnnpack=on").answer(path, inputs)
    except EdgeExportError as error:
        return {**unknown, "why": str(error)}
    if answer.delegated_ops is None:
        return {**unknown, "why": answer.provenance.get("delegation_unknown")}
    taken, ops = answer.delegated_ops
    left = answer.provenance.get("ops_left")
    return {"taken": taken, "ops": ops, "partitions": answer.partitions, "left": left, "why": None}


def _float_signature(model: FlatModel) -> Any:
    """The main signature in the float model's units, which is how devices are fed."""
    found = model.signature()
    inputs = (dataclasses.replace(s, dtype="float32" if s.scale else s.dtype) for s in found.inputs)
    return dataclasses.replace(found, inputs=tuple(inputs))


def _bytes_by_op(model: FlatModel) -> dict[str, int]:
    counts: dict[str, int] = {}
    for op, tensor in _read_first(model):
        counts[op] = counts.get(op, 0) + tensor.data_bytes
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _read_first(model: FlatModel) -> Iterator[tuple[str, FlatTensor]]:
    """Every stored constant once, with the operator that reads it first; a DEQUANTIZE stands for who reads it."""
    seen: set[int | tuple[int, int]] = set()
    for number, graph in enumerate(model.graphs):
        reader = {i: op.name for op in reversed(graph.ops) for i in op.inputs}
        for op in graph.ops:
            for index in op.inputs:
                if index < 0 or not graph.tensors[index].constant:
                    continue
                tensor = graph.tensors[index]
                key = tensor.buffer or (number, index)
                if key in seen:
                    continue
                seen.add(key)
                name = reader.get(op.outputs[0], op.name) if op.name in ("DEQUANTIZE", "DENSIFY") else op.name
                yield name, tensor


def _moved(model: FlatModel) -> int | None:
    total = 0.0
    graph = model.graphs[0]
    for op in graph.ops:
        for index in (*op.inputs, *op.outputs):
            if index < 0:
                continue
            tensor = graph.tensors[index]
            if tensor.constant:
                total += tensor.data_bytes
            elif tensor.dtype == "STRING":
                return None
            else:
                total += tensor.elements * _WIDTH.get(tensor.dtype, 1)
    return round(total)


def _stayed_float(model: FlatModel) -> list[dict[str, Any]]:
    integers = any(kernel.dtype in ("INT8", "INT4", "INT16", "UINT8") for kernel in model.weights())
    if not integers:
        return []
    kernels = {id(k) for graph in model.graphs for k in graph.weights()}
    # Where a large kernel is in float too, it is the recipe that leaves them and not their size.
    small = all(k.elements < 1024 for k in model.weights() if k.dtype == "FLOAT32")
    found = []
    for op, tensor in _read_first(model):
        if tensor.dtype not in ("FLOAT32", "FLOAT16") or tensor.data_bytes < WORTH_NAMING:
            continue
        if id(tensor) not in kernels:
            why = (
                "a bias of an operator that computes in floats" if len(tensor.shape) == 1 else f"{op} is not quantized"
            )
        elif small:
            why = "fewer than 1024 elements, which the converter leaves in float"
        else:
            why = f"the kernel of this {op} was left in float"
        found.append({"name": tensor.name, "op": op, "bytes": tensor.data_bytes, "why": why})
    return sorted(found, key=lambda item: -item["bytes"])


def _duplicates(model: FlatModel) -> list[dict[str, Any]]:
    groups: dict[bytes, list[FlatTensor]] = {}
    for tensor in model.constants():
        # Below this, alignment costs as much as the values.
        if tensor.data_bytes >= 64:
            groups.setdefault(hashlib.sha256(bytes(tensor.content)).digest(), []).append(tensor)
    return [
        {"names": [t.name for t in group], "wasted_bytes": group[0].data_bytes * (len(group) - 1)}
        for group in groups.values()
        if len(group) > 1
    ]


def difference(left: FlatModel, right: FlatModel) -> dict[str, Any]:
    """How ``right`` differs from ``left``: bytes, operators by kind, and constants by name."""
    ops = {name: (left.op_counts().get(name, 0), right.op_counts().get(name, 0)) for name in _either(left, right)}
    sides = [{tensor.name: tensor for tensor in model.constants()} for model in (left, right)]
    changed = []
    for name in sorted(set(sides[0]) & set(sides[1])):
        before, after = (_described(side[name]) for side in sides)
        if before != after:
            changed.append({"name": name, "left": before, "right": after})
    return {
        "size_bytes": [left.size_bytes, right.size_bytes],
        "ops": {name: list(counts) for name, counts in ops.items() if counts[0] != counts[1]},
        "only_left": sorted(set(sides[0]) - set(sides[1])),
        "only_right": sorted(set(sides[1]) - set(sides[0])),
        "changed": changed,
    }


def _either(left: FlatModel, right: FlatModel) -> list[str]:
    return sorted({*left.op_counts(), *right.op_counts()})


def _described(tensor: FlatTensor) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.lower(),
        "bytes": tensor.data_bytes,
        "sparse": tensor.sparse,
        "zero_share": tensor.zero_share,
        "sha256": hashlib.sha256(bytes(tensor.content)).hexdigest(),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """:func:`analyse` for people."""
    made = ["bytes by operator  " + ", ".join(f"{count:,} {name}" for name, count in found["bytes_by_op"].items())]
    if found["moved_bytes"] is not None:
        made.append(f"moves {found['moved_bytes']:,} bytes an inference")
    delegated = found["delegation"]
    if delegated["taken"] is None:
        made.append(f"XNNPACK: not known ({delegated['why']})")
    else:
        left = f"; left: {', '.join(delegated['left'])}" if delegated["left"] else ""
        parts = "1 partition" if delegated["partitions"] == 1 else f"{delegated['partitions']} partitions"
        said = f"{delegated['taken']} of {delegated['ops']} operators in {parts}"
        made.append(f"XNNPACK takes {said}{left}")
    made += [f"float   {t['bytes']:>10,} bytes  {t['name']}: {t['why']}" for t in found["stayed_float"]]
    made += [f"twice   {d['wasted_bytes']:>10,} bytes  {', '.join(d['names'])}" for d in found["duplicates"]]
    return made


def difference_lines(found: dict[str, Any]) -> list[str]:
    """:func:`difference` for people."""
    before, after = found["size_bytes"]
    made = [f"bytes  {before:,} to {after:,} ({after / before:.3f}x)"]
    made += [f"operators  {name}: {a} to {b}" for name, (a, b) in found["ops"].items()]
    for change in found["changed"]:
        old, new = change["left"], change["right"]
        what = ", ".join(
            f"{key} {old[key]} to {new[key]}" for key in ("shape", "dtype", "bytes") if old[key] != new[key]
        )
        made.append(f"changed  {change['name']}: {what or 'values'}")
    made += [f"gone  {name}" for name in found["only_left"]] + [f"new  {name}" for name in found["only_right"]]
    return made
