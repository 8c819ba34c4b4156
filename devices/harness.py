"""A fair run: fresh processes, interleaved, warmed up, raw samples kept, and a verdict on the result itself."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import profile as profiles
from devices import roofline, verdicts
from devices.device import Device, RunnerFailed, Timed
from devices.readings import hot, throttling
from devices.transports.transport import DeviceLost
from toolkit import store
from toolkit.errors import EdgeExportError, UsageError
from toolkit.progress import Progress
from toolkit.records import Conditions, Failure, Measurement, Plan, ProcessRun
from toolkit.rows import measurement_row as row
from toolkit.speed import compare_all, compare_speed

__all__ = ["FULL", "QUICK", "compare_all", "compare_speed", "measure", "row"]

QUICK = Plan(mode="quick", processes=2, min_samples=64, min_seconds=1.0, max_seconds=60.0)
"""64 samples are the fewest that have a p90 (exact binomial, as in MLPerf's early stopping)."""

FULL = Plan(mode="full", processes=5, min_samples=1024, min_seconds=60.0, max_seconds=600.0)
"""1,024 samples and 60 s as in MLPerf Inference's single stream; five processes for the spread between them."""

COOL_SECONDS = 300.0
COOL_POLL_SECONDS = 5.0
"""A device that says that it is hot is waited for so long, looked at so often."""

_CONTROL = "A/A control"

Inputs = Callable[[Path], Mapping[str, np.ndarray]]


@dataclasses.dataclass
class _Entry:
    """One artifact while it is being measured."""

    name: str
    path: Path
    digest: str
    runs: list[ProcessRun] = dataclasses.field(default_factory=list)
    timed: Timed | None = None
    failure: Failure | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] = dataclasses.field(default_factory=dict)
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)
    waited: float = 0.0
    fidelity: dict[str, Any] | None = None
    profile: list[dict[str, Any]] | None = None
    profile_unknown: str | None = None


def measure(
    models: Sequence[tuple[str, Path]],
    device: Device,
    plan: Plan,
    *,
    inputs: Inputs | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    aa_control: bool = True,
    check: Callable[[Path, Device], dict[str, Any]] | None = None,
    profile: bool = False,
) -> list[Measurement]:
    """Measures models on a device, interleaved; one that fails is a record and the rest goes on.

    Every round runs one fresh process per model, in an order drawn from ``seed`` that the next round reverses
    (A B B A), so that a drift of the machine hits all alike.

    Args:
        models: recipe (or any label) and file, at least one; labels are told apart by position.
        device: where to measure.
        plan: :data:`QUICK`, :data:`FULL` or one of your own; ``seed`` overrides its seed.
        inputs: the arrays to time a file with; without it eight seeded ones.
        progress: where to say how far it is.
        seed: of the order and of the seeded inputs.
        aa_control: also measure the first model a second time; the ratio of both is that one's
            ``provenance["aa_control"]``. What it is off 1 is what this machine can be wrong by.
        check: of what each model answers there, :class:`devices.fidelity.Fidelity`; its findings are
            ``provenance["fidelity"]``, and wrong answers make a measurement ``failed``.
        profile: also take a profile of operators, in a run of its own: ``provenance["profile"]``, or
            ``provenance["profile_unknown"]`` with the reason.

    Returns:
        One measurement per model, in their order.

    Raises:
        UsageError: no models.
    """
    if not models:
        raise UsageError("nothing to measure", remedy="give at least one model")
    plan = dataclasses.replace(plan, seed=seed)
    entries = [_Entry(name, path, _digest(path)) for name, path in models]
    if aa_control:
        entries.append(_Entry(_CONTROL, models[0][1], entries[0].digest))
    order = rounds(len(entries), plan.processes, seed)
    tell = progress or Progress(quiet=True)
    title = f"measuring {len(models)} model{'s' * (len(models) != 1)} on {device.target.name} ({plan.mode})"
    with tell.task(title, total=len(entries) * plan.processes) as task:
        for number, turn in enumerate(order):
            for index in turn:
                entry = entries[index]
                if entry.failure is None:
                    _take(entry, device, plan, number, inputs)
                task.advance(note=entry.name)
        if profile:
            for entry in entries[: len(models)]:
                if entry.failure is None:
                    entry.profile, entry.profile_unknown = profiles.of(device, entry.path)
        if check is not None:
            for entry in entries[: len(models)]:
                _check(entry, device, check)
    labels = [entry.name for entry in entries]
    shared = {"order": [[labels[i] for i in turn] for turn in order], "seed": seed}
    measured = [_finish(entry, device, plan, shared) for entry in entries]
    if aa_control:
        control = compare_speed(measured[0], measured.pop())
        measured[0].provenance["aa_control"] = {k: control[k] for k in ("ratio", "interval", "p_value", "verdict")}
    return measured


