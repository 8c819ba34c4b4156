"""Profiles of operators: LiteRT's table, read; and taken for real on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import devices.targets
from devices import profile, runtimes
from devices.runtimes import OLDEST
from toolkit.errors import DeviceError

GOLDEN = Path(__file__).parent.parent / "golden" / "litert_profile.txt"


def test_the_table_is_read_in_the_order_of_the_run() -> None:
    found = profile.rows(GOLDEN.read_text(encoding="utf-8"))
    assert [row["op"] for row in found][:3] == [
        "Delegate/Static Reshape (NC)",
        "Delegate/Convolution (NHWC, QC8) IGEMM",
        "Delegate/Max Pooling (NHWC, S8)",
    ]
    assert found[-1]["op"] == "SOFTMAX"
    assert found[-1]["name"] == "[Builtin]:8"
    assert sum(row["share"] for row in found) == pytest.approx(1, abs=0.01)
    assert {row["calls"] for row in found} == {50}


@pytest.mark.parametrize("text", ["", "Run Order", "=== Run Order ===\n [node type] [start]\n"])
def test_no_table_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no operators"):
        profile.rows(text)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="the native runner is for Linux and Android")
def test_a_real_profile() -> None:
    found, why = profile.of(devices.targets.open("cpu:xnnpack=off"), runtimes.PROBE)
    assert why is None
    assert found is not None
    assert [row["op"] for row in found] == ["ADD"]
    assert found[0]["calls"] == profile.RUNS


def test_where_there_is_none_the_reason_is_said() -> None:
    bare = SimpleNamespace(target=SimpleNamespace(name="moon"))
    assert profile.of(bare, runtimes.PROBE) == (None, "target moon has no profile of operators")

    def broken(model: Path) -> None:
        raise DeviceError("no profiler")

    assert profile.of(SimpleNamespace(target=bare.target, profile=broken), runtimes.PROBE) == (None, "no profiler")
    if runtimes.exact(*OLDEST):
        found, why = profile.of(devices.targets.open(f"cpu:runtime={'=='.join(OLDEST)}"), runtimes.PROBE)
        assert found is None
        assert "has no profiler" in str(why)
