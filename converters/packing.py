"""A .tflite as a tree of objects that can be changed, and back to bytes that runtimes take."""

from __future__ import annotations

from typing import Any

_ALIGNMENT = 16
"""Of constants in the file, as the schema asks (``force_align: 16``); Python's builder would give them 4."""


def unpack(data: bytes) -> Any:
    """The ``ModelT`` of the schema; ``None`` for a file whose constants lie behind the flatbuffer (beyond 2 GB)."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    return None if any(buffer.offset > 1 for buffer in model.buffers) else model


def pack(model: Any) -> bytes:
    """The bytes of a ``ModelT``."""
    import flatbuffers

    class Aligned(flatbuffers.Builder):
        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803
            wide = elemSize == 1 and numElems >= _ALIGNMENT
            begun: int = super().StartVector(elemSize, numElems, _ALIGNMENT if wide else alignment)
            return begun

    builder = Aligned(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
