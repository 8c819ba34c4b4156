"""One ``.tflite`` with several signatures out of files with one each; what they have in common is stored once.

TFLiteConverter can take several signatures at once, but not safely: its 16x8 quantizer works on a shared kernel once
for each signature, and the second time makes zeros of it (TensorFlow 2.21). It also sorts signatures by key, so that
``encode`` would come before ``serving_default`` and be what ``interpreter.invoke()``, benchmark tools and a runtime's
list of operators mean when no signature is named. Files made one by one are right, and the main one goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters import packing
from toolkit import flatbuffer
from toolkit.errors import BrokenInput

_STATEFUL = frozenset({"ASSIGN_VARIABLE", "CALL_ONCE", "HASHTABLE", "READ_VARIABLE", "VAR_HANDLE"})
"""Operators on what outlives a call: signatures would share it by number, and files number for themselves."""

_FLOOR = "min_runtime_version"


def merge(main: bytes, further: Sequence[bytes]) -> bytes:
    """One model that holds the graphs and signatures of all files, the first one's in front.

    A constant of a further file that the model has already, byte for byte, becomes a reference to it: this is how
    TFLiteConverter itself shares weights between signatures. Quantization belongs to tensors and stays as it was.

    Args:
        main: a ``.tflite``; its graph stays the first and its metadata are kept.
        further: files to take in, no signature key twice.

    Raises:
        BrokenInput: a file keeps state between calls, or is beyond 2 GB.
    """
    model, *others = (_read(data) for data in (main, *further))
    known: dict[bytes, int] = {}
    for index in sorted({tensor.buffer for graph in model.subgraphs for tensor in graph.tensors or []}):
        known.setdefault(_content(model.buffers[index]), index)
    codes: dict[tuple[Any, ...], int] = {}
    for index, code in enumerate(model.operatorCodes):
        codes.setdefault(_code(code), index)
    for other in others:
        _take(model, other, known, codes)
    _raise_floor(model, others)
    return packing.pack(model)


def _take(model: Any, other: Any, known: dict[bytes, int], codes: dict[tuple[Any, ...], int]) -> None:
    """Appends the subgraphs of ``other``, whose numbers all change."""
    place = len(model.subgraphs)
    for graph in other.subgraphs:
        for tensor in graph.tensors or []:
            tensor.buffer = _numbered(other.buffers[tensor.buffer], model, known)
        for operator in graph.operators or []:
            code = other.operatorCodes[operator.opcodeIndex]
            if _code(code) not in codes:
                codes[_code(code)] = len(model.operatorCodes)
                model.operatorCodes.append(code)
            operator.opcodeIndex = codes[_code(code)]
            for options in (operator.builtinOptions, operator.builtinOptions2):
                _renumber(options, place)
    for definition in other.signatureDefs:
        definition.subgraphIndex += place
    model.subgraphs += other.subgraphs
    model.signatureDefs += other.signatureDefs


def _numbered(buffer: Any, model: Any, known: dict[bytes, int]) -> int:
    """The index in ``model`` of a buffer with the same content, taken in if there is none."""
    content = _content(buffer)
    if not content:
        return 0  # by the schema the one without content, for whatever is computed
    if content not in known:
        known[content] = len(model.buffers)
        model.buffers.append(buffer)
    return known[content]


def _renumber(options: Any, place: int) -> None:
    """Calls of other subgraphs, as in WHILE: the schema names such fields ``bodySubgraphIndex`` and the like."""
    for name, value in list(vars(options).items()) if options is not None else []:
        if "subgraph" not in name.lower() or value is None:
            continue
        many = not isinstance(value, int)
        moved = [int(v) + place if v >= 0 else int(v) for v in (value if many else [value])]  # -1: none
        setattr(options, name, moved if many else moved[0])


def _raise_floor(model: Any, others: Sequence[Any]) -> None:
    """The oldest runtime that the file names is the newest of those that its parts name."""
    named = [(_version(content), content) for part in (model, *others) if (content := _floor(part))]
    for entry in model.metadata or []:
        if _text(entry.name) == _FLOOR and named:
            model.buffers[entry.buffer].data = list(max(named)[1])


def _floor(model: Any) -> bytes:
    entries = [entry for entry in model.metadata or [] if _text(entry.name) == _FLOOR]
    return _content(model.buffers[entries[0].buffer]) if entries else b""


def _version(content: bytes) -> tuple[int, ...]:
    """``1.14.0``, padded with zero bytes."""
    return tuple(int(part) for part in content.split(b"\0")[0].split(b".") if part.isdigit())


def _read(data: bytes) -> Any:
    stateful = sorted(_STATEFUL & set(flatbuffer.parse(data).op_counts()))
    if stateful:
        raise BrokenInput(
            f"keeps state between calls ({', '.join(stateful)}), which several signatures cannot share",
            remedy="export it with one signature",
        )
    model = packing.unpack(data)
    if model is None:
        raise BrokenInput("is beyond 2 GB, where files cannot be merged", remedy="export it with one signature")
    return model


def _content(buffer: Any) -> bytes:
    return b"" if buffer.data is None else bytes(buffer.data)


def _code(code: Any) -> tuple[Any, ...]:
    return code.builtinCode, code.deprecatedBuiltinCode, code.version, _text(code.customCode)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")
