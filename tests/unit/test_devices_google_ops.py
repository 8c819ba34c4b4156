"""Reading benchmark_model's op profile."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.device import RunnerFailed
from devices.programs.google_ops import OpSection, read_ops
from toolkit.records import Failure

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"
PROFILES = sorted(path.name for path in GOLDEN.glob("*.csv"))
RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"
ROWS = "node type, first, avg_ms, %, cdf%, mem KB, times called, name"
TYPES = "node type, count, avg_ms, avg %, cdf %, mem KB, times called"


def golden(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


def attempt(text: str) -> tuple[OpSection, ...] | Failure:
    try:
        return read_ops(text)
    except RunnerFailed as error:
        return error.failure


def table(title: str, header: str, rows: list[str]) -> list[str]:
    return [f"{'=' * 30} {title} {'=' * 30}", header, *rows, ""]


def test_initialisation_and_runs_are_apart() -> None:
    init, run = read_ops(golden("profile_xnnpack.csv"))
    assert (init.stage, run.stage) == ("initialization", "run")
    assert {init.graph, run.graph} == {"primary"}
    assert [row.type for row in init.rows] == ["ModifyGraphWithDelegate", "AllocateTensors"]
    # The column divides by 1,000 what the profiler multiplied KiB by 1,000.
    assert init.rows[0].memory_bytes == 1840 * 1024
    assert [row.times_called for row in init.rows] == [1, 2]


def test_types_and_names_with_commas() -> None:
    run = read_ops(golden("profile_xnnpack.csv"))[1]
    assert [row.type for row in run.rows] == [
        "Convolution (NHWC, F32) IGEMM",
        "Fully Connected (NC, F32) GEMM",
        "TfLiteXNNPackDelegate",
        "SPLIT",
    ]
    assert run.rows[3].name == "[split, split:1, split:2]:7"
    first = run.rows[0]
    assert (first.first_us, first.mean_us, first.share) == pytest.approx((1310, 1287.04, 0.419083))
    assert first.memory_bytes == 0


def test_the_summary_by_type() -> None:
    run = read_ops(golden("profile_xnnpack.csv"))[1]
    assert [kind.type for kind in run.types][:2] == ["TfLiteXNNPackDelegate", "Convolution (NHWC, F32) IGEMM"]
    top = run.types[0]
    assert (top.count, top.times_called) == (1, 1)
    assert (top.mean_us, top.share) == pytest.approx((1380, 0.449536))


def test_several_subgraphs_and_the_insides_of_delegates() -> None:
    sections = read_ops(golden("profile_subgraphs.csv"))
    assert [section.graph for section in sections] == ["primary", "subgraph 1", "delegate"]
    assert {section.stage for section in sections} == {"run"}
    body, inside = sections[1:]
    assert [row.times_called for row in body.rows] == [8, 8]
    assert body.rows[0].mean_us == pytest.approx(0.01)
    assert body.rows[0].share is None  # of a total of 0 µs the tool prints -nan%
    assert (inside.types[0].type, inside.types[0].count) == ("DelegateOpInvoke", 2)


def test_what_tensorflows_own_code_prints() -> None:
    init, primary, body, inside = read_ops(golden("profile_tensorflow_2_21.csv"))
    assert [(row.mean_us, row.times_called) for row in init.rows] == [(4210, 1), (153, 2)]
    assert [kind.mean_us for kind in init.types] == [4210, 306]  # a row's mean is of a call, a type's of a run
    assert [row.name for row in primary.rows] == [
        "Delegate/Convolution (NHWC, F32) IGEMM:0",
        "[split, split:1, split:2]:7",
        "[probabilities]:64",
    ]
    assert (body.graph, [row.share for row in body.rows]) == ("subgraph 1", [None, None])
    assert (inside.graph, inside.rows[0].mean_us) == ("delegate", 1e6)


def test_the_older_table_with_a_start_column() -> None:
    (run,) = read_ops(golden("profile_with_start.csv"))
    assert [(row.type, row.first_us, row.mean_us) for row in run.rows] == [
        ("CONV_2D", 4269, 4269),
        ("SOFTMAX", 2846, 2846),
    ]


@pytest.mark.parametrize("size", ["1e308", "-1e308"])
def test_a_size_beyond_all_numbers_is_one_error(size: str) -> None:
    text = golden("profile_xnnpack.csv")
    row = next(line for line in text.split("\n") if line.count(",") == ROWS.count(",") and "node type" not in line)
    cells = row.split(",")
    cells[5] = f" {size}"
    failed = attempt(text.replace(row, ",".join(cells)))
    assert isinstance(failed, Failure)
    assert "mem KB" in failed.message


def test_sections_and_tables_nobody_knows_are_skipped() -> None:
    whole = golden("profile_xnnpack.csv")
    extra = "\n".join(["Something new:", *table("Top by Novelty", "node type, novelty", ["ADD, 3, 4, 5"]), ""])
    at = whole.index(RUNS)
    assert read_ops(extra + whole[:at] + extra + whole[at:] + extra) == read_ops(whole)
    assert read_ops("INFO: " + whole) == read_ops(whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "no profile of the runs"),
        (lambda text: text[: text.index(RUNS)], "no profile of the runs"),
        (lambda text: text.replace("Number of nodes executed: 4", "Number of nodes executed: 5"), "were cut off"),
        (lambda text: text[: text.rindex("SPLIT, 1")], "run, primary, were cut off"),
        (lambda text: text.replace("SPLIT, 0.006, 0.00563", "SPLIT, 0.006, fast"), "fast"),
        (lambda text: text.replace("SPLIT, 0.006, 0.00563", "SPLIT, 0.006, inf"), "avg_ms is inf"),
        (
            lambda text: text.replace("SPLIT, 0.006, 0.00563, 0.18333%, 100%, 0, 1, ", "SPLIT, "),
            "cells where the header",
        ),
        (lambda text: text.replace("times called", "calls"), "without the column 'times called'"),
    ],
)
def test_a_profile_that_is_none_is_one_error(change: object, words: str) -> None:
    assert callable(change)
    with pytest.raises(RunnerFailed, match=words) as caught:
        read_ops(change(golden("profile_xnnpack.csv")))
    assert caught.value.failure.stage == "profile"
    assert "\n" not in str(caught.value)


_TYPE = st.from_regex(r"[A-Za-z0-9_(][A-Za-z0-9_,/() ]{0,20}[A-Za-z0-9_)]", fullmatch=True)
_TENSOR = st.from_regex(r"[A-Za-z0-9_/:;.]{1,12}", fullmatch=True)
_MS = st.floats(0, 1e5)


@given(st.lists(st.tuples(_TYPE, _MS, _MS, st.lists(_TENSOR, min_size=1, max_size=3), st.integers(1, 99)), min_size=1))
def test_any_printed_rows_come_back(nodes: list[tuple[str, float, float, list[str], int]]) -> None:
    rows, types, names = [], [], []
    for index, (kind, first, mean, tensors, called) in enumerate(nodes):
        names.append(f"[{', '.join(tensors)}]:{index}")
        written = names[-1].replace(",", "\t")
        rows.append(f"{kind}, {first:g}, {mean:g}, 12.5%, 50%, 0, {called}, {written}")
        types.append(f"{kind}, 1, {mean:g}, 12.5%, 50%, 0, {called}")
    text = [RUNS, *table("Run Order", ROWS, rows), f"Number of nodes executed: {len(rows)}"]
    (section,) = read_ops("\n".join([*text, *table("Summary by node type", TYPES, types)]) + "\n")
    assert [row.name for row in section.rows] == names
    assert [row.type for row in section.rows] == [kind.type for kind in section.types] == [node[0] for node in nodes]
    for row, (_, first, mean, _, called) in zip(section.rows, nodes, strict=True):
        assert (row.first_us, row.mean_us) == pytest.approx((first * 1000, mean * 1000), rel=1e-5)
        assert (row.times_called, row.share) == (called, 0.125)


@given(st.sampled_from(PROFILES), st.data())
def test_a_truncated_profile_fails_in_one_way(name: str, data: st.DataObject) -> None:
    whole = golden(name)
    read = attempt(whole[: data.draw(st.integers(0, len(whole)))])
    if isinstance(read, Failure):
        assert read.stage == "profile"
    else:  # whole sections, if not all
        assert read == read_ops(whole)[: len(read)]


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_fails_in_one_way(text: str) -> None:
    assert isinstance(attempt(text), Failure)
    damaged = golden("profile_with_start.csv").replace("SOFTMAX", text, 1)
    read = attempt(damaged)
    assert isinstance(read, Failure) or len(read) == 1
