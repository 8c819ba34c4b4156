"""Code to copy and paste that calls an artifact, made from its contract. This folder holds one template a language.

Each fills inputs with zeros of the right shape and type where the caller's own values go, quantizes and dequantizes
where the file is integer, and names every tensor. The Python one is run in the tests; those for Kotlin and Swift were
written against the published APIs of TensorFlow Lite and have not been compiled here.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_BYTES = {"float32": 4, "int32": 4, "int64": 8, "int16": 2}
_PUT = {"float32": "putFloat(0f)", "int32": "putInt(0)", "int64": "putLong(0L)", "int16": "putShort(0)"}
_SWIFT = {"float32": "Float32", "int8": "Int8", "int16": "Int16", "int32": "Int32", "int64": "Int64"}
_TAKEN = frozenset({"answer", "buffer", "interpreter", "np", "path", "run", "fun", "let", "val", "var"})
"""What the snippets themselves call things, and words of Kotlin and Swift that Python's keywords do not hold."""


def languages() -> list[str]:
    """From the folder's listing."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.j2"))


def snippets(contract: Mapping[str, Any], file: str) -> dict[str, str]:
    """One snippet a language, of the main signature.

    Args:
        contract: as :func:`converters.metadata.contract` makes it.
        file: the artifact's file name.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["quoted"] = _quoted
    main = contract["signatures"][0]
    given = {
        "file": file,
        "stem": file.rsplit(".", 1)[0],
        "meaning": _meaning(contract),
        "main": {"key": main["key"], "inputs": _tensors(main["inputs"]), "outputs": _tensors(main["outputs"])},
    }
    return {name: environment.get_template(f"{name}.j2").render(given) for name in languages()}


def _meaning(contract: Mapping[str, Any]) -> str:
    if contract.get("features"):
        return "raw features; texts as their UTF-8 bytes, padded with zeros"
    return str(contract.get("normalisation") or "values as in training")


def _tensors(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_tensor(tensor) for tensor in tensors]


def _tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    sizes, dtype = [1 if size is None else size for size in tensor["shape"]], tensor["dtype"]
    low, high = _LIMITS.get(dtype, (0, 0))
    first, *rest = [part for part in _variable(tensor["name"]).split("_") if part]
    return {
        **tensor,
        "scaled": "scale" in tensor,
        "sizes": sizes,
        "count": math.prod(sizes),
        "low": low,
        "high": high,
        "bytes": _BYTES.get(dtype, 1),
        "put": _PUT.get(dtype, "put(0)"),
        "swift": _SWIFT.get(dtype, "UInt8"),
        "variable": _variable(tensor["name"]),
        "camel": first + "".join(part[:1].upper() + part[1:] for part in rest),
    }


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _variable(name: str) -> str:
    """A tensor's name as a variable's."""
    made = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_") or "x"
    return f"x_{made}" if made[0].isdigit() or made in _TAKEN or keyword.iskeyword(made) else made
