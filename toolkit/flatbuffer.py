"""Reads a .tflite file without a runtime: operators and versions, tensors, quantization, sparsity, metadata.

Field names follow the TFLite schema (tensorflow/compiler/mlir/lite/schema/schema.fbs). Nothing is executed.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput
from toolkit.records import Signature, TensorSpec

_IDENTIFIER = b"TFL3"
_PARSE_ERRORS = (struct.error, ValueError, IndexError, TypeError, AttributeError, KeyError, OverflowError, MemoryError)


@dataclass(frozen=True, kw_only=True)
class FlatTensor:
    """One tensor. ``shape`` has ``None`` for dynamic dimensions; ``data_bytes`` is 0 unless it is constant.

    ``scales`` and ``zero_points`` hold one value per tensor or per channel along ``channel_axis``, and are
    empty without quantization. ``zero_share`` is the share of zeros of a constant, ``None`` otherwise.
    """

    index: int
    name: str
    shape: tuple[int | None, ...]
    dtype: str
    data_bytes: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    channel_axis: int
    sparse: bool
    variable: bool
    zero_share: float | None

    @property
    def constant(self) -> bool:
        """Whether the file carries the tensor's values."""
        return self.data_bytes > 0

    @property
    def elements(self) -> int:
        """Number of values, a dynamic dimension counted as 1."""
        return _product([1 if size is None else size for size in self.shape])


