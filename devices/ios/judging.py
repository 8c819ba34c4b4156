"""The verdict on a phone's measurement: the harness's own, and what only a phone can be wrong by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from devices import roofline, verdicts
from devices.ios.results import THERMAL_STATES, JobResult
from toolkit.records import Failure

_RANK = ("failed", "implausible", "throttled", "unstable")

_CPU_FACTOR = 16
"""Over the roofline's core: Apple's matrix units (AMX, SME) do 1,024 float32 multiply-adds a cycle, 16 times 64."""

ACCELERATOR_MACS_PER_SECOND = 1e14
"""Five times what Apple says of its fastest Neural Engine (38e12 operations/s in M4, two operations a multiply-add)."""


def floor_us(path: Path, delegate: str, threads: int) -> float | None:
    """The shortest time an inference can take, in µs, or ``None`` where its arithmetic says nothing."""
    if delegate == "cpu":
        return roofline.floor_us(path, threads * _CPU_FACTOR)
    macs = roofline.macs(path)
    return None if macs is None else macs / ACCELERATOR_MACS_PER_SECOND * 1e6


def judge(
    found: Sequence[JobResult], failure: Failure | None, delegate: str, floor: float | None
) -> tuple[str, tuple[str, ...]]:
    """As :func:`devices.verdicts.judge`; beyond it:

    ``implausible``  a debugger or Metal's validation was on, or nothing was delegated to the accelerator
    ``throttled``    the thermal state was serious or critical, or it rose, or Low Power Mode was on
    ``unstable``     processes were not fresh
    """
    runs = [r.timed.run for r in found if r.timed is not None]
    verdict, reasons = verdicts.judge(runs, failure=failure, floor_us=floor)
    more = [*_implausible(found, delegate), *_throttled(found), *_unstable(found)]
    kinds = {verdict, *(kind for kind, _ in more)}
    worst = next((kind for kind in _RANK if kind in kinds), "valid")
    return worst, (*reasons, *dict.fromkeys(reason for _, reason in more))


def _implausible(found: Sequence[JobResult], delegate: str) -> list[tuple[str, str]]:
    reasons = []
    if any(r.device.get("debugger") for r in found):
        reasons.append("a debugger was attached")
    if any(r.device.get("metal_validation") for r in found):
        reasons.append("Metal's validation was on")
    done = [r.timed for r in found if r.timed is not None]
    if delegate != "cpu" and any(t.delegated_ops is None for t in done):
        why = next(t.provenance.get("delegation_unknown") for t in done if t.delegated_ops is None)
        reasons.append(f"whether {delegate} took anything is not known ({why or 'no reason given'})")
    if delegate != "cpu" and any(t.delegated_ops is not None and t.delegated_ops[0] == 0 for t in done):
        reasons.append(f"nothing was delegated to {delegate}: it ran on the CPU")
    return [("implausible", reason) for reason in reasons]


def _throttled(found: Sequence[JobResult]) -> list[tuple[str, str]]:
    reasons = []
    for job in found:
        before, after = job.before.get("thermal_state"), job.after.get("thermal_state")
        for state in (before, after):
            if state in ("serious", "critical"):
                reasons.append(f"the phone's thermal state was {state}")
        if before and after and THERMAL_STATES.index(after) > THERMAL_STATES.index(before):
            reasons.append(f"the phone's thermal state rose from {before} to {after}")
        if job.before.get("low_power_mode") or job.after.get("low_power_mode"):
            reasons.append("Low Power Mode was on")
    return [("throttled", reason) for reason in reasons]


def _unstable(found: Sequence[JobResult]) -> list[tuple[str, str]]:
    done = [r for r in found if r.timed is not None]
    processes = [r.process for r in done]
    shared = len(done) - len(set(processes))
    if done and (shared or None in processes):
        return [("unstable", f"{shared + 1} of {len(done)} runs shared a process, or do not say which they had")]
    return []
