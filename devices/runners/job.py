"""What every runner shares: the job's stages, the timing loop, and results that are whole or not there.

Standard library and numpy, Python 3.9: this file is pushed to devices beside the runner that uses it.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np


class JobFailed(Exception):
    """A job that ends here. ``kind``: ``input`` (bad model or arrays), ``missing`` (no runtime) or ``device``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Stages:
    """Writes the name of the stage being entered to a file, so that a crash can be placed."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "stage")
        self.name = ""

    def enter(self, name: str) -> None:
        """Notes that ``name`` begins."""
        self.name = name
        with open(self.path, "w", encoding="utf-8") as stream:
            stream.write(name)


def time_calls(
    call: Callable[[], Any], rotate: Callable[[], Any], plan: dict[str, Any], stages: Stages
) -> dict[str, Any]:
    """Times a call: the first one, a warm-up to steady state, then samples in ns per call.

    A sample is ``batch_k`` calls, so many that it lasts ``min_sample_us``; the inputs change between samples,
    outside the timed region. The warm-up is steady when the median of the last ``warmup_window`` samples is
    within ``warmup_tolerance`` of the window before. ``doubling_ratio`` is how much longer twice the calls take.
    """
    clock = time.perf_counter_ns

    def sample(k: int) -> float:
        rotate()
        began = clock()
        for _ in itertools.repeat(None, k):
            call()
        return clock() - began

    gc.collect()
    gc.disable()
    stages.enter("first inference")
    first = sample(1)
    stages.enter("warm-up")
    floor_ns = plan["min_sample_us"] * 1e3
    began, count, k = clock(), 0, 1
    seen: list[float] = []
    steady = False
    while True:
        seen.append(sample(k) / k)
        count += k
        seconds = (clock() - began) / 1e9
        if k == 1 and len(seen) == 5 and np.median(seen) < floor_ns:
            k, seen = _calls(floor_ns, seen), []
        steady = _steady(seen, plan["warmup_window"], plan["warmup_tolerance"])
        enough = seconds >= plan["warmup_min_seconds"] and count >= plan["warmup_min_inferences"]
        if (enough and steady) or seconds >= plan["warmup_max_seconds"]:
            break
    if seen:
        k = _calls(floor_ns, seen[-plan["warmup_window"] :])
    stages.enter("measure")
    samples: list[float] = []
    began = clock()
    while True:
        samples.append(sample(k))
        seconds = (clock() - began) / 1e9
        if (len(samples) >= plan["min_samples"] and seconds >= plan["min_seconds"]) or seconds >= plan["max_seconds"]:
            break
    stages.enter("doubling")
    # A tenth of the measurement's time is spent on the check; one pair of 1x and 2x costs three samples.
    pairs = max(1, min(9, int(0.1 * plan["min_seconds"] * 1e9 / (3 * float(np.median(samples))))))
    ones, twos = [], []
    for _ in range(pairs):
        ones.append(sample(k))
        twos.append(sample(2 * k))
    gc.enable()
    return {
        "first_us": first / 1e3,
        "warmup_inferences": count,
        "warmup_steady": bool(steady),
        "batch_k": k,
        "samples_ns": [s / k for s in samples],
        # Of each the fastest: other load only ever adds time.
        "doubling_ratio": min(twos) / min(ones),
    }


def is_delegate(name: str) -> bool:
    """Whether an operator of this name is a delegate's."""
    return name == "DELEGATE" or name.endswith("Delegate")


def _calls(floor_ns: float, per_call: list[float]) -> int:
    return max(1, int(-(-floor_ns // max(1.0, float(np.median(per_call))))))


def _steady(seen: list[float], window: int, tolerance: float) -> bool:
    if len(seen) < 2 * window:
        return False
    last, before = np.median(seen[-window:]), np.median(seen[-2 * window : -window])
    return bool(abs(last - before) <= tolerance * before)


def peak_memory() -> dict[str, Any] | None:
    """The process's resident high-water mark so far and its kind, or ``None`` where the system does not tell.

    Linux keeps ``ru_maxrss`` across exec, so a small program started by a large one reports the large one's;
    VmHWM belongs to the program's own memory.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return {"bytes": int(line.split()[1]) * 1024, "kind": "VmHWM"}
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"bytes": peak if sys.platform == "darwin" else peak * 1024, "kind": "ru_maxrss"}


def save_outputs(folder: str, outputs: dict[str, Any]) -> None:
    """Writes the outputs, in order, as ``o0``, ``o1`` ... (a tensor's name may be no file name)."""
    part = os.path.join(folder, "outputs.part.npz")
    np.savez(part, **{f"o{i}": array for i, array in enumerate(outputs.values())})
    os.replace(part, os.path.join(folder, "outputs.npz"))


def save_result(folder: str, result: dict[str, Any]) -> None:
    """Writes ``result.json``, whole or not at all."""
    part = os.path.join(folder, "result.part")
    with open(part, "w", encoding="utf-8") as stream:
        json.dump(result, stream)
    os.replace(part, os.path.join(folder, "result.json"))


def end_with_parent() -> None:
    """Asks Linux to kill this process when the one that started it is gone, killed or not."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() == 1:
            sys.exit(1)


def keep_to(cores: list[int] | None) -> None:
    """Stays on these cores; they must be among those that the process may have."""
    if not cores:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise JobFailed("device", "this system does not let a process choose its cores")
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        there = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise JobFailed("device", f"cores {cores} cannot be had ({error.strerror}); there are: {there}") from error


def main(path: str, jobs: dict[str, Callable[..., dict[str, Any]]], make: Callable[..., Any] | None = None) -> int:
    """Does the plan's job; returns the exit code: 0 done, 1 failed with a result that says how.

    ``--session`` in place of a path: ``answer`` jobs until stdin ends, with models that ``make`` makes once. That is
    for this machine: ``session.py`` is not pushed to devices.
    """
    if path == "--session":
        import session  # type: ignore

        return int(session.serve(make, jobs["answer"], run_one))
    with open(path, encoding="utf-8") as stream:
        plan = json.load(stream)
    if plan.get("die_with_parent"):
        end_with_parent()
    return run_one(path, lambda plan, folder, stages: jobs[plan["job"]](plan, folder, stages))


def run_one(path: str, job: Callable[[dict[str, Any], str, Stages], dict[str, Any]]) -> int:
    """Does a job whose plan is at ``path``; its result lies beside it. Returns as :func:`main`."""
    folder = os.path.dirname(os.path.abspath(path))
    with open(path, encoding="utf-8") as stream:
        plan = json.load(stream)
    stages = Stages(folder)
    try:
        stages.enter("start")
        keep_to(plan.get("affinity"))
        result = dict(job(plan, folder, stages), status="done")
    except JobFailed as error:
        result = {"status": "failed", "kind": error.kind, "stage": stages.name, "message": str(error)}
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        result = {"status": "failed", "kind": "device", "stage": stages.name, "message": message}
    save_result(folder, result)
    return 0 if result["status"] == "done" else 1
