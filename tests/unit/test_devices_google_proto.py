"""Reading benchmark_model's result file, against protobuf's own encoder."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from fakes.benchmark_result import message
from hypothesis import given
from hypothesis import strategies as st

from devices.device import RunnerFailed
from devices.programs.google_proto import read_result
from toolkit.records import Failure

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"
LATENCY = {
    "avg_ms": "mean_us",
    "min_ms": "min_us",
    "max_ms": "max_us",
    "stddev_ms": "std_us",
    "median_ms": "median_us",
    "p5_ms": "p5_us",
    "p95_ms": "p95_us",
    "init_ms": "init_us",
    "first_inference_ms": "first_us",
    "average_warm_up_ms": "warmup_us",
}


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def attempt(data: bytes) -> dict[str, float] | Failure:
    try:
        return read_result(data)
    except RunnerFailed as error:
        return error.failure


def test_a_whole_file() -> None:
    values = read_result(golden("result_slow.pb"))
    # Microseconds as the tool had them, not 4689729.98… from a float32 of milliseconds.
    assert values == {
        "mean_us": 4695090,
        "min_us": 4588120,
        "max_us": 4990412,
        "std_us": 80214,
        "median_us": 4689730,
        "p5_us": 4601000,
        "p95_us": 4880410,
        "init_us": 12397,
        "first_us": 5334923,
        "warmup_us": 5334923,
        "runs": 32,
        "warmup_runs": 1,
        "memory_init_bytes": 10368 * 1024,
        "memory_overall_bytes": 13107 * 1024,
        "memory_peak_bytes": 31.25 * 1024 * 1024,
    }


def test_what_is_not_there_is_left_out() -> None:
    values = read_result(golden("result_named_no_memory.pb"))
    assert not [name for name in values if "memory" in name]
    assert values["runs"] == 32
    assert "runs" not in read_result(golden("result_latency_only.pb"))


def test_without_warm_up_there_is_no_first_inference() -> None:
    values = read_result(
        message(latency={"avg_ms": 1, "first_inference_ms": 0}, misc={"num_warmup_runs": 0}).SerializeToString()
    )
    assert values == {"mean_us": 1000, "warmup_runs": 0}


@pytest.mark.parametrize(
    ("data", "stage", "words"),
    [
        (golden("result_dry_run.pb"), "run", "not one inference was timed"),
        (b"", "result", "holds no latency"),
        (golden("result_slow.pb")[:-1], "result", "it ends inside field 4"),
        (b"\x12\x05\x0d\x00", "result", "it ends inside field 2"),
        (b"\x12\x02\x0d\x00", "result", "it ends inside field 1"),
        (b"TFL3 not a protobuf", "result", "cannot be read"),
        (b"\xff" * 11, "result", "a number of more than 10 bytes"),
        (b"\x00\x00", "result", "field number 0"),
        (b"\x0f", "result", "wire type 7"),
        (b"\x4b", "result", "it ends inside group 9"),
        (b"\x4b\x54", "result", "wire type 4"),
    ],
)
def test_a_file_that_is_none_is_one_error(data: bytes, stage: str, words: str) -> None:
    with pytest.raises(RunnerFailed, match=words) as caught:
        read_result(data)
    assert caught.value.failure.stage == stage


def test_unknown_fields_are_skipped() -> None:
    known = golden("result_slow.pb")
    unknown = (
        b"\x0a\x03abc"  # 1, a string: the name
        b"\x28\x96\x01"  # 5, a varint
        b"\x35\x00\x00\x80\x3f"  # 6, four bytes
        b"\x39" + bytes(8) + b"\x4b\x50\x01\x53\x58\x01\x54\x4c"  # 7, eight bytes; 9, a group with a group in it
        b"\x10\x01"  # 2 as a varint: not the message it should be
    )
    assert read_result(unknown + known + unknown) == read_result(known)
    inside = message(latency={"avg_ms": 2}).SerializeToString()
    eleventh = b"\x5d\x00\x00\x80\x3f"  # a float that latency_metrics does not have today
    grown = b"\x12" + bytes([len(inside) - 2 + len(eleventh)]) + inside[2:] + eleventh
    assert read_result(grown) == {"mean_us": 2000}


def test_a_later_part_adds_to_an_earlier_one() -> None:
    parts = [message(latency=part).SerializeToString() for part in ({"avg_ms": 1, "min_ms": 1}, {"avg_ms": 3})]
    assert read_result(b"".join(parts)) == {"mean_us": 3000, "min_us": 1000}


def test_a_negative_deviation_is_left_out_and_negative_memory_is_not() -> None:
    made = message(latency={"avg_ms": 1, "stddev_ms": -9.2e15}, memory={"init_footprint_kb": -40})
    assert read_result(made.SerializeToString()) == {"mean_us": 1000, "memory_init_bytes": -40 * 1024}


_FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=0)


@given(
    st.fixed_dictionaries({"avg_ms": _FLOAT32}, optional={name: _FLOAT32 for name in LATENCY if name != "avg_ms"}),
    st.dictionaries(st.sampled_from(["init_footprint_kb", "overall_footprint_kb"]), st.integers(-(2**40), 2**40)),
    st.dictionaries(st.sampled_from(["num_runs", "num_warmup_runs"]), st.integers(1, 2**31 - 1)),
    st.none() | st.text(max_size=200),
)
def test_what_protobuf_writes_is_read(
    latency: dict[str, float], memory: dict[str, int], misc: dict[str, int], name: str | None
) -> None:
    values = read_result(message(name=name, latency=latency, memory=memory, misc=misc).SerializeToString())
    assert set(values) == {LATENCY[field] for field in latency} | {
        {"init_footprint_kb": "memory_init_bytes", "overall_footprint_kb": "memory_overall_bytes"}[k] for k in memory
    } | {field.removeprefix("num_") for field in misc}
    for field, milliseconds in latency.items():
        # The decimal that was read means the same float32.
        assert struct.pack("<f", values[LATENCY[field]] / 1000) == struct.pack("<f", milliseconds)
    for field, kib in memory.items():
        assert values["memory_" + field.split("_")[0] + "_bytes"] == kib * 1024
    for field, count in misc.items():
        assert values[field.removeprefix("num_")] == count


@given(st.integers(0, len(golden("result_slow.pb"))))
def test_a_truncated_file_fails_in_one_way(size: int) -> None:
    whole = read_result(golden("result_slow.pb"))
    values = attempt(golden("result_slow.pb")[:size])
    if isinstance(values, Failure):
        assert values.stage == "result"
    else:  # cut between two parts: nobody can tell
        assert values == {name: whole[name] for name in values}


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda end: golden("result_slow.pb") + end))
def test_any_bytes_fail_in_one_way(data: bytes) -> None:
    values = attempt(data)
    assert "\n" not in values.message if isinstance(values, Failure) else "mean_us" in values
