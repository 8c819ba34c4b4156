"""Results of a bundle taken back: checked against what was asked, made into measurements like any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import devices.targets
from devices import exchange, roofline, verdicts
from devices.device import Answer, RunnerFailed
from devices.fidelity import Fidelity, judged
from devices.fidelity import tolerance as tolerance_of
from devices.ios.bundle import SCHEMA
from devices.programs.benchmark_model import outputs
from toolkit import store
from toolkit.errors import BrokenInput, EdgeExportError
from toolkit.records import Conditions, Failure, Measurement, Plan, ProcessRun, Target, from_json

HOT = ("serious", "critical")
"""Thermal states in which the system slows itself down (Apple, ProcessInfo.ThermalState)."""


def measurements(folder: Path) -> list[Measurement]:
    """The measurements in a bundle that has been run.

    Raises:
        BrokenInput: no bundle, no results, or a model or job that is not the one that was written.
    """
    manifest = _manifest(folder)
    results = folder / "results"
    if not results.is_dir():
        raise BrokenInput("holds no results", where=str(folder), remedy="run run.sh in it on a Mac first")
    udid = _text(results / "device") or "unknown"
    models = {m["name"]: folder / "models" / f"{m['sha256']}.tflite" for m in manifest["models"]}
    plan = from_json(Plan, manifest["plan"])
    check = Fidelity(devices.targets.open("cpu"), list(models.items()), seed=manifest["seed"])
    found = []
    for number, model in enumerate(manifest["models"]):
        for delegate in manifest["delegates"]:
            jobs = [j for j in manifest["jobs"] if j["model"] == number and j["delegate"] == delegate]
            found.append(_one(folder, model, delegate, jobs, plan, manifest, udid, check))
    return found


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise BrokenInput(
            "is no bundle of edge-export ios bundle", where=str(folder), remedy="give the bundle's folder"
        )
    manifest = store.read_json(path)
    try:
        if manifest["schema"] != SCHEMA:
            raise BrokenInput(f"is of schema {manifest['schema']}, not {SCHEMA}", where=str(path))
        files = [(f"models/{m['sha256']}.tflite", m["sha256"], f"model {m['name']}") for m in manifest["models"]]
        files += [(f"jobs/{j['name']}/plan.json", j["sha256"], f"job {j['name']}") for j in manifest["jobs"]]
        for name, digest, what in files:
            file = folder / name
            if not file.is_file() or store.sha256_file(file) != digest:
                raise BrokenInput(
                    f"{what} is not the one that was bundled", where=str(file), remedy="make the bundle again"
                )
    except (KeyError, TypeError) as error:
        raise BrokenInput(f"is no bundle's manifest ({error})", where=str(path)) from error
    return manifest


def _one(
    folder: Path,
    model: Mapping[str, Any],
    delegate: str,
    jobs: list[dict[str, Any]],
    plan: Plan,
    manifest: Mapping[str, Any],
    udid: str,
    check: Fidelity,
) -> Measurement:
    path = folder / "models" / f"{model['sha256']}.tflite"
    runs: list[ProcessRun] = []
    failure: Failure | None = None
    says: list[str] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    known: dict[str, Any] = {}
    fidelity: dict[str, Any] | None = None
    for job in jobs:
        where = folder / "results" / job["name"]
        try:
            result = exchange.read_result(where, where=str(path))
            says += _says(result)
            before = before or dict(result.get("conditions_before") or {})
            after = dict(result.get("conditions_after") or {})
            known = {k: result[k] for k in ("runtime", "runtime_version", "delegation_unknown") if k in result}
            if job["job"] == "time":
                runs.append(exchange.read_timed(result, {}, where=str(path), round=job["round"], at=_time(result)).run)
            else:
                answer = _answer(where, result, path)
                fidelity = _compared(check, path, answer, delegate)
        except RunnerFailed as error:
            failure = failure or error.failure
        except EdgeExportError as error:
            failure = failure or Failure(stage="result", message=str(error))
    if fidelity is not None and not fidelity["kernels"]["passed"] and failure is None:
        what = f"it answers otherwise than this machine ({'; '.join(fidelity['kernels']['reasons'])})"
        failure = Failure(stage="answers", message=what)
    floor = roofline.floor_us(path, manifest["threads"])
    verdict, reasons = verdicts.judge(runs, failure=failure, floor_us=floor, device_says=says)
    return Measurement(
        recipe=model["name"],
        artifact_sha256=model["sha256"],
        target=Target(
            name=f"ios:{udid}" + ("" if delegate == "cpu" else f"/{delegate}"),
            platform="ios-arm64",
            runtime=str(known.get("runtime", "TensorFlowLiteC")),
            runtime_version=str(known.get("runtime_version", "unknown")),
            delegate={"cpu": "xnnpack", "metal": "metal", "coreml": "coreml"}[delegate],
            accelerator={"cpu": None, "metal": "GPU", "coreml": "Neural Engine"}[delegate],
            threads=manifest["threads"],
        ),
        plan=plan,
        runs=tuple(runs),
        delegated_ops=None,
        partitions=None,
        conditions=Conditions(before=before, after=after),
        verdict=verdict,
        reasons=reasons,
        failure=failure,
        provenance={**known, "floor_us": floor, "fidelity": fidelity, "seed": manifest["seed"], "transport": "bundle"},
    )


def _says(result: Mapping[str, Any]) -> list[str]:
    """What the phone says against its own measurement."""
    found = []
    for when in ("before", "after"):
        state = (result.get(f"conditions_{when}") or {}).get("thermal_state")
        if state in HOT:
            found.append(f"the device says: thermal state {state} {when} a job")
    if (result.get("conditions_before") or {}).get("low_power_mode"):
        found.append("the device says: it is in low power mode")
    if (result.get("conditions_before") or {}).get("debugger"):
        raise BrokenInput("a debugger was attached: its times mean nothing", remedy="run run.sh, and not Xcode")
    return list(dict.fromkeys(found))


def _answer(folder: Path, result: dict[str, Any], path: Path) -> Answer:
    try:
        told = outputs(folder, path)
    except (OSError, ValueError, LookupError) as error:
        raise exchange.unreadable(str(path), "", error) from error
    n = _count(folder, told)
    return exchange.read_answer(folder, {**result, **told}, {}, where=str(path), n=n)


def _count(folder: Path, told: Mapping[str, Any]) -> int:
    import numpy as np

    with np.load(folder / "outputs.npz") as stored:
        return len(stored[told["outputs"][0]["key"]])


def _compared(check: Fidelity, path: Path, answer: Answer, delegate: str) -> dict[str, Any]:
    """The phone's answers against this machine's, as for every device; Metal and Core ML compute in 16 bits."""
    precision = "fp16" if delegate != "cpu" else "fp32"
    kernels = judged(check.of_host(path), answer, tolerance_of(path, precision))
    return {
        "inputs": len(next(iter(answer.raw.values()))),
        "kernels": kernels,
        "model": None,
        "unknown": {"model": "not asked of a bundle"},
    }


def _time(result: Mapping[str, Any]) -> str:
    return str((result.get("conditions_before") or {}).get("time", ""))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
