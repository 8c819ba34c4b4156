"""Android phones that are not there: ARM programs behind the real adb, two at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.command import Done

from emulated.conftest import up


@pytest.mark.slow
def test_two_phones_of_one_model_side_by_side(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any], tmp_path: Path
) -> None:
    phones = up("android")
    text = "".join(f'[[devices]]\nname = "{i}"\ntarget = "{p["name"]}"\n' for i, p in enumerate(phones))
    (tmp_path / "fleet.toml").write_text(text)
    files = (tiny_models["dense"].int8, tiny_models["dense"].float32)
    done = edge_export("bench", *files, "--fleet", "fleet.toml", "--run-dir", "run", "--profile", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["measurements"]
    assert len(rows) == 2 * len(phones)
    for row in rows:
        assert row["emulated"]
        assert row["verdict"] != "failed"
        assert row["fidelity"]["kernels"]["passed"]
        assert row["runtime"]["platform"] == "android-aarch64"
        assert row["conditions"]["before"]["thermal_status"] == 0
        profile = row["provenance"]["profile"]
        assert any("Fully Connected" in op["op"] for op in profile), row["provenance"]["profile_unknown"]
    int8 = [row for row in rows if row["recipe"] == "int8"]
    assert all(row["fidelity"]["kernels"]["lsb"] == {"0": 80} for row in int8)
    again = edge_export("bench", *files, "--fleet", "fleet.toml", "--run-dir", "run", "--json")
    assert "on 0 devices" in again.err


@pytest.mark.slow
def test_big_cores_are_asked_for(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    """The emulated phone's big cores, 2 and 3, may be none of this machine's: then the runner says so."""
    name = up("android")[0]["name"]
    done = edge_export("bench", tiny_models["dense"].int8, "--target", f"{name},cores=big", "--json")
    (row,) = json.loads(done.out)["measurements"]
    if (os.cpu_count() or 1) < 4:
        assert row["failure"]["message"] == "these cores cannot be had"
    else:
        assert row["verdict"] != "failed"
