"""A stand-in for the app: it does a bundle's jobs by the contract of Job.swift, with this machine's interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def run(folder: Path, *, thermal: str = "nominal", debugger: bool = False, add: float = 0.0) -> None:
    """Fills ``results/`` as run.sh does."""
    results = folder / "results"
    results.mkdir()
    (results / "device").write_text("00008110-000123\n")
    for job in sorted((folder / "jobs").iterdir()):
        where = results / job.name
        where.mkdir()
        plan = json.loads((job / "plan.json").read_text())
        result = {
            "conditions_before": conditions("nominal", debugger),
            "conditions_after": conditions(thermal, debugger),
        }
        result |= {"status": "done", "runtime": "TensorFlowLiteC", "runtime_version": "2.17.0", "init_us": 900.0}
        result |= {"delegated_ops": None, "partitions": None, "ops_left": None, "delegation_unknown": "not listed"}
        result |= {"memory": {"bytes": 5_000_000, "kind": "phys_footprint"}}
        result |= times(plan) if plan["job"] == "time" else answers(folder, job, plan, where, add)
        (where / "result.json").write_text(json.dumps(result))


def conditions(state: str, debugger: bool) -> dict[str, Any]:
    known = {"thermal_state": state, "low_power_mode": False, "os": "iOS 17.5", "machine": "iPhone14,2"}
    return {**known, "debugger": debugger, "time": "2026-11-25T10:00:00Z"}


def times(plan: dict[str, Any]) -> dict[str, Any]:
    samples = 50_000 * (1 + 0.01 * np.random.default_rng(1).standard_normal(plan["min_samples"]).clip(-3, 3))
    steady = {"warmup_inferences": 20, "warmup_steady": True, "batch_k": 20, "doubling_ratio": 2.0}
    return {"first_us": 200.0, "samples_ns": samples.tolist(), **steady}


def answers(folder: Path, job: Path, plan: dict[str, Any], where: Path, add: float) -> dict[str, Any]:
    interpreter = Interpreter(str(folder / "models" / plan["model"]))
    interpreter.allocate_tensors()
    details = {d["name"]: d for d in interpreter.get_input_details()}
    data, size = (job / "inputs.bin").read_bytes(), sum(i["bytes"] for i in plan["inputs"])
    out = b""
    for start in range(0, len(data), size):
        at = start
        for each in plan["inputs"]:
            detail = details[each["tensor"]]
            array = np.frombuffer(data[at : at + each["bytes"]], detail["dtype"]).reshape(detail["shape"])
            interpreter.set_tensor(detail["index"], array)
            at += each["bytes"]
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            value = interpreter.get_tensor(detail["index"])
            out += (value + np.float32(add) if value.dtype == np.float32 else value).tobytes()
    (where / "outputs.bin").write_bytes(out)
    return {"seconds": 0.01}
