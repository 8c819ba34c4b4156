"""Everything that a Mac needs to measure files on an iPhone: the app's project, the models, the jobs, a script."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange, feeds, harness
from devices.programs.benchmark_model import tensors
from toolkit import store
from toolkit.errors import UsageError
from toolkit.records import Plan, to_json

APP = Path(__file__).parent / "app"
SCRIPT = Path(__file__).parent / "run.sh"
DELEGATES = ("cpu", "metal", "coreml")
SCHEMA = 1

README = """# Measure on an iPhone

    DEVELOPMENT_TEAM=ABCDE12345 ./run.sh UDID

on a Mac with Xcode 15 or newer and CocoaPods; the device has iOS 17 or newer, is in developer mode and unlocked.
Then copy this folder back and run

    edge-export ios import THIS_FOLDER

`jobs/` holds what is done, each in a fresh process, in this order; `results/` what came of it. Close other apps, and
attach no debugger: times taken under one are refused.
"""


def write(
    folder: Path, models: Sequence[tuple[str, Path]], delegates: Sequence[str], plan: Plan, *, threads: int, seed: int
) -> dict[str, Any]:
    """Writes the bundle, whole or not at all; returns its manifest.

    Args:
        folder: must not exist, or be an empty folder.
        models: name and file of each.
        delegates: of :data:`DELEGATES`, at least one.
        plan: as for every target.
        threads: of the runtime.
        seed: of the order and of the inputs.

    Raises:
        UsageError: the folder holds something; a delegate twice.
        BrokenInput: a damaged model.
    """
    if len(set(delegates)) != len(delegates) or not delegates:
        raise UsageError("name each delegate once", remedy=f"there are: {', '.join(DELEGATES)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("is there and not empty", where=str(folder), remedy="choose another --out, or remove it")
    with store.replacing(folder) as beside:
        beside.mkdir(parents=True, exist_ok=True)
        return _fill(beside, models, delegates, plan, threads, seed)


def _fill(
    folder: Path, models: Sequence[tuple[str, Path]], delegates: Sequence[str], plan: Plan, threads: int, seed: int
) -> dict[str, Any]:
    shutil.copytree(APP, folder / "project", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SCRIPT, folder / "run.sh")
    (folder / "README.md").write_text(README, encoding="utf-8")
    (folder / "models").mkdir()
    known = []
    for name, path in models:
        digest = store.sha256_file(path)
        shutil.copy(path, folder / "models" / f"{digest}.tflite")
        known.append({"name": name, "sha256": digest, "inputs": _inputs(path, seed)})
    entries = [(m, d) for m in range(len(models)) for d in delegates]
    jobs: list[dict[str, Any]] = []
    for number, turn in enumerate(harness.rounds(len(entries), plan.processes, seed)):
        jobs += [{"job": "time", "model": entries[i][0], "delegate": entries[i][1], "round": number} for i in turn]
    jobs += [{"job": "answer", "model": m, "delegate": d, "round": 0} for m, d in entries]
    for number, job in enumerate(jobs):
        job["name"] = f"{number:03}"
        _job(folder / "jobs" / job["name"], job, models[job["model"]][1], known[job["model"]], plan, threads)
    manifest = {
        "schema": SCHEMA,
        "models": [{k: m[k] for k in ("name", "sha256")} for m in known],
        "delegates": list(delegates),
        "threads": threads,
        "seed": seed,
        "plan": to_json(plan),
        "jobs": [{**job, "sha256": store.sha256_file(folder / "jobs" / job["name"] / "plan.json")} for job in jobs],
    }
    store.write_json(folder / "manifest.json", manifest)
    return manifest


def _inputs(path: Path, seed: int) -> list[tuple[str, np.ndarray]]:
    bound = tensors(path, None)["inputs"]
    return [(bound[name], array) for name, array in feeds.seeded(path, seed).items()]


def _job(folder: Path, job: dict[str, Any], path: Path, model: dict[str, Any], plan: Plan, threads: int) -> None:
    folder.mkdir(parents=True)
    arrays = model["inputs"]
    numbers = exchange.time_job(plan) if job["job"] == "time" else {}
    described = [{"tensor": tensor, "bytes": int(array[0].nbytes)} for tensor, array in arrays]
    file = f"{model['sha256']}.tflite"
    text = {"job": job["job"], "model": file, "threads": threads, "delegate": job["delegate"], "inputs": described}
    (folder / "plan.json").write_text(json.dumps({**text, **numbers}, indent=1), encoding="utf-8")
    with open(folder / "inputs.bin", "wb") as stream:
        for i in range(len(arrays[0][1])):
            for _, array in arrays:
                stream.write(np.ascontiguousarray(array[i]).tobytes())
