"""Everything a Mac needs to measure models on a phone: app, models, plans, inputs, and the script that runs them."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import harness
from devices.device import check_tflite
from devices.ios import DELEGATES, jobs, project, tensors
from devices.runners import portable
from toolkit import store
from toolkit.errors import BrokenInput, UsageError, unknown_name
from toolkit.records import Plan, from_json, to_json

KIND = "edge-export iOS bundle"

QUICK = dataclasses.replace(harness.QUICK, min_seconds=6.0)
"""A phone's clock speed takes seconds to settle, so a quick run's processes share 6 s."""

FULL = harness.FULL

Inputs = Callable[[Path], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One artifact on one delegate; the control is a second measurement of the first one."""

    model: int
    delegate: str
    control: bool = False


def write_bundle(
    folder: Path,
    models: Sequence[tuple[str, Path]],
    plan: Plan,
    inputs: Inputs | None,
    delegates: Sequence[str],
    seed: int,
    *,
    threads: int = 1,
    precision_loss: bool = False,
    aa_control: bool = True,
) -> dict[str, Any]:
    """Writes a bundle, whole or not at all, and returns its manifest.

    Names of models appear in JSON alone: files, folders and the lines of scripts have names made of digests and
    numbers.

    Args:
        folder: of the bundle; new, empty, or an earlier bundle without results.
        models: name and file, at least one.
        plan: :data:`QUICK`, :data:`FULL` or one of your own; ``seed`` overrides its seed.
        inputs: the arrays to run a file with, of which the first eight samples are taken; without it eight seeded ones.
        delegates: of :data:`devices.ios.DELEGATES`, each once.
        seed: of the order and of the seeded inputs.
        threads: of the runtime.
        precision_loss: whether Metal may compute in float16 where the model says float32.
        aa_control: also measure the first model a second time on every delegate.

    Raises:
        UsageError: nothing to measure, an unknown delegate, or a folder that holds something else.
        BrokenInput: a damaged model, or inputs that do not fit one.
    """
    if not models:
        raise UsageError("nothing to measure", remedy="give at least one model")
    chosen = list(dict.fromkeys(delegates)) or [DELEGATES[0]]
    for delegate in chosen:
        if delegate not in DELEGATES:
            raise unknown_name("delegate", delegate, DELEGATES)
    _free(folder)
    plan = dataclasses.replace(plan, seed=seed)
    entries = [_Entry(index, d) for d in chosen for index in range(len(models))]
    if aa_control:
        entries += [_Entry(0, d, control=True) for d in chosen]
    options = {"threads": threads, "precision_loss": precision_loss}
    with store.replacing(folder) as beside:
        beside.mkdir()
        manifest = {
            "schema_version": 1,
            "kind": KIND,
            "seed": seed,
            "plan": to_json(plan),
            "delegates": chosen,
            **options,
            "runner_sha256": project.sha256(),
            "models": [],
            "jobs": [],
        }
        prepared = []
        for name, path in models:
            described, arrays = _model(beside, name, path, inputs, seed)
            manifest["models"].append(described)
            prepared.append((path, described, arrays))
        for number, (round_, entry) in enumerate(_order(entries, plan, seed)):
            manifest["jobs"].append(_job(beside, number, round_, entry, prepared[entry.model], plan, options))
        _script(beside, manifest, plan)
        project.write(beside / "app")
        store.write_json(beside / "manifest.json", manifest)
    return manifest


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle, every field of it there and of its type.

    Raises:
        BrokenInput: there is none, it is no bundle's, or it is damaged.
    """
    manifest = store.read_json(folder / "manifest.json")
    if manifest.get("kind") != KIND:
        raise BrokenInput("is no iOS bundle", where=str(folder), remedy="give the folder that ios bundle wrote")
    try:
        from_json(Plan, manifest["plan"])
        _need(manifest, seed=int, threads=int, precision_loss=bool, runner_sha256=str, delegates=list)
        for model in manifest["models"]:
            _need(model, name=str, path=str, sha256=str, samples=int)
            if not re.fullmatch(r"[0-9a-f]{64}", model["sha256"]):
                raise ValueError(f"{model['sha256']!r} is no sha256")
        for job in manifest["jobs"]:
            _need(job, id=str, model=int, delegate=str, round=int, control=bool, plan_sha256=str)
            # It becomes the name of a folder.
            if not re.fullmatch(r"[0-9]{4,}-[a-z0-9-]+", job["id"]):
                raise ValueError(f"{job['id']!r} is no job's name")
            if not 0 <= job["model"] < len(manifest["models"]):
                raise ValueError(f"job {job['id']} is of no model")
        if not {*manifest["delegates"], *(job["delegate"] for job in manifest["jobs"])} <= set(DELEGATES):
            raise ValueError("an unknown delegate")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenInput(
            f"its manifest is damaged ({type(error).__name__}: {error})",
            where=str(folder),
            remedy="make the bundle again",
        ) from error
    return manifest


def _need(row: Mapping[str, Any], **kinds: type) -> None:
    for name, kind in kinds.items():
        if not isinstance(row[name], kind):
            raise TypeError(f"{name} is no {kind.__name__}")


def _free(folder: Path) -> None:
    """Refuses a folder whose content somebody may still want."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        ours = folder.is_dir() and bool(read(folder))
    except BrokenInput:
        ours = False
    if not ours:
        raise UsageError("exists and is no iOS bundle", where=str(folder), remedy="choose another --out")
    if (folder / "results").exists() or (folder / "results.zip").exists():
        raise UsageError("holds results already", where=str(folder), remedy="choose another --out")