def rounds(count: int, processes: int, seed: int) -> list[list[int]]:
    """The order of every round: shuffled for an even one, the same backwards for the odd one after it."""
    rng = random.Random(seed)
    order: list[list[int]] = []
    for number in range(processes):
        if number % 2:
            order.append(order[-1][::-1])
        else:
            turn = list(range(count))
            rng.shuffle(turn)
            order.append(turn)
    return order


def _take(entry: _Entry, device: Device, plan: Plan, number: int, inputs: Inputs | None) -> None:
    """One fresh process of one artifact; what goes wrong ends up in the entry."""
    try:
        readings, unknown, waited = _cool(device)
        entry.waited += waited
        if entry.before is None:
            entry.before, entry.unknown = readings, unknown
        given = inputs(entry.path) if inputs is not None else None
        entry.timed = device.time(entry.path, given, plan, round=number)
        entry.runs.append(entry.timed.run)
        entry.after, unknown = device.conditions()
        entry.unknown = {**entry.unknown, **unknown}
    except EdgeExportError as error:
        entry.failure = _failure(error)


def _cool(device: Device) -> tuple[dict[str, Any], dict[str, str], float]:
    """The device's readings when it is cool enough to start, or when :data:`COOL_SECONDS` are over; and the wait."""
    began = time.monotonic()
    while True:
        readings, unknown = device.conditions()
        waited = time.monotonic() - began
        if hot(readings) is None or waited >= COOL_SECONDS:
            return readings, unknown, waited
        time.sleep(COOL_POLL_SECONDS)


def _check(entry: _Entry, device: Device, check: Callable[[Path, Device], dict[str, Any]]) -> None:
    if entry.failure is not None:
        return
    try:
        entry.fidelity = check(entry.path, device)
    except EdgeExportError as error:
        entry.failure = _failure(error)
        return
    kernels = entry.fidelity["kernels"]
    if kernels is not None and not kernels["passed"]:
        what = f"it answers otherwise than this machine ({'; '.join(kernels['reasons'])})"
        entry.failure = Failure(stage="answers", message=what)


def _failure(error: EdgeExportError) -> Failure:
    """What goes into the record: a runner's own, or at which step the device was lost."""
    if isinstance(error, RunnerFailed):
        return error.failure
    stage = f"lost at {error.doing}" if isinstance(error, DeviceLost) else "prepare"
    return Failure(stage=stage, message=str(error))


def _finish(entry: _Entry, device: Device, plan: Plan, shared: Mapping[str, Any]) -> Measurement:
    floor = roofline.floor_us(entry.path, device.target.threads)
    says = throttling(entry.before or {}, entry.after)
    verdict, reasons = verdicts.judge(entry.runs, failure=entry.failure, floor_us=floor, device_says=says)
    timed = entry.timed
    return Measurement(
        recipe=entry.name,
        artifact_sha256=entry.digest,
        target=device.target,
        plan=plan,
        runs=tuple(entry.runs),
        delegated_ops=timed.delegated_ops if timed else None,
        partitions=timed.partitions if timed else None,
        conditions=Conditions(before=entry.before or {}, after=entry.after, unknown=entry.unknown),
        verdict=verdict,
        reasons=reasons,
        failure=entry.failure,
        provenance={
            **(timed.provenance if timed else {}),
            **shared,
            "floor_us": floor,
            "waited_to_cool_seconds": round(entry.waited, 1),
            "fidelity": entry.fidelity,
            "profile": entry.profile,
            "profile_unknown": entry.profile_unknown,
        },
    )


def _digest(path: Path) -> str:
    """The model's sha256; empty for one that is not there, which the device then reports."""
    if path.is_dir():
        return store.sha256_tree(path)
    return store.sha256_file(path) if path.is_file() else ""
