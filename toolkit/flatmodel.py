"""What a .tflite file holds, as read by :mod:`toolkit.flatbuffer`: tensors, operators, graphs, signatures.

Field names follow the TFLite schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit import sparse
from toolkit.errors import BrokenInput
from toolkit.records import Signature, TensorSpec

MAIN = "serving_default"
"""The key of the signature that a file is there for, as TensorFlow names it."""


@dataclass(frozen=True, kw_only=True)
class FlatTensor:
    """One tensor. ``shape`` has ``None`` for dynamic dimensions; ``data_bytes`` is 0 unless it is constant.

    ``scales`` and ``zero_points`` hold one value per tensor or per channel along ``channel_axis``, and are
    empty without quantization. Tensors with the same ``buffer`` (an index into the file's, 0: none) share their values,
    which the file stores once. ``content`` is a constant's bytes in the file and ``sparsity`` how they are encoded.
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
    buffer: int = 0
    content: Any = field(default=None, repr=False, compare=False)
    sparsity: Any = field(default=None, repr=False, compare=False)

    @property
    def constant(self) -> bool:
        """Whether the file carries the tensor's values."""
        return self.data_bytes > 0

    @property
    def elements(self) -> int:
        """Number of values, a dynamic dimension counted as 1."""
        return _product([1 if size is None else size for size in self.shape])

    def values(self) -> np.ndarray | None:
        """A constant's numbers in its shape as they are stored: integers unscaled, 4-bit ones as int8.

        ``None`` for what is no constant and for text; the stored numbers, flat, where they do not fill the shape.

        Raises:
            BrokenInput: a sparse encoding that does not fit.
        """
        if self.content is None or not len(self.content) or self.dtype not in _NUMPY:
            return None
        stored = np.frombuffer(self.content, dtype=_NUMPY[self.dtype])
        if self.dtype == "INT4":  # two in a byte, the low half first
            stored = np.stack([stored << 4, stored], axis=1).reshape(-1) >> 4
        shape = tuple(1 if size is None else size for size in self.shape)
        if self.sparse:
            try:
                return sparse.densify(stored, shape, self.sparsity)
            except (ValueError, IndexError) as error:
                raise BrokenInput(f"is damaged ({error})", where=f"tensor {self.name!r}") from error
        if self.dtype == "INT4":
            stored = stored[: self.elements]
        return stored.reshape(shape) if stored.size == self.elements else stored

    @functools.cached_property
    def zero_share(self) -> float | None:
        """The share of a constant's values that stand for 0; ``None`` where there are none."""
        found = self.values()
        zero = self.zero_points[0] if len(self.zero_points) == 1 else 0
        return None if found is None else float((found == zero).mean())


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
class FlatGraph:
    """One subgraph: its tensors and operators, and which tensors go in and out."""

    tensors: tuple[FlatTensor, ...]
    ops: tuple[FlatOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

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


@dataclass(frozen=True, kw_only=True)
class FlatModel:
    """What a .tflite holds. ``graphs`` are the subgraphs that signatures call, the main one's first (without any
    signature, the file's first); ``bodies`` are the others, such as those of loops, and ``other_ops`` their operators.

    ``tensors``, ``ops``, ``inputs``, ``outputs`` and ``macs()`` are those of the main graph.
    """

    size_bytes: int
    description: str
    graphs: tuple[FlatGraph, ...]
    other_ops: tuple[FlatOp, ...]
    signatures: tuple[Signature, ...]
    metadata: dict[str, bytes]
    bodies: tuple[FlatGraph, ...] = ()

    @property
    def tensors(self) -> tuple[FlatTensor, ...]:
        """The main graph's."""
        return self.graphs[0].tensors

    @property
    def ops(self) -> tuple[FlatOp, ...]:
        """The main graph's."""
        return self.graphs[0].ops

    @property
    def inputs(self) -> tuple[int, ...]:
        """The main graph's."""
        return self.graphs[0].inputs

    @property
    def outputs(self) -> tuple[int, ...]:
        """The main graph's."""
        return self.graphs[0].outputs

    def macs(self) -> int:
        """The main graph's: see :meth:`FlatGraph.macs`."""
        return self.graphs[0].macs()

    def every_op(self) -> tuple[FlatOp, ...]:
        """The operators of all subgraphs."""
        return (*(op for graph in self.graphs for op in graph.ops), *self.other_ops)

    def op_counts(self) -> dict[str, int]:
        """How often each operator occurs, in all subgraphs; a custom one under its own code."""
        counts: dict[str, int] = {}
        for op in self.every_op():
            name = op.custom or op.name
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    def weights(self) -> list[FlatTensor]:
        """The kernels of all graphs and bodies, one that they share once: see :meth:`FlatGraph.weights`."""
        return stored_once([kernel for graph in (*self.graphs, *self.bodies) for kernel in graph.weights()])

    def constants(self) -> list[FlatTensor]:
        """What all graphs and bodies have in the file, what they share once."""
        graphs = (*self.graphs, *self.bodies)
        return stored_once([tensor for graph in graphs for tensor in graph.tensors if tensor.constant])

    def activations(self) -> list[FlatTensor]:
        """Tensors of all graphs that are computed while running: neither constants nor inputs."""
        return [tensor for graph in self.graphs for tensor in graph.activations()]

    def further(self) -> tuple[Signature, ...]:
        """All signatures but the main one."""
        main = self.signature().key
        return tuple(s for s in self.signatures if s.key != main)

    def signature(self, key: str | None = None) -> Signature:
        """The signature ``key``; without one ``serving_default``, else the first, else one made of the tensors."""
        for candidate in self.signatures:
            if candidate.key == (key or MAIN):
                return candidate
        if key is not None:
            known = ", ".join(s.key for s in self.signatures) or "none"
            raise BrokenInput(f"has no signature {key!r}", remedy=f"it has: {known}")
        if self.signatures:
            return self.signatures[0]
        return Signature(
            key="",
            inputs=tuple(spec(self.tensors[i], self.tensors[i].name) for i in self.inputs),
            outputs=tuple(spec(self.tensors[i], self.tensors[i].name) for i in self.outputs),
        )


_NUMPY = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "FLOAT64": "<f8",
    "INT4": "i1",
    "INT8": "i1",
    "UINT8": "u1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
}

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


def stored_once(tensors: Sequence[FlatTensor]) -> list[FlatTensor]:
    """Constants without those that share the buffer of an earlier one."""
    found: dict[int | tuple[int, int], FlatTensor] = {}
    for position, tensor in enumerate(tensors):
        found.setdefault(tensor.buffer or (position, tensor.index), tensor)
    return list(found.values())


def spec(tensor: FlatTensor, name: str) -> TensorSpec:
    """An input or output as the records have it; a scale per channel is left out."""
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