@dataclass(frozen=True, kw_only=True)
class FlatOp:
    """One operator: its name in capitals (``FULLY_CONNECTED``), version and tensor indices (-1: absent).

    ``custom`` is the custom code (``FlexErf``), empty for a builtin.
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom: str = ""


@dataclass(frozen=True, kw_only=True)
class FlatModel:
    """What a .tflite holds. ``ops`` and ``tensors`` are the first subgraph's; ``other_ops`` the rest's."""

    size_bytes: int
    description: str
    tensors: tuple[FlatTensor, ...]
    ops: tuple[FlatOp, ...]
    other_ops: tuple[FlatOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[Signature, ...]
    metadata: dict[str, bytes]

    def op_counts(self) -> dict[str, int]:
        """How often each operator occurs, in all subgraphs; a custom one under its own code."""
        counts: dict[str, int] = {}
        for op in self.ops + self.other_ops:
            name = op.custom or op.name
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    def weights(self) -> list[FlatTensor]:
        """The kernels: second input of every operator that multiplies by one, where it is in the file.

        A float16 kernel reaches its operator through DEQUANTIZE; the stored tensor is what is returned.
        """
        producer = {out: op for op in self.ops for out in op.outputs}
        found: dict[int, FlatTensor] = {}
        for op in self.ops:
            if op.name not in _KERNEL_OPS:
                continue
            for index in op.inputs[:2]:
                source = producer.get(index)
                if source is not None and source.inputs and source.name in ("DEQUANTIZE", "DENSIFY"):
                    index = source.inputs[0]
                if index >= 0 and self.tensors[index].constant:
                    found[index] = self.tensors[index]
        return list(found.values())

    def activations(self) -> list[FlatTensor]:
        """Tensors computed while running: neither constants nor inputs of the graph."""
        return [self.tensors[i] for op in self.ops for i in op.outputs]

    def macs(self) -> int:
        """Multiply-accumulates of one inference of one sample, over the operators that have a kernel.

        Output elements times the values that go into each: input features of a dense layer, kernel area
        times input channels of a convolution. Element-wise operators count nothing.
        """
        total = 0
        for op in self.ops:
            if op.name not in _KERNEL_OPS or len(op.inputs) < 2 or min(op.inputs[:2]) < 0 or not op.outputs:
                continue
            kernel = [d or 1 for d in self.tensors[op.inputs[1]].shape] or [1]
            out = self.tensors[op.outputs[0]].elements
            if op.name == "CONV_2D" or op.name == "CONV_3D":
                total += out * _product(kernel[1:] if op.name == "CONV_2D" else kernel[:-1])
            elif op.name == "DEPTHWISE_CONV_2D":
                total += out * _product(kernel[1:3])
            elif op.name == "FULLY_CONNECTED":
                total += out * kernel[-1]
            elif op.name == "BATCH_MATMUL":
                total += out * ((self.tensors[op.inputs[0]].shape or (1,))[-1] or 1)
            elif op.name == "TRANSPOSE_CONV" and len(op.inputs) > 2 and op.inputs[2] >= 0:
                total += self.tensors[op.inputs[2]].elements * _product(kernel[:3])
        return total

    def signature(self, key: str | None = None) -> Signature:
        """The signature ``key``; without one ``serving_default``, else the first, else one made of the tensors."""
        for candidate in self.signatures:
            if candidate.key == (key or "serving_default"):
                return candidate
        if key is not None:
            known = ", ".join(s.key for s in self.signatures) or "none"
            raise BrokenInput(f"has no signature {key!r}", remedy=f"it has: {known}")
        if self.signatures:
            return self.signatures[0]
        return Signature(
            key="",
            inputs=tuple(_spec(self.tensors[i], self.tensors[i].name) for i in self.inputs),
            outputs=tuple(_spec(self.tensors[i], self.tensors[i].name) for i in self.outputs),
        )


_KERNEL_OPS = frozenset(
    {
        "BATCH_MATMUL",
        "CONV_2D",
        "CONV_3D",
        "DEPTHWISE_CONV_2D",
        "EMBEDDING_LOOKUP",
        "FULLY_CONNECTED",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
    }
)


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


def _model(model: Any, data: bytes, schema: Any) -> FlatModel:
    if not model.subgraphs:
        raise ValueError("no subgraph")
    names = _names(schema)
    graphs = [_ops(model, graph, names) for graph in model.subgraphs]
    first = model.subgraphs[0]
    tensors = tuple(_tensor(i, t, model, data, names) for i, t in enumerate(_list(first.tensors)))
    inputs, outputs = (tuple(int(i) for i in _list(side)) for side in (first.inputs, first.outputs))
    _must_point(inputs + outputs, len(tensors))
    for op in graphs[0]:
        _must_point(op.outputs, len(tensors))
        _must_point([i for i in op.inputs if i != -1], len(tensors))
    signatures = []
    for definition in model.signatureDefs or []:
        if definition.subgraphIndex == 0:
            signatures.append(
                Signature(
                    key=_text(definition.signatureKey),
                    inputs=tuple(_spec(tensors[m.tensorIndex], _text(m.name)) for m in definition.inputs or []),
                    outputs=tuple(_spec(tensors[m.tensorIndex], _text(m.name)) for m in definition.outputs or []),
                )
            )
    metadata = {}
    for entry in model.metadata or []:
        content = _content(model.buffers[entry.buffer], data)
        metadata[_text(entry.name)] = b"" if content is None else bytes(content)
    return FlatModel(
        size_bytes=len(data),
        description=_text(model.description),
        tensors=tensors,
        ops=tuple(graphs[0]),
        other_ops=tuple(op for graph in graphs[1:] for op in graph),
        inputs=inputs,
        outputs=outputs,
        signatures=tuple(signatures),
        metadata=metadata,
    )


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
    import numpy as np

    shape = [int(s) for s in _list(tensor.shape)]
    dynamic = [int(s) for s in _list(tensor.shapeSignature)] or shape
    quantization = tensor.quantization
    content = _content(model.buffers[tensor.buffer], data)
    dtype = names["type"][tensor.type]
    scales = tuple(float(s) for s in _list(quantization.scale)) if quantization is not None else ()
    if not all(math.isfinite(s) for s in scales):
        raise ValueError("a scale is no number")
    zero_share = None
    if content is not None and len(content) and dtype in _NUMPY:
        values = np.frombuffer(content, dtype=_NUMPY[dtype])
        zero_points = _list(quantization.zeroPoint) if quantization is not None else []
        zero = int(zero_points[0]) if len(zero_points) == 1 else 0
        zero_share = float(np.mean(values == zero))
    return FlatTensor(
        index=index,
        name=_text(tensor.name),
        shape=tuple(None if s < 0 else s for s in dynamic),
        dtype=dtype,
        data_bytes=0 if content is None else len(content),
        scales=scales,
        zero_points=tuple(int(z) for z in _list(quantization.zeroPoint)) if quantization is not None else (),
        channel_axis=int(quantization.quantizedDimension) if quantization is not None else 0,
        sparse=tensor.sparsity is not None,
        variable=bool(tensor.isVariable),
        zero_share=zero_share,
    )


_NUMPY = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "FLOAT64": "<f8",
    "INT8": "i1",
    "UINT8": "u1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
}


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


def _spec(tensor: FlatTensor, name: str) -> TensorSpec:
    single = len(tensor.scales) == 1
    return TensorSpec(
        name=name,
        shape=tensor.shape,
        dtype=tensor.dtype.lower(),
        scale=tensor.scales[0] if single else None,
        zero_point=tensor.zero_points[0] if single and tensor.zero_points else None,
    )


def _product(values: Sequence[int]) -> int:
    return math.prod(values)


def _list(value: Any) -> Any:
    return [] if value is None else value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")


@functools.lru_cache(maxsize=1)
def _names(schema: Any) -> dict[str, dict[int, str]]:
    def reverse(enum: Any) -> dict[int, str]:
        return {v: k for k, v in vars(enum).items() if not k.startswith("_") and isinstance(v, int)}

    return {"op": reverse(schema.BuiltinOperator), "type": reverse(schema.TensorType)}
