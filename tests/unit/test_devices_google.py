"""One result from the pieces that benchmark_model leaves."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from fakes.benchmark_result import message
from hypothesis import given
from hypothesis import strategies as st

from devices.device import RunnerFailed
from devices.programs.google import GoogleResult, read_google
from devices.programs.google_text import MIB
from toolkit.errors import UsageError
from toolkit.records import Failure

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"


def text(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


def data(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def attempt(**pieces: Any) -> GoogleResult | Failure:
    try:
        return read_google("classic", **pieces)
    except RunnerFailed as error:
        return error.failure


def check_reasons(result: GoogleResult) -> None:
    """Every field without a value has its reason, and no other field has one."""
    absent = {field.name for field in fields(result) if getattr(result, field.name) is None} - {"fallback"}
    assert set(result.missing) == absent
    assert all(result.missing.values())


def test_text_alone() -> None:
    result = read_google("classic", stdout=text("classic_plain.txt"))
    assert (result.kind, result.mean_us, result.runs, result.warmup_runs) == ("classic", 18301.9, 54, 27)
    assert (result.median_us, result.p95_us) == (None, None)
    assert "no percentiles" in result.missing["median_us"]
    assert result.memory_init_bytes == round(4.07422 * MIB)
    assert isinstance(result.memory_init_bytes, int)
    assert isinstance(result.runs, int)
    assert "--report_peak_memory_footprint" in result.missing["memory_peak_bytes"]
    check_reasons(result)


def test_the_result_file_is_preferred_and_text_fills_its_gaps() -> None:
    stdout = text("classic_info_slow.txt").replace("avg=4.69509e+06", "avg=4.6951e+06")
    result = read_google("classic", stdout=stdout, result=data("result_named_no_memory.pb"))
    assert result.mean_us == 4695090  # the file's; the text has six digits
    assert (result.median_us, result.std_us) == (4689730, 80214)
    assert result.memory_init_bytes == 10.125 * MIB  # the file has no memory
    assert (result.runs, result.warmup_runs) == (32, 1)
    check_reasons(result)


def test_the_result_file_alone() -> None:
    result = read_google("litert", result=data("result_slow.pb"))
    assert (result.median_us, result.init_us, result.memory_peak_bytes) == (4689730, 12397, 31.25 * MIB)
    assert (result.delegated, result.missing["delegated"]) == (None, "no text to read it from")
    check_reasons(result)
    bare = read_google("classic", result=data("result_latency_only.pb"))
    assert bare.runs is None
    check_reasons(bare)


def test_neither_samples_nor_p90_exist_anywhere() -> None:
    for result in (
        read_google("classic", stdout=text("classic_info_slow.txt"), result=data("result_slow.pb")),
        read_google("litert", stdout=text("litert_gpu_console.txt")),
    ):
        assert (result.samples_ns, result.p90_us) == (None, None)
        assert result.missing["samples_ns"] == "benchmark_model keeps no raw samples"
        assert "no p90" in result.missing["p90_us"]
        check_reasons(result)


def test_a_gpu_run_with_everything() -> None:
    result = read_google(
        "classic", stdout=text("classic_gpu_some.txt"), ops=text("profile_xnnpack.csv"), delegate="gpu"
    )
    assert (result.delegated, result.partitions, result.share, result.fallback) == ((29, 64), 1, "some", None)
    assert result.ops is not None
    assert [section.stage for section in result.ops] == ["initialization", "run"]
    check_reasons(result)


def test_a_run_that_fell_back_says_so() -> None:
    result = read_google("classic", stdout=text("classic_gpu_absent.txt"), delegate="gpu")
    assert (result.share, result.partitions, result.delegated) == ("none", 0, None)
    assert (result.fallback or "").startswith("The GPU delegate compile options are only supported on")
    assert "how many nodes" in result.missing["delegated"]
    check_reasons(result)


def test_litert() -> None:
    out, err = text("litert_cpu.stdout.txt"), text("litert_cpu.stderr.txt")
    result = read_google("litert", stdout=out, stderr=err, delegate="xnnpack")
    assert (result.median_us, result.delegated, result.memory_overall_bytes) == (5010, (66, 66), 32.25 * MIB)
    assert result.missing["ops"] == "LiteRT's benchmark_model writes no op profile as CSV"
    check_reasons(result)
    check_reasons(read_google("litert", stderr=text("litert_block_only.txt")))


def test_a_file_of_another_run_is_refused() -> None:
    with pytest.raises(RunnerFailed, match="32 runs and the text of 54: they are not of the same run") as caught:
        read_google("classic", stdout=text("classic_plain.txt"), result=data("result_slow.pb"))
    assert caught.value.failure.stage == "result"
    other = message(latency={"avg_ms": 1}, misc={"num_runs": 54, "num_warmup_runs": 3}).SerializeToString()
    with pytest.raises(RunnerFailed, match="3 warmup runs and the text of 27"):
        read_google("classic", stdout=text("classic_plain.txt"), result=other)


def test_a_good_file_does_not_excuse_a_failed_run() -> None:
    with pytest.raises(RunnerFailed, match="Disallowed CPU fallback"):
        read_google("classic", stdout=text("classic_gpu_refused.txt"), result=data("result_slow.pb"))


def test_a_clock_set_back_is_no_time() -> None:
    with pytest.raises(RunnerFailed, match="min_us is -3: the device's clock was set back"):
        read_google("classic", stdout=text("classic_plain.txt").replace("min=17988", "min=-3"))


def test_nothing_at_all_and_no_such_kind() -> None:
    with pytest.raises(RunnerFailed, match="before any result"):
        read_google("classic")
    with pytest.raises(UsageError, match="unknown kind of benchmark_model 'lite'"):
        read_google("lite", stdout=text("classic_plain.txt"))


@given(st.data())
def test_pieces_cut_anywhere_fail_in_one_way(draw: st.DataObject) -> None:
    def cut(whole: Any) -> Any:
        return whole[: draw.draw(st.integers(0, len(whole)))]

    result = attempt(
        stdout=cut(text("classic_info_slow.txt")),
        result=cut(data("result_slow.pb")),
        ops=cut(text("profile_xnnpack.csv")),
        delegate=draw.draw(st.sampled_from([None, "gpu", "xnnpack", "npu", "Hexagon"])),
    )
    if isinstance(result, Failure):
        assert result.stage
        assert result.message
    else:
        check_reasons(result)
