"""Reading what Google's benchmark_model prints: one recording for each shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.device import RunnerFailed
from devices.programs.google_text import MIB, read_text

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"
GPU_RUN = {
    "runs": 309,
    "mean_us": 3234.17,
    "min_us": 3098,
    "max_us": 3922,
    "std_us": 88,
    "p5_us": 3141,
    "median_us": 3224,
    "p95_us": 3398,
    "warmup_runs": 152,
    "warmup_us": 3288.43,
    "first_us": 9874,
    "init_us": 412873,
    "memory_init_bytes": 78.5 * MIB,
    "memory_overall_bytes": 96.25 * MIB,
}


def golden(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


def test_without_prefix_and_percentiles() -> None:
    values = read_text(golden("classic_plain.txt")).values
    assert values == {
        "runs": 54,
        "mean_us": 18301.9,
        "min_us": 17988,
        "max_us": 19120,
        "std_us": 214,
        "warmup_runs": 27,
        "warmup_us": 18844.6,
        "first_us": 24310,
        "init_us": 9412,
        "memory_init_bytes": 4.07422 * MIB,
        "memory_overall_bytes": 11.5312 * MIB,
    }


def test_the_older_wording_of_memory() -> None:
    values = read_text(golden("classic_peak_wording.txt")).values
    assert (values["memory_init_bytes"], values["memory_overall_bytes"]) == (0, 12.8672 * MIB)
    assert "memory_peak_bytes" not in values


def test_the_oldest_summary() -> None:
    values = read_text(golden("classic_oldest.txt")).values
    assert (values["mean_us"], values["runs"]) == (88231.7, 50)
    assert (values["init_us"], values["warmup_us"], values["first_us"]) == (5311, 91022.4, 101477)
    assert "memory_init_bytes" not in values


def test_scientific_numbers_and_the_peak_of_memory() -> None:
    values = read_text(golden("classic_info_slow.txt")).values
    assert (values["mean_us"], values["median_us"]) == (4.69509e6, 4689730)
    assert (values["first_us"], values["warmup_us"], values["warmup_runs"]) == (5334923, 5.33492e6, 1)
    assert values["memory_init_bytes"] == 10.125 * MIB
    assert values["memory_peak_bytes"] == 31.25 * MIB


def test_all_the_same() -> None:
    values = read_text(golden("classic_all_same.txt")).values
    assert values["runs"] == 3
    assert {values[f"{name}_us"] for name in ("mean", "min", "max", "p5", "median", "p95")} == {2}
    assert values["std_us"] == 0
    # Without a warm-up the tool prints 0 for a first inference that never was.
    assert values["warmup_runs"] == 0
    assert not {"first_us", "warmup_us"} & set(values)


def test_one_run() -> None:
    values = read_text(golden("classic_one_run.txt")).values
    assert (values["runs"], values["mean_us"], values["median_us"], values["std_us"]) == (1, 7, 7, 0)
    assert (values["warmup_runs"], values["first_us"], values["init_us"]) == (1, 61, 208)


@pytest.mark.parametrize(
    "name",
    [
        "classic_gpu_all.txt",
        "classic_gpu_some.txt",
        "logcat_brief.txt",
        "logcat_tag.txt",
        "logcat_time.txt",
        "logcat_threadtime.txt",
        "logcat_year_uid.txt",
        "logcat_two_runs.txt",
        "console_and_logcat.txt",
    ],
)
def test_every_prefix_gives_the_same_figures(name: str) -> None:
    assert read_text(golden(name)).values == GPU_RUN
    assert read_text(golden(name).replace("\n", "\r\n")).values == GPU_RUN


def test_apples_unified_log() -> None:
    read = read_text(golden("apple_unified_log.txt"), delegate="gpu")
    assert (read.values["mean_us"], read.values["first_us"]) == (24300.5, 30001)
    assert (read.delegation.share, read.delegation.partitions) == ("some", 1)


def test_litert_with_both_streams() -> None:
    values = read_text(golden("litert_cpu.stdout.txt"), golden("litert_cpu.stderr.txt")).values
    # In µs from stdout, where LiteRT's block on stderr has hundredths of a millisecond.
    assert (values["mean_us"], values["median_us"], values["p95_us"]) == (5021.37, 5010, 5122)
    assert (values["first_us"], values["warmup_us"], values["runs"]) == (8531, 5080.12, 199)
    assert values["init_us"] == pytest.approx(66220)
    assert (values["memory_init_bytes"], values["memory_overall_bytes"]) == (18.5 * MIB, 32.25 * MIB)
    assert "memory_peak_bytes" not in values


def test_litert_on_one_console() -> None:
    values = read_text(golden("litert_gpu_console.txt")).values
    assert (values["mean_us"], values["min_us"], values["runs"]) == (5021.37, 4981, 199)
    assert values["memory_peak_bytes"] == 40.75 * MIB


def test_litert_block_alone() -> None:
    values = read_text("", golden("litert_block_only.txt")).values
    assert (values["runs"], values["warmup_runs"]) == (199, 99)
    expected = {"mean": 5020, "min": 4980, "max": 5530, "std": 60, "first": 8530, "warmup": 5080, "init": 66220}
    assert {name: values[f"{name}_us"] for name in expected} == pytest.approx(expected)
    assert not {"median_us", "p5_us", "p95_us"} & set(values)
    assert values["memory_peak_bytes"] == 40.75 * MIB


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("classic_unconsumed.txt", "flags", "the program does not know --result_file_path=/data/local/tmp/result.pb"),
        ("classic_no_model.txt", "init", "Failed to load model /data/local/tmp/absent.tflite"),
        ("classic_gpu_refused.txt", "init", "Disallowed CPU fallback detected."),
        ("classic_killed.txt", "run", "the output ends in stage 'run', before any result"),
        ("classic_dry_run.txt", "run", "not one inference was timed"),
        ("litert_failed.txt", "init", "Failed to load model."),
        ("litert_no_runs.txt", "run", "not one inference was timed"),
    ],
)
def test_output_without_a_result(name: str, stage: str, message: str) -> None:
    with pytest.raises(RunnerFailed) as caught:
        read_text(golden(name))
    assert (caught.value.failure.stage, caught.value.failure.message) == (stage, message)
    assert golden(name).rstrip().endswith(caught.value.failure.stderr_tail[-50:])


def test_an_unknown_flag_is_an_error_though_the_run_went_on() -> None:
    without = golden("classic_unconsumed.txt").replace("WARN: Unconsumed cmdline flags: ", "WARN: Ignored: ")
    assert read_text(without).values == GPU_RUN
    for output in (
        golden("classic_unconsumed.txt"),
        golden("classic_unconsumed.txt").replace("WARN: ", ""),
        "W tflite  : Unconsumed cmdline flags: --foo=1 bar\n" + golden("logcat_tag.txt"),
    ):
        with pytest.raises(RunnerFailed, match="does not know") as caught:
            read_text(output)
        assert caught.value.failure.stage == "flags"


def test_a_line_without_its_end_is_not_believed() -> None:
    whole = golden("classic_plain.txt")
    at = whole.rindex("avg=18301.9 std=214")
    with pytest.raises(RunnerFailed) as caught:
        read_text(whole[: at + len("avg=18301.9 std=2")])
    assert caught.value.failure.stage == "run"


def test_a_count_line_in_a_shape_nobody_knows_is_shown() -> None:
    with pytest.raises(RunnerFailed, match="cannot be read: count=5 mean=3"):
        read_text("count=1 curr=5\ncount=5 mean=3\n")
    with pytest.raises(RunnerFailed, match="3 count= lines in one run"):
        read_text("STARTING!\n" + "count=1 curr=5\n" * 3)


def test_a_standard_deviation_below_zero_is_left_out() -> None:
    lines = golden("classic_plain.txt").replace("std=214", "std=-9223372036854775808")
    values = read_text(lines).values
    assert "std_us" not in values
    assert values["mean_us"] == 18301.9
