"""Reading a .tflite: what is in real files, and that no damage to one ends in anything but a plain refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import devices.runners
from toolkit import flatbuffer
from toolkit.errors import BrokenInput
from toolkit.flatbuffer import FlatModel

PROBE = (Path(devices.runners.__file__).parent / "probe.tflite").read_bytes()
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")


def walk(model: FlatModel) -> None:
    """Everything that can be asked of a file that was read."""
    model.op_counts(), model.weights(), model.activations(), model.macs(), model.signature()
    [t.elements for t in model.tensors]


def read_or_refused(data: bytes) -> bool:
    """Whether ``data`` was read; a refusal must name the file, anything else escapes and fails the test."""
    try:
        walk(flatbuffer.parse(data, where="some.tflite"))
    except BrokenInput as error:
        line = str(error)
    else:
        return True
    assert line.startswith("some.tflite: ")
    assert "\n" not in line
    return False


def test_the_probe_is_read() -> None:
    model = flatbuffer.parse(PROBE)
    assert model.size_bytes == len(PROBE)
    assert model.op_counts() == {"ADD": 1}
    assert (model.weights(), model.macs()) == ([], 0)
    signature = model.signature()
    assert signature.key == "serving_default"
    assert [(t.name, t.shape, t.dtype) for t in signature.inputs + signature.outputs] == [
        ("x", (1, 4), "float32"),
        ("y", (1, 4), "float32"),
    ]


def test_a_signature_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BrokenInput, match=r"no signature 'train'; it has: serving_default"):
        flatbuffer.parse(PROBE).signature("train")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (PNG, "no TFL3 mark"),
        (b"TFL3", "no TFL3 mark"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(20), "damaged or truncated"),
        (b"\xff\xff\xff\xffTFL3" + bytes(20), "damaged or truncated"),
        (PROBE[: len(PROBE) // 2], "damaged or truncated"),
    ],
    ids=["empty", "png", "mark only", "zeros", "wild root", "half"],
)
def test_what_is_no_model_is_refused_with_the_path(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    with pytest.raises(BrokenInput, match=said) as caught:
        flatbuffer.read(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="cannot be read"):
        flatbuffer.read(tmp_path)


@settings(max_examples=300, deadline=1000)
@given(cut=st.integers(0, len(PROBE) - 1))
def test_truncated_anywhere(cut: int) -> None:
    read_or_refused(PROBE[:cut])


@settings(max_examples=500, deadline=1000)
@given(st.lists(st.tuples(st.integers(0, len(PROBE) - 1), st.integers(0, 255)), min_size=1, max_size=12))
@example([(i, 255) for i in range(8, 64)])
def test_flipped_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(PROBE)
    for position, value in changes:
        data[position] = value
    read_or_refused(bytes(data))


@settings(max_examples=300, deadline=1000)
@given(st.binary(max_size=400))
def test_random_bytes_behind_the_mark(tail: bytes) -> None:
    read_or_refused(b"\x1c\x00\x00\x00TFL3" + tail)


def packed(change: Any) -> bytes:
    """The probe with its object form changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(PROBE, 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("index", [99, -1, -2])
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_an_index_that_points_at_no_tensor_is_damage(index: int, side: str) -> None:
    def graph(model: Any) -> None:
        setattr(model.subgraphs[0], side, [index])

    def operator(model: Any) -> None:
        setattr(model.subgraphs[0].operators[0], side, [index])

    assert not read_or_refused(packed(graph))
    absent = side == "inputs" and index == -1  # how the schema writes an optional input that is left out
    assert read_or_refused(packed(operator)) == absent


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number_is_damage(scale: float) -> None:
    from ai_edge_litert import schema_py_generated as schema

    def change(model: Any) -> None:
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [scale], [0]
        model.subgraphs[0].tensors[0].quantization = quantization

    assert not read_or_refused(packed(change))


def test_a_buffer_beyond_the_end_is_damage() -> None:
    def change(model: Any) -> None:
        model.buffers[0].offset, model.buffers[0].size = 1 << 20, 16

    assert not read_or_refused(packed(change))


def test_custom_operators_go_by_their_own_code() -> None:
    def change(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 32
        model.operatorCodes[0].customCode = "FlexErf"

    model = flatbuffer.parse(packed(change))
    assert model.op_counts() == {"FlexErf": 1}
    assert [(op.name, op.custom) for op in model.ops] == [("CUSTOM", "FlexErf")]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "int8"])
@pytest.mark.parametrize("name", ["dense", "conv"])
def test_real_models(tiny_models: dict[str, Any], name: str, form: str) -> None:
    path: Path = getattr(tiny_models[name], form)
    model = flatbuffer.read(path)
    assert model.size_bytes == path.stat().st_size
    counts = model.op_counts()
    kernels = {"dense": [(32, 784), (10, 32)], "conv": [(8, 3, 3, 1), (10, 13 * 13 * 8)]}[name]
    assert counts["FULLY_CONNECTED"] == (2 if name == "dense" else 1)
    assert counts.get("CONV_2D", 0) == (1 if name == "conv" else 0)
    assert counts["SOFTMAX"] == 1
    assert [k.shape for k in model.weights()] == kernels
    assert {k.dtype for k in model.weights()} == {form.upper()}
    assert all((k.zero_share or 0) < 0.05 for k in model.weights())
    assert model.macs() == {"dense": 784 * 32 + 32 * 10, "conv": 26 * 26 * 8 * 9 + 13 * 13 * 8 * 10}[name]
    given, asked = model.signature().inputs[0], model.signature().outputs[0]
    assert (given.name, given.shape, given.dtype) == ("image", (None, 28, 28), form)
    assert (asked.name, asked.shape, asked.dtype) == ("probabilities", (None, 10), form)
    if form == "int8":
        assert given.scale == pytest.approx(1 / 255, rel=0.01)
        assert (asked.scale, asked.zero_point) == (1 / 256, -128)
        assert all(len(k.scales) == k.shape[0] for k in model.weights()), "per channel"
    else:
        assert given.scale is None
    assert "CONVERSION_METADATA" in model.metadata


@pytest.mark.slow
def test_a_float16_kernel_is_found_behind_its_dequantize(tiny_models: dict[str, Any]) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(tiny_models["dense"].saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    model = flatbuffer.parse(converter.convert())
    assert [(k.shape, k.dtype) for k in model.weights()] == [((32, 784), "FLOAT16"), ((10, 32), "FLOAT16")]


@pytest.mark.slow
@settings(max_examples=400, deadline=2000)
@given(data=st.data())
def test_a_damaged_real_model_is_read_or_refused(tiny_models: dict[str, Any], data: st.DataObject) -> None:
    # Weights fill the middle of the file: damage is looked for in the tables at both ends.
    whole = tiny_models["conv"].int8.read_bytes()
    ends = st.integers(0, 3000) | st.integers(len(whole) - 5000, len(whole) - 1)
    changed = bytearray(whole)
    for position in data.draw(st.lists(ends, min_size=1, max_size=6)):
        changed[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(whole)))
    read_or_refused(bytes(changed[:cut]))
