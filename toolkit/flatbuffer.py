"""Reads a .tflite file without a runtime: operators and versions, tensors, quantization, sparsity, metadata.

Field names follow the TFLite schema (tensorflow/compiler/mlir/lite/schema/schema.fbs). Nothing is executed.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput
from toolkit.flatmodel import MAIN, FlatGraph, FlatModel, FlatOp, FlatTensor, spec
from toolkit.records import Signature

__all__ = ["FlatGraph", "FlatModel", "FlatOp", "FlatTensor", "parse", "read"]

_IDENTIFIER = b"TFL3"
_PARSE_ERRORS = (struct.error, ValueError, IndexError, TypeError, AttributeError, KeyError, OverflowError, MemoryError)


def read(path: Path) -> FlatModel:
    """Reads a .tflite file.

    Raises:
        BrokenInput: not a file, empty, truncated, or not a TFLite model.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenInput(
            f"cannot be read ({error.strerror})", where=str(path), remedy="give the path of a .tflite file"
        ) from error
    return parse(data, where=str(path))


def parse(data: bytes, *, where: str = "") -> FlatModel:
    """Reads a .tflite model from bytes; raises as :func:`read` does."""
    if not data:
        raise BrokenInput("is empty", where=where, remedy="convert the model again")
    if len(data) < 16 or data[4:8] != _IDENTIFIER:
        raise BrokenInput("is not a TFLite model (no TFL3 mark)", where=where, remedy="give a .tflite file")
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        return _model(model, data, schema)
    except _PARSE_ERRORS as error:
        raise BrokenInput("is damaged or truncated", where=where, remedy="convert or copy the model again") from error


def bound(path: Path, key: str) -> dict[str, dict[str, int]]:
    """``inputs`` and ``outputs`` of a signature as tensors' indices by name; without signatures by the tensors' own.

    Raises:
        BrokenInput: see :func:`read`.
    """
    from ai_edge_litert import schema_py_generated as schema

    found = read(path)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for definition in model.signatureDefs or []:
        if _text(definition.signatureKey) == key:
            sides = {"inputs": _list(definition.inputs), "outputs": _list(definition.outputs)}
            return {side: {_text(m.name): int(m.tensorIndex) for m in maps} for side, maps in sides.items()}
    return {
        side: {found.tensors[i].name: i for i in indices}
        for side, indices in (("inputs", found.inputs), ("outputs", found.outputs))
    }


def _model(model: Any, data: bytes, schema: Any) -> FlatModel:
    if not model.subgraphs:
        raise ValueError("no subgraph")
    names = _names(schema)
    graphs = [_graph(graph, model, data, names) for graph in model.subgraphs]
    signatures: dict[int, list[Signature]] = {}
    for definition in model.signatureDefs or []:
        if not 0 <= definition.subgraphIndex < len(graphs):
            raise ValueError("a signature calls no subgraph")
        tensors = graphs[definition.subgraphIndex].tensors
        sides = (_list(definition.inputs), _list(definition.outputs))
        _must_point([m.tensorIndex for side in sides for m in side], len(tensors))
        given, asked = (tuple(spec(tensors[m.tensorIndex], _text(m.name)) for m in side) for side in sides)
        found = Signature(key=_text(definition.signatureKey), inputs=given, outputs=asked)
        signatures.setdefault(definition.subgraphIndex, []).append(found)
    # The main one first; where no signature has its name, the order of the subgraphs.
    called = sorted(signatures, key=lambda i: (all(s.key != MAIN for s in signatures[i]), i)) or [0]
    metadata = {}
    for entry in model.metadata or []:
        content = _content(model.buffers[entry.buffer], data)
        metadata[_text(entry.name)] = b"" if content is None else bytes(content)
    return FlatModel(
        size_bytes=len(data),
        description=_text(model.description),
        graphs=tuple(graphs[i] for i in called),
        other_ops=tuple(op for i, graph in enumerate(graphs) if i not in called for op in graph.ops),
        signatures=tuple(s for i in called for s in signatures.get(i, [])),
        metadata=metadata,
        bodies=tuple(graph for i, graph in enumerate(graphs) if i not in called),
    )


