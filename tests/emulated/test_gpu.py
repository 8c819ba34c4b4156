"""The GPU target on a software adapter: real accelerator code, real shaders, times that mean nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fakes.command import Done

from emulated.conftest import up

pytestmark = pytest.mark.slow


def test_the_gpu_answers_as_the_cpu_does(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    up("gpu")
    files = (tiny_models["dense"].float32, tiny_models["dense"].int8)
    done = edge_export("bench", *files, "--target", "gpu", "--json")
    assert done.code == 0, done.err
    for row in json.loads(done.out)["measurements"]:
        taken, of = row["delegated_ops"]
        assert (taken, row["emulated"], row["fidelity"]["kernels"]["passed"]) == (of, True, True)
        assert "SwiftShader" in row["runtime"]["accelerator"]
        provenance = row["provenance"]
        assert provenance["precision"] == "fp32"
        assert row["init_us"] > 0
        assert provenance["warm_init_us"] > 0
        assert provenance["ops_left"] == []


def test_a_graph_that_the_gpu_does_not_take_is_a_record(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any]
) -> None:
    """It computes a shape at run time, which no GPU delegate takes."""
    up("gpu")
    done = edge_export("bench", tiny_models["conv"].float32, tiny_models["dense"].float32, "--target", "gpu", "--json")
    assert done.code == 1
    first, second = json.loads(done.out)["measurements"]
    assert "only supports static-sized tensors" in first["failure"]["message"]
    assert second["verdict"] != "failed"


def test_precisions_are_two_targets(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    up("gpu")
    targets = ("--target", "gpu:precision=fp16", "--target", "gpu:precision=fp32")
    done = edge_export("bench", tiny_models["dense"].float32, *targets, "--json")
    assert done.code == 0, done.err
    rows = {row["target"]: row for row in json.loads(done.out)["measurements"]}
    assert {name: row["provenance"]["precision"] for name, row in rows.items()} == {
        "gpu:precision=fp16": "fp16",
        "gpu:precision=fp32": "fp32",
    }


def test_a_wrong_precision_is_told(edge_export: Callable[..., Done], tiny_models: dict[str, Any]) -> None:
    up("gpu")
    done = edge_export("bench", tiny_models["dense"].float32, "--target", "gpu:precision=int8")
    assert (done.code, "write precision=fp32 or fp16" in done.error) == (2, True)