def _model(
    folder: Path, name: str, path: Path, inputs: Inputs | None, seed: int
) -> tuple[dict[str, Any], list[np.ndarray]]:
    check_tflite(path)
    found = tensors.read(path)
    try:
        arrays = jobs.feeds(found, inputs(path) if inputs else None, seed, most=portable.SEEDED_INPUTS)
    except BrokenInput as error:
        raise BrokenInput(error.what, where=str(path), remedy=error.remedy) from error
    digest = store.sha256_file(path)
    described = {
        "name": name,
        "path": str(path),
        "sha256": digest,
        "file": f"{digest}.tflite",
        "samples": len(arrays[0]) if arrays else 1,
    }
    return described, arrays


def _order(entries: Sequence[_Entry], plan: Plan, seed: int) -> list[tuple[int, _Entry]]:
    """Every round's entries, interleaved as the harness does it."""
    turns = harness.rounds(len(entries), plan.processes, seed)
    return [(number, entries[index]) for number, turn in enumerate(turns) for index in turn]


def _job(
    folder: Path,
    number: int,
    round_: int,
    entry: _Entry,
    prepared: tuple[Path, dict[str, Any], list[np.ndarray]],
    plan: Plan,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    path, described, arrays = prepared
    name = f"{number:04d}-m{entry.model}-{entry.delegate}-r{round_}" + ("-aa" if entry.control else "")
    job = {"id": name, "job": "time", "name": described["name"], "delegate": entry.delegate, **options}
    written = jobs.write(folder, job, path, tensors.read(path), arrays, plan)
    return {
        "id": name,
        "model": entry.model,
        "delegate": entry.delegate,
        "round": round_,
        "control": entry.control,
        "plan_sha256": store.sha256_file(written),
    }


def _script(folder: Path, manifest: Mapping[str, Any], plan: Plan) -> None:
    seconds = math.ceil(jobs.limit_seconds(plan))
    lines = [f"{job['id']} {seconds}\n" for job in manifest["jobs"]]
    (folder / "jobs.txt").write_text("".join(lines), encoding="ascii")
    (folder / "inputs").mkdir(exist_ok=True)
    shutil.copyfile(project.APP / "run.sh", folder / "run.sh")
    (folder / "run.sh").chmod(0o755)
    page = project.render(
        project.APP / "README.md.j2",
        models=manifest["models"],
        jobs=len(lines),
        minutes=math.ceil(seconds * len(lines) / 60),
        delegates=manifest["delegates"],
        threads=manifest["threads"],
        mode=plan.mode,
        seed=manifest["seed"],
    )
    (folder / "README.md").write_text(page, encoding="utf-8")