def _graph(graph: Any, model: Any, data: bytes, names: dict[str, dict[int, str]]) -> FlatGraph:
    tensors = tuple(_tensor(i, t, model, data, names) for i, t in enumerate(_list(graph.tensors)))
    inputs, outputs = (tuple(int(i) for i in _list(side)) for side in (graph.inputs, graph.outputs))
    _must_point(inputs + outputs, len(tensors))
    ops = tuple(_ops(model, graph, names))
    for op in ops:
        _must_point(op.outputs, len(tensors))
        _must_point([i for i in op.inputs if i != -1], len(tensors))
    return FlatGraph(tensors=tensors, ops=ops, inputs=inputs, outputs=outputs)


def _must_point(indices: Sequence[int], count: int) -> None:
    """Checked once here, so that whoever walks the graph need not: Python would take -2 for the last but one."""
    if any(not 0 <= i < count for i in indices):
        raise ValueError("an index points at no tensor")


def _ops(model: Any, graph: Any, names: dict[str, dict[int, str]]) -> list[FlatOp]:
    found = []
    for op in graph.operators or []:
        code = model.operatorCodes[op.opcodeIndex]
        # Files from before schema v3a keep the code in a byte field; the new field is 0 there.
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        found.append(
            FlatOp(
                name=names["op"][number],
                version=code.version,
                inputs=tuple(int(i) for i in _list(op.inputs)),
                outputs=tuple(int(i) for i in _list(op.outputs)),
                custom=_text(code.customCode),
            )
        )
    return found


def _tensor(index: int, tensor: Any, model: Any, data: bytes, names: dict[str, dict[int, str]]) -> FlatTensor:
    shape = [int(s) for s in _list(tensor.shape)]
    dynamic = [int(s) for s in _list(tensor.shapeSignature)] or shape
    quantization = tensor.quantization
    content = _content(model.buffers[tensor.buffer], data)
    dtype = names["type"][tensor.type]
    scales = tuple(float(s) for s in _list(quantization.scale)) if quantization is not None else ()
    if not all(math.isfinite(s) for s in scales):
        raise ValueError("a scale is no number")
    zero_points = _list(quantization.zeroPoint) if quantization is not None else []
    return FlatTensor(
        index=index,
        name=_text(tensor.name),
        shape=tuple(None if s < 0 else s for s in dynamic),
        dtype=dtype,
        data_bytes=0 if content is None else len(content),
        scales=scales,
        zero_points=tuple(int(z) for z in zero_points),
        channel_axis=int(quantization.quantizedDimension) if quantization is not None else 0,
        sparse=tensor.sparsity is not None,
        variable=bool(tensor.isVariable),
        buffer=0 if content is None else int(tensor.buffer),
        content=content,
        sparsity=tensor.sparsity,
    )


def _content(buffer: Any, data: bytes) -> Any:
    """A buffer's bytes, or ``None``; beyond 2 GB they lie behind the flatbuffer, at an offset."""
    if buffer.data is not None and len(buffer.data):
        return memoryview(buffer.data)
    offset, size = getattr(buffer, "offset", 0) or 0, getattr(buffer, "size", 0) or 0
    if size and offset > 1:
        if offset + size > len(data):
            raise ValueError("a buffer lies beyond the end of the file")
        return memoryview(data)[offset : offset + size]
    return None


def _list(value: Any) -> Any:
    return [] if value is None else value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")


@functools.lru_cache(maxsize=1)
def _names(schema: Any) -> dict[str, dict[int, str]]:
    def reverse(enum: Any) -> dict[int, str]:
        return {v: k for k, v in vars(enum).items() if not k.startswith("_") and isinstance(v, int)}

    return {"op": reverse(schema.BuiltinOperator), "type": reverse(schema.TensorType)}
