"""How much of a graph a delegate took, from the lines of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.programs.google_delegation import Delegation, read_delegation
from devices.programs.google_log import Line, read_lines

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"


def said(*lines: str, delegate: str | None = None, subgraph: int = 0) -> Delegation:
    return read_delegation([Line("INFO", line) for line in lines], delegate=delegate, subgraph=subgraph)


def recorded(name: str, delegate: str | None, subgraph: int = 0) -> Delegation:
    lines = read_lines((GOLDEN / name).read_text(encoding="utf-8"))
    return read_delegation(lines, delegate=delegate, subgraph=subgraph)


@pytest.mark.parametrize(
    ("name", "delegate", "delegated", "partitions", "share"),
    [
        ("classic_gpu_all.txt", "gpu", (31, 31), 1, "all"),
        ("classic_gpu_all.txt", None, (31, 31), 1, "all"),
        ("classic_gpu_some.txt", "gpu", (29, 64), 1, "some"),
        # The second delegate counts the first one's kernel as a node: 36 are 64 - 29 + 1.
        ("classic_gpu_some.txt", "xnnpack", (30, 64), 4, "some"),
        ("classic_gpu_some.txt", None, (59, 64), 5, "some"),
        ("classic_gpu_none.txt", "gpu", (0, 64), 0, "none"),
        ("classic_xnnpack_some.txt", "xnnpack", (60, 64), 3, "some"),
        ("logcat_threadtime.txt", "gpu", (62, 64), 1, "some"),
        ("litert_cpu.stderr.txt", "xnnpack", (66, 66), 1, "all"),
        ("litert_cpu.stderr.txt", None, (66, 66), 1, "all"),
        ("litert_gpu_absent.stderr.txt", "gpu", (0, 66), 0, "none"),
    ],
)
def test_counts(name: str, delegate: str | None, delegated: tuple[int, int], partitions: int, share: str) -> None:
    found = recorded(name, delegate)
    assert (found.delegated, found.partitions, found.share) == (delegated, partitions, share)
    assert found.missing == {}


def test_an_odd_number_of_partitions_says_nothing_of_the_delegates_own() -> None:
    found = recorded("litert_gpu_console.txt", "gpu")
    assert (found.delegated, found.partitions, found.share) == ((366, 370), None, "some")
    assert found.missing == {"partitions": "the output counts 3 partitions, the delegate's and the CPU's together"}
    found = recorded("classic_xnnpack_some.txt", "xnnpack", subgraph=1)
    assert (found.delegated, found.partitions) == ((5, 7), None)


def test_a_share_without_counts() -> None:
    line = "Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate."
    found = said(line, delegate="gpu")
    assert (found.delegated, found.partitions, found.share) == (None, 1, "all")
    assert found.missing == {"delegated": "the output does not say how many nodes the delegate took"}
    assert said(line, delegate="xnnpack").share is None
    found = said("Replacing 3 node(s) with delegate (TfLiteNnapiDelegate) node.", delegate="npu")
    assert (found.delegated, found.share) == (None, None)  # an old wording without the number of all nodes


def test_nothing_said() -> None:
    found = said("Loaded model m", "count=1 curr=3")
    assert (found.delegated, found.partitions, found.share, found.fallback) == (None, None, None, None)
    assert set(found.missing) == {"delegated", "partitions"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("classic_gpu_absent.txt", "The GPU delegate compile options are only supported on Android or iOS platforms"),
        ("classic_gpu_none.txt", "No operations will run on the GPU, and all 64 operations will run on the CPU."),
        ("litert_gpu_absent.stderr.txt", "GPU accelerator could not be loaded and registered."),
    ],
)
def test_a_run_that_fell_back_to_the_cpu_is_recognised(name: str, line: str) -> None:
    found = recorded(name, "gpu")
    assert found.share == "none"
    assert (found.fallback or "").startswith(line)
    # Whoever wanted the CPU has not fallen back to it.
    assert recorded(name, "xnnpack").fallback is None


@pytest.mark.parametrize(
    "line",
    [
        "GPU acceleration is unsupported on this platform.",
        "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.",
        "GPU accelerator registration disabled.",
    ],
)
def test_each_wording_of_a_fall_back(line: str) -> None:
    found = said(line, delegate="gpu")
    assert (found.share, found.partitions, found.fallback, found.delegated) == ("none", 0, line, None)


def test_a_gpu_that_ran_has_no_fall_back() -> None:
    for name in ("classic_gpu_all.txt", "classic_gpu_some.txt", "litert_gpu_console.txt"):
        assert recorded(name, "gpu").fallback is None


def test_a_delegate_applied_again_counts_once() -> None:
    line = (
        "Replacing 6 out of 9 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions for the graph."
    )
    assert said(line, line, delegate="xnnpack").delegated == (6, 9)
    assert said(line, line, delegate="xnnpack").partitions == 1
