"""Measurements of a run's files on every target, and what targets are called in its folders."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import devices.targets
from devices import harness
from devices.fidelity import Fidelity
from toolkit.progress import Progress
from toolkit.records import Measurement, from_json
from toolkit.store import Run, key_of, read_json, sha256_file, sha256_tree, write_json


def bench(
    run: Run,
    files: Sequence[tuple[str, Path]],
    targets: Sequence[str],
    *,
    threads: int,
    quick: bool,
    seed: int,
    progress: Progress,
    again: bool = False,
    own: Mapping[str, np.ndarray] | None = None,
    profile: bool = False,
) -> list[Measurement]:
    """Measures ``files`` (name, path) on every target, interleaved; results already there stay unless ``again``.

    ``own``: the user's inputs, by name, which every target answers beside the seeded ones. ``profile``: also take one
    of each file's operators.
    """
    with opened(targets, threads) as reached:
        return _bench(run, files, reached, quick, seed, progress, again, own, profile)


def _bench(
    run: Run,
    files: Sequence[tuple[str, Path]],
    reached: Sequence[tuple[str, Any]],
    quick: bool,
    seed: int,
    progress: Progress,
    again: bool,
    own: Mapping[str, np.ndarray] | None,
    profile: bool,
) -> list[Measurement]:
    plan = harness.QUICK if quick else harness.FULL
    found: list[Measurement] = []
    for spec, device in reached:
        folder = run.path("measurements", slug(spec))
        digests = {name: digest(path) for name, path in files}
        key = key_of({"files": digests, "target": device.target, "plan": plan, "seed": seed})

        def work(device: Any = device, folder: Path = folder) -> Iterable[Path]:
            set_aside(run, folder)
            check = Fidelity(devices.targets.open("cpu"), files, seed=seed, own=own)
            tflite = all(path.is_file() for _, path in files)
            results = harness.measure(
                files, device, plan, progress=progress, seed=seed, check=check if tflite else None, profile=profile
            )
            for measurement, (_, path) in zip(results, files, strict=True):
                measurement.provenance["file"] = str(path)
                write_json(folder / f"{measurement.recipe}.json", measurement)
            return [folder / f"{m.recipe}.json" for m in results]

        if again:
            run.forget(f"bench-{slug(spec)}")
        run.stage(f"bench-{slug(spec)}", key, work)
        found += [from_json(Measurement, read_json(folder / f"{name}.json")) for name, _ in files]
    return found


def set_aside(run: Run, folder: Path) -> None:
    """Moves a target's measurements away: ratios are taken between files that were measured side by side."""
    if any(folder.glob("*.json")):
        aside = run.path(
            "measurements-earlier", f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(2)}-{folder.name}"
        )
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, aside)
        run.keep(aside)


@contextlib.contextmanager
def opened(targets: Sequence[str], threads: int) -> Iterator[list[tuple[str, Any]]]:
    """Every target once, closed afterwards.

    A number of threads other than 1 becomes part of its name, and so of its records.
    """
    found: dict[str, Any] = {}
    try:
        for spec in _named(targets, threads):
            found[spec] = devices.targets.open(spec, threads=threads)
        yield list(found.items())
    finally:
        for device in found.values():
            if hasattr(device, "close"):
                device.close()


def _named(targets: Sequence[str], threads: int) -> Iterator[str]:
    for spec in dict.fromkeys(targets):
        if threads != 1 and spec.partition(":")[0] not in ("saved-model", "gpu") and "threads=" not in spec:
            spec += f"{',' if ':' in spec else ':'}threads={threads}"
        yield spec


def with_runner(target: str, runner: Path) -> str:
    """An android target that names no runner, with this ``benchmark_model``; any other as it is."""
    if not target.startswith("android:") or ",benchmark=" in target or ",libs=" in target:
        return target
    return f"{target},benchmark={runner}"


def slug(target: str) -> str:
    """A target's name as one folder name."""
    return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in target)


def digest(path: Path) -> str:
    """The sha256 of a file, or of a folder's content."""
    return sha256_tree(path) if path.is_dir() else sha256_file(path)
