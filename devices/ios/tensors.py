"""The inputs and outputs of a model as the C API reaches them: by position, with the names of its main signature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import flatbuffer
from toolkit.errors import BrokenInput, UsageError
from toolkit.flatmodel import MAIN, FlatTensor

DTYPES = frozenset({"float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"})
"""What a raw file can hold; strings and half bytes it cannot."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output. ``index`` is its position for the C API; ``shape`` has 1 where a dimension is dynamic.

    ``fixed`` is the shape with ``None`` there instead; ``scale`` is 0 where nothing is quantized.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    fixed: tuple[int | None, ...]
    dtype: str
    scale: float
    zero_point: int

    @property
    def bytes(self) -> int:
        """Of one sample."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def detail(self) -> dict[str, Any]:
        """As a TFLite interpreter describes it."""
        return {"shape": self.shape, "dtype": self.dtype, "quantization": (self.scale, self.zero_point)}


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """What goes into a model and what comes out, each in the order of the C API."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read(path: Path) -> Tensors:
    """The tensors of the main signature, or of the graph where the file has no signature.

    Raises:
        BrokenInput: no intact .tflite, or a dtype that has no raw form.
        UsageError: the main signature is not the file's first graph, which is the one the app runs.
    """
    from ai_edge_litert import schema_py_generated as schema

    flatbuffer.read(path)  # refuses what is damaged, so that nothing below points nowhere
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    definitions = list(model.signatureDefs or [])
    chosen = next((d for d in definitions if _text(d.signatureKey) == MAIN), definitions[0] if definitions else None)
    if chosen is not None and chosen.subgraphIndex != 0:
        raise UsageError(
            "its main signature is not its first graph, the only one that the iOS runner calls",
            where=str(path),
            remedy="convert the model with its main signature alone",
        )
    graph = model.subgraphs[0]
    flat = {t.index: t for g in flatbuffer.read(path).graphs[:1] for t in g.tensors}
    return Tensors(
        inputs=_side(graph.inputs, chosen.inputs if chosen else None, flat, path),
        outputs=_side(graph.outputs, chosen.outputs if chosen else None, flat, path),
    )


def _side(indices: Any, named: Any, flat: dict[int, FlatTensor], path: Path) -> tuple[Tensor, ...]:
    names = {int(m.tensorIndex): _text(m.name) for m in (named if named is not None else [])}
    found = []
    for position, index in enumerate(int(i) for i in indices):
        tensor = flat[index]
        name = names.get(index, tensor.name)
        dtype = tensor.dtype.lower()
        if dtype not in DTYPES:
            raise BrokenInput(
                f"tensor {name!r} is {dtype}, which has no raw form",
                where=str(path),
                remedy="the iOS runner takes numbers and booleans",
            )
        one = len(tensor.scales) == 1
        found.append(
            Tensor(
                name=name,
                index=position,
                shape=tuple(1 if d is None else int(d) for d in tensor.shape),
                fixed=tuple(None if d is None else int(d) for d in tensor.shape),
                dtype=dtype,
                scale=float(tensor.scales[0]) if one else 0.0,
                zero_point=int(tensor.zero_points[0]) if one and tensor.zero_points else 0,
            )
        )
    return tuple(found)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
