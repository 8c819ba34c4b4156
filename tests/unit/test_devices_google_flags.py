"""The command lines of Google's benchmark_model, read back the way its C++ reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.programs.google_flags import GoogleInput, GoogleOptions, classic_flags, litert_flags
from toolkit.errors import UsageError


def parsed(flags: list[str]) -> dict[str, str]:
    assert all(flag.startswith("--") and "=" in flag for flag in flags)
    pairs = dict(flag[2:].split("=", 1) for flag in flags)
    assert len(pairs) == len(flags)
    return pairs


def split_name_and_file(item: str) -> tuple[str, str]:
    """``SplitInputLayerNameAndValueFile`` of ``benchmark_tflite_model.cc``."""
    delimiter, at = -1, 0
    while at < len(item) - 1:
        if item[at] == ":":
            if item[at + 1] == ":":
                at += 1
            else:
                assert delimiter == -1, "more than one delimiter"
                delimiter = at
        at += 1
    assert delimiter != -1
    return item[:delimiter].replace("::", ":"), item[delimiter + 1 :].replace("::", ":")


def test_classic_on_the_cpu() -> None:
    flags = parsed(classic_flags(GoogleOptions(model="/data/local/tmp/m.tflite", threads=4)))
    assert flags == {
        "graph": "/data/local/tmp/m.tflite",
        "num_threads": "4",
        "num_runs": "50",
        "min_secs": "1.0",
        "max_secs": "150.0",
        "warmup_runs": "1",
        "warmup_min_secs": "0.5",
        "use_xnnpack": "true",
    }
    assert parsed(classic_flags(GoogleOptions(model="m", xnnpack=False)))["use_xnnpack"] == "false"


def test_classic_on_the_gpu() -> None:
    flags = classic_flags(GoogleOptions(model="m", gpu=True, xnnpack=False, full_delegation=True, fp16=False))
    named = parsed(flags)
    assert named["use_gpu"] == "true"
    assert named["gpu_precision_loss_allowed"] == "false"
    assert named["require_full_delegation"] == "true"
    # Delegates are applied in the order of their flags.
    assert flags.index("--use_gpu=true") < flags.index("--use_xnnpack=false")
    relaxed = parsed(classic_flags(GoogleOptions(model="m", gpu=True)))
    assert "require_full_delegation" not in relaxed
    assert "gpu_precision_loss_allowed" not in relaxed


def test_classic_files_and_reports() -> None:
    flags = parsed(
        classic_flags(
            GoogleOptions(
                model="m",
                signature="serve",
                runs=7,
                min_seconds=0.25,
                max_seconds=9,
                warmup_runs=0,
                warmup_seconds=0,
                inputs=(
                    GoogleInput(name="serving_default_x:0", shape=(1, 28, 28), value_file="/tmp/x.bin"),
                    GoogleInput(name="scale", shape=()),
                ),
                output_file="/tmp/out.bin",
                op_profile_file="/tmp/ops.csv",
                result_file="/tmp/result.pb",
                peak_memory=True,
            )
        )
    )
    assert flags["input_layer"] == "serving_default_x:0,scale"
    assert flags["input_layer_shape"] == "1,28,28:"
    assert flags["input_layer_value_files"] == "serving_default_x::0:/tmp/x.bin"
    assert flags["output_filepath"] == "/tmp/out.bin"
    assert (flags["enable_op_profiling"], flags["op_profiling_output_mode"]) == ("true", "csv")
    assert flags["op_profiling_output_file"] == "/tmp/ops.csv"
    assert flags["result_file_path"] == "/tmp/result.pb"
    assert flags["report_peak_memory_footprint"] == "true"
    assert flags["signature_to_run_for"] == "serve"
    assert (flags["num_runs"], flags["min_secs"], flags["max_secs"]) == ("7", "0.25", "9.0")
    assert (flags["warmup_runs"], flags["warmup_min_secs"]) == ("0", "0.0")


def test_litert() -> None:
    flags = parsed(litert_flags(GoogleOptions(model="m", gpu=True, fp16=False, result_file="r.pb", peak_memory=True)))
    assert (flags["use_cpu"], flags["use_gpu"], flags["gpu-precision"]) == ("true", "true", "fp32")
    assert flags["result_file_path"] == "r.pb"
    assert not {"use_xnnpack", "gpu_precision_loss_allowed", "require_full_delegation"} & set(flags)
    full = parsed(litert_flags(GoogleOptions(model="m", gpu=True, full_delegation=True, fp16=True)))
    # It aborts where full delegation and the CPU are both asked for.
    assert (full["use_cpu"], full["require_full_delegation"], full["gpu-precision"]) == ("false", "true", "fp16")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"inputs": (GoogleInput(name="x", shape=(1,)),)}, "input shapes"),
        ({"inputs": (GoogleInput(name="x", shape=(1,), value_file="x.bin"),)}, "input values"),
        ({"output_file": "o"}, "an output file"),
        ({"op_profile_file": "o"}, "an op profile as CSV"),
        ({"xnnpack": False}, "XNNPACK switched off"),
        ({"full_delegation": True}, "full delegation on the CPU"),
    ],
)
def test_litert_refuses_what_it_has_no_flag_for(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=f"no flag for {word}"):
        litert_flags(GoogleOptions(model="m", **change))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model": ""}, "needs a model"),
        ({"model": "fd:3:0:100"}, "must not begin with fd:"),
        ({"threads": 0}, "threads must be 1 or more, not 0"),
        ({"runs": 0}, "runs must be 1 or more"),
        ({"min_seconds": float("nan")}, "least seconds"),
        ({"min_seconds": 10, "max_seconds": 5}, "most seconds must be 10 or more, not 5"),
        ({"fp16": True}, "fp16 is a choice of the GPU's"),
        ({"full_delegation": True, "gpu": True}, "the GPU and XNNPACK are both on"),
        ({"full_delegation": True, "xnnpack": False}, "neither the GPU nor XNNPACK is on"),
        ({"inputs": (GoogleInput(name="a,b", shape=(1,)),)}, "'a,b' holds a comma"),
        ({"inputs": (GoogleInput(name="", shape=(1,)),)}, "is empty"),
        ({"inputs": (GoogleInput(name="a", shape=(1,)),) * 2}, "is there twice"),
        ({"inputs": (GoogleInput(name="a", shape=()),)}, "a single scalar input"),
        ({"inputs": (GoogleInput(name="a", shape=(-1, 4)),)}, r"shape \[-1, 4\] has an unknown size"),
        ({"inputs": (GoogleInput(name="a", shape=(1,), value_file="x,y"),)}, "must hold no comma"),
        ({"inputs": (GoogleInput(name="a", shape=(1,), value_file=":x"),)}, "begin with no colon"),
    ],
)
def test_what_the_flags_cannot_carry_is_one_line(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word) as caught:
        classic_flags(GoogleOptions(**{"model": "m", **change}))
    assert "\n" not in str(caught.value)


_NAME = st.text(st.sampled_from("ab:/[]. _0"), min_size=1, max_size=8)


@given(st.lists(st.tuples(_NAME, _NAME), min_size=1, max_size=3, unique_by=lambda pair: pair[0]))
def test_names_and_files_come_through_the_tools_own_splitting(pairs: list[tuple[str, str]]) -> None:
    inputs = tuple(GoogleInput(name=name, shape=(1, 2), value_file=file.lstrip(":")) for name, file in pairs)
    flags = parsed(classic_flags(GoogleOptions(model="m", inputs=inputs)))
    assert flags["input_layer"].split(",") == [tensor.name for tensor in inputs]
    assert flags["input_layer_shape"].split(":") == ["1,2"] * len(inputs)
    files = [(tensor.name, tensor.value_file) for tensor in inputs if tensor.value_file]
    got = flags.get("input_layer_value_files")
    assert (got is None) == (not files)
    assert [split_name_and_file(item) for item in (got or "").split(",") if item] == files
