"""Why a file is big or slow: bytes, floats that stayed, duplicates, partitions, and how two files differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.command import Done

from converters import inspect, packing
from toolkit import flatbuffer

pytestmark = pytest.mark.slow


def analysed(converted: Any, name: str) -> dict[str, Any]:
    path = converted.file(name)
    return inspect.analyse(path, flatbuffer.read(path))


def test_bytes_are_where_the_kernels_are(converted: Any) -> None:
    found = analysed(converted, "float32")
    # Two kernels and two biases of float32.
    assert found["bytes_by_op"]["FULLY_CONNECTED"] == 4 * (784 * 32 + 32 + 32 * 10 + 10)
    # Constants once; the image, its flat form, hidden and scores before and after softmax, each written or read.
    assert (
        found["bytes_by_op"]["FULLY_CONNECTED"] < found["moved_bytes"] < 1.3 * found["bytes_by_op"]["FULLY_CONNECTED"]
    )
    assert found["stayed_float"] == []
    assert found["duplicates"] == []
    delegated = found["delegation"]
    assert delegated["why"] is None
    assert delegated["partitions"] == 1
    assert delegated["taken"] == delegated["ops"]
    assert "XNNPACK takes" in "\n".join(inspect.lines(found))


def test_a_kernel_behind_a_dequantize_counts_for_its_operator(converted: Any) -> None:
    found = analysed(converted, "float16")
    assert found["bytes_by_op"]["FULLY_CONNECTED"] >= 2 * (784 * 32 + 32 * 10)
    assert "DEQUANTIZE" not in found["bytes_by_op"]


def test_what_stayed_float_is_named_with_the_reason(converted: Any) -> None:
    (kernel,) = analysed(converted, "dynamic_range")["stayed_float"]
    assert kernel["bytes"] == 4 * 320
    assert "fewer than 1024 elements" in kernel["why"]


def test_constants_stored_twice_are_counted(converted: Any) -> None:
    model = packing.unpack(converted.file("float32").read_bytes())
    graph = model.subgraphs[0]
    largest = max(
        graph.tensors, key=lambda t: 0 if model.buffers[t.buffer].data is None else len(model.buffers[t.buffer].data)
    )
    smaller = next(t for t in graph.tensors if t is not largest and list(t.shape) == [10, 32])
    other = next(t for t in graph.tensors if list(t.shape) == [32] and model.buffers[t.buffer].data is not None)
    model.buffers[other.buffer].data = list(bytes(model.buffers[smaller.buffer].data)[:128])
    twice = flatbuffer.parse(packing.pack(model))
    assert inspect._duplicates(twice) == []
    model.buffers.append(type(model.buffers[0])())
    model.buffers[-1].data = model.buffers[smaller.buffer].data
    again = type(smaller)()
    for name, value in vars(smaller).items():
        setattr(again, name, value)
    again.name, again.buffer = b"again", len(model.buffers) - 1
    graph.tensors.append(again)
    (found,) = inspect._duplicates(flatbuffer.parse(packing.pack(model)))
    assert found["wasted_bytes"] == 4 * 320
    assert "again" in found["names"]


def test_two_files_are_compared_by_the_names_of_their_constants(converted: Any) -> None:
    left, right = (flatbuffer.read(converted.file(name)) for name in ("float32", "pruned_int8"))
    found = inspect.difference(left, right)
    assert found["size_bytes"] == [left.size_bytes, right.size_bytes]
    assert any(c["left"]["dtype"] == "float32" and c["right"]["dtype"] == "int8" for c in found["changed"])
    same = inspect.difference(left, left)
    assert (same["ops"], same["changed"], same["only_left"], same["only_right"]) == ({}, [], [], [])


def test_the_command_says_it(edge_export: Callable[..., Done], converted: Any) -> None:
    plain = edge_export("inspect", converted.file("dynamic_range"), "--diff", converted.file("float32"))
    assert plain.code == 0, plain.err
    for said in ("bytes by operator", "moves", "XNNPACK takes", "fewer than 1024", "changed"):
        assert said in plain.out
    snippet = edge_export("inspect", converted.file("int8"), "--snippet", "python")
    assert snippet.out == converted.artifacts["int8"].contract["snippets"]["python"]
    assert edge_export("inspect", converted.file("int8"), "--snippet", "rust").code == 2
    assert edge_export("inspect", converted.file("int8"), "--diff", "nowhere.tflite").code == 2


def test_a_file_from_elsewhere_has_a_snippet_too(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    done = edge_export("inspect", tiny_models["dense"].int8, "--snippet", "swift")
    assert done.code == 0, done.err
    assert "toInputAt: 0" in done.out


def test_the_page_shows_the_same(edge_export: Callable[..., Done], converted: Any, tmp_path: Path) -> None:
    page = tmp_path / "x.html"
    done = edge_export("inspect", converted.file("int8"), "--diff", converted.file("float32"), "--html", page)
    assert (done.code, done.out.splitlines()[-1]) == (0, f"page  {page}")
    text = page.read_text(encoding="utf-8")
    assert f"{converted.file('int8').stat().st_size:,}" in text
    assert "Against" in text
