"""``bench --fleet``: the devices of a fleet.toml side by side, resumable, one table at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import devices.targets
from devices import fleet, harness
from devices.device import Device
from devices.fidelity import Fidelity
from devices.transports.transport import DeviceLost
from toolkit.cli.benching import digest, slug
from toolkit.errors import EdgeExportError
from toolkit.progress import Progress
from toolkit.records import Failure, Measurement, Plan, Target, from_json
from toolkit.store import Run, key_of, read_json, write_json

Files = Sequence[tuple[str, Path]]


def bench(
    run: Run,
    files: Files,
    members: Sequence[fleet.Member],
    *,
    threads: int,
    plan: Plan,
    seed: int,
    parallel: int,
    progress: Progress,
    again: bool = False,
    own: Mapping[str, np.ndarray] | None = None,
    profile: bool = False,
) -> list[Measurement]:
    """Measures ``files`` on every member; members that are done from the same files stay unless ``again``."""
    digests = {name: digest(path) for name, path in files}
    keys = {m.name: key_of({"files": digests, "target": m.target, "plan": plan, "seed": seed}) for m in members}
    todo = [m for m in members if again or not run.done(_stage(m), keys[m.name])]
    check = _Shared(files, seed, own)

    def work(member: fleet.Member) -> list[Measurement]:
        return _measured(member, files, digests, threads=threads, plan=plan, seed=seed, check=check, profile=profile)

    with progress.task(f"measuring {len(files)} models on {len(todo)} devices", total=len(todo)) as task:
        for member, found in fleet.side_by_side(work, todo, parallel):
            if isinstance(found, BaseException):
                raise found
            folder = _folder(run, member)
            run.forget(_stage(member))
            for measurement in found:
                measurement.provenance["device"] = {"name": member.name, "labels": list(member.labels)}
                write_json(folder / f"{measurement.recipe}.json", measurement)
            written = [folder / f"{m.recipe}.json" for m in found]
            broken = [m for m in found if m.verdict == "failed"]
            if any(map(fleet.lost, found)):
                # Not done: the next run tries this device again.
                for path in written:
                    run.keep(path)
            else:
                run.finish(_stage(member), keys[member.name], written)
            task.advance(note=f"{member.name}{': failed' if broken else ''}")
    return [from_json(Measurement, read_json(_folder(run, m) / f"{name}.json")) for m in members for name, _ in files]


def _measured(
    member: fleet.Member,
    files: Files,
    digests: Mapping[str, str],
    *,
    threads: int,
    plan: Plan,
    seed: int,
    check: Any,
    profile: bool,
) -> list[Measurement]:
    def measure(positions: Sequence[int]) -> list[Measurement]:
        chosen = [files[i] for i in positions]
        try:
            device = devices.targets.open(member.target, threads=threads)
        except EdgeExportError as error:
            doing = error.doing if isinstance(error, DeviceLost) and not error.final else None
            failure = Failure(stage=f"lost at {doing}" if doing else "open", message=str(error))
            nowhere = Target(name=member.target, platform="unknown", runtime="unknown", runtime_version="unknown")
            return [fleet.failed(name, digests[name], nowhere, plan, failure) for name, _ in chosen]
        try:
            return harness.measure(chosen, device, plan, seed=seed, check=check, profile=profile)
        finally:
            close = getattr(device, "close", None)
            if close is not None:
                close()

    return fleet.persistent(measure, len(files))


class _Shared:
    """:class:`devices.fidelity.Fidelity` for all devices: this machine answers once a file, not once a device."""

    def __init__(self, files: Files, seed: int, own: Mapping[str, np.ndarray] | None) -> None:
        self._check = Fidelity(devices.targets.open("cpu"), files, seed=seed, own=own)
        self._lock = threading.Lock()

    def __call__(self, path: Path, device: Device) -> dict[str, Any]:
        with self._lock:
            self._check.prepare(path)
        return self._check(path, device)


def _stage(member: fleet.Member) -> str:
    return f"bench-{slug(member.target)}"


def _folder(run: Run, member: fleet.Member) -> Path:
    return run.path("measurements", slug(member.target))
