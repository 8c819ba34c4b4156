"""The contract of an artifact inside its file: what goes in, what comes out, and what it means.

A ``.tflite`` knows its tensors and nothing of what they stand for. The contract is one JSON object under
:data:`NAME` in the file's metadata, so that it travels with it; the record beside the file has it too, with snippets
that call the model. Runtimes pass over metadata that they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from converters import packing
from toolkit import flatbuffer
from toolkit.errors import BrokenInput
from toolkit.flatmodel import FlatModel
from toolkit.records import ModelBundle, TensorSpec

NAME = "edge_export_contract"
VERSION = 1


def contract(data: bytes, bundle: ModelBundle, recipe: str) -> dict[str, Any]:
    """What a caller of the file has to know, as JSON values.

    ``signatures`` lists key, ``inputs`` and ``outputs``: name, ``index`` (what APIs without names count by), shape
    (``null``: any), dtype, and of integers that stand for numbers ``scale`` and ``zero_point``
    (number = (integer - zero_point) * scale). ``batch`` is ``"any"`` or the one number of samples a call
    takes. ``normalisation`` says in words what was done to raw values, ``classes`` names the scores in order, and
    ``features`` is the adapted spec that raw rows are encoded by; each is ``null`` where there is none.

    Args:
        data: a ``.tflite``.
        bundle: what it was made of.
        recipe: how.
    """
    return {
        **of_file(data),
        "model": bundle.name,
        "recipe": recipe,
        "normalisation": bundle.data.get("normalisation"),
        "task": bundle.data.get("task"),
        "classes": bundle.data.get("classes"),
        "features": json.loads(bundle.data["features"]) if bundle.data.get("features") else None,
    }


def of_file(data: bytes) -> dict[str, Any]:
    """The part of a contract that any ``.tflite`` tells by itself: its signatures and batch."""
    model, places = flatbuffer.parse(data), _places(data)
    return {
        "contract": VERSION,
        "signatures": [_signature(model, key, places) for key in _keys(model)],
        "batch": _batch(model),
    }


def embed(data: bytes, found: Mapping[str, Any]) -> bytes:
    """The file with a contract in it, in place of one that it may have; a file beyond 2 GB stays as it is."""
    model = packing.unpack(data)
    if model is None:
        return data
    from ai_edge_litert import schema_py_generated as schema

    content = json.dumps(found, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()
    entries = model.metadata or []
    entry = next((e for e in entries if _text(e.name) == NAME), None)
    if entry is None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = NAME, len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata = [*entries, entry]
    model.buffers[entry.buffer].data = list(content)
    return packing.pack(model)


def read(model: FlatModel, *, where: str = "") -> dict[str, Any] | None:
    """The contract in a file, ``None`` if it has none.

    Raises:
        BrokenInput: it is there and cannot be read.
    """
    content = model.metadata.get(NAME)
    if content is None:
        return None
    try:
        found = json.loads(content)
        newer = found["contract"] > VERSION
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenInput(
            "has a contract that cannot be read", where=where, remedy="convert the model again"
        ) from error
    if newer:
        what = f"has a contract of version {found['contract']}, this program reads up to {VERSION}"
        raise BrokenInput(what, where=where, remedy="update edge-export")
    return dict(found)


def _keys(model: FlatModel) -> list[str | None]:
    return [signature.key for signature in model.signatures] or [None]


def _places(data: bytes) -> dict[tuple[str, str, str], int]:
    """The index of every named tensor among its graph's inputs or outputs, by signature, side and name."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    found = {}
    for definition in model.signatureDefs or []:
        graph = model.subgraphs[definition.subgraphIndex]
        for side in ("inputs", "outputs"):
            order = [int(i) for i in getattr(graph, side)]
            for tensor in getattr(definition, side) or []:
                found[_text(definition.signatureKey), side, _text(tensor.name)] = order.index(tensor.tensorIndex)
    return found


def _signature(model: FlatModel, key: str | None, places: Mapping[tuple[str, str, str], int]) -> dict[str, Any]:
    signature = model.signature(key)

    def tensors(side: str) -> list[dict[str, Any]]:
        found = [(places.get((signature.key, side, t.name), i), t) for i, t in enumerate(getattr(signature, side))]
        return [_tensor(place, tensor) for place, tensor in sorted(found, key=lambda f: f[0])]

    return {"key": signature.key, "inputs": tensors("inputs"), "outputs": tensors("outputs")}


def _tensor(place: int, spec: TensorSpec) -> dict[str, Any]:
    quantized = {} if spec.scale is None else {"scale": spec.scale, "zero_point": spec.zero_point}
    return {"name": spec.name, "index": place, "shape": list(spec.shape), "dtype": spec.dtype, **quantized}


def _batch(model: FlatModel) -> int | str:
    """How many samples a call takes: the first dimension of the main signature's inputs."""
    first = {spec.shape[0] for spec in model.signature().inputs if spec.shape}
    fixed = first - {None}
    return max(size for size in fixed if size is not None) if fixed else "any"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")
