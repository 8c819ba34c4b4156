"""A connected iPhone or iPad, from a Mac: the runner app that ``ios bundle`` installs, driven by devicectl."""

from __future__ import annotations

import dataclasses
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.ios import ACCELERATORS, DELEGATE_NAMES, DELEGATES, PLATFORM, RUNTIME
from toolkit.errors import DeviceError, MissingError, UsageError, unknown_name

if TYPE_CHECKING:  # this file is read for ``targets list``: what only a run needs is imported by the run
    import numpy as np

    from devices.device import Answer, Timed
    from devices.ios.devicectl import Phone
    from devices.ios.results import JobResult
    from devices.ios.tensors import Tensors
    from toolkit.records import Plan

NAME = "ios"
NEEDS = "needs macOS with Xcode 15+; edge-export ios bundle writes what a Mac needs"

ANSWER_SECONDS = 1800.0


def describe() -> dict[str, Any]:
    """The target's row of ``targets list``; on a Mac devicectl is asked, which takes a second or two."""
    why: str = NEEDS
    found: list[Any] = []
    if sys.platform == "darwin":
        from devices.ios import devicectl

        try:
            found = [d for d in devicectl.devices() if d.connected]
            why = "no iPhone or iPad is paired and connected: see xcrun devicectl list devices"
        except (MissingError, DeviceError) as error:
            why = str(error)
    return {
        "name": NAME,
        "reachable": bool(found),
        "why": None if found else why,
        "emulated": False,
        "platform": PLATFORM,
        "runtimes": [],
    }


def open(rest: str, threads: int) -> IosDevice:
    """The device for ``UDID`` or ``UDID/metal`` or ``UDID/coreml``.

    Raises:
        UsageError: no UDID, or an unknown delegate.
        MissingError: this is no Mac, or which app to drive is not said.
    """
    device, slash, delegate = rest.partition("/")
    if slash and delegate not in DELEGATES:
        raise unknown_name("delegate", delegate, DELEGATES)
    if device.startswith("-") or any(c in device for c in ", \t\n"):
        raise UsageError(f"{device!r} is no UDID", where=f"target {NAME}", remedy="write ios:UDID or ios:UDID/metal")
    if sys.platform != "darwin":
        raise MissingError(
            "a phone is reached from macOS with Xcode 15+ only",
            where=f"target {NAME}",
            remedy="run edge-export ios bundle here, its run.sh on a Mac, and edge-export ios import with the results",
        )
    if not device:
        raise UsageError("which phone is not said", where=f"target {NAME}", remedy="write ios:UDID or ios:UDID/metal")
    return IosDevice(device=device, delegate=delegate or DELEGATES[0], threads=threads, bundle_id=_bundle_id())


def _bundle_id() -> str:
    """The runner app's, as ``run.sh`` names it."""
    team = os.environ.get("DEVELOPMENT_TEAM", "")
    own = os.environ.get("BUNDLE_ID") or (f"org.edge-export.runner.{team}" if team else "")
    if not own:
        raise MissingError(
            "the runner app's bundle id is not known",
            where=f"target {NAME}",
            remedy="set DEVELOPMENT_TEAM as for run.sh, which installs it",
        )
    return own


class IosDevice:
    """A :class:`devices.device.Device` on a phone that has the runner app.

    Args:
        device: UDID or name.
        delegate: of :data:`devices.ios.DELEGATES`.
        threads: of the runtime.
        bundle_id: of the runner app.
    """

    def __init__(self, *, device: str, delegate: str, threads: int, bundle_id: str) -> None:
        from devices.ios.devicectl import Phone
        from toolkit.records import Target

        self.phone: Phone = Phone(device, bundle_id)
        self.delegate = delegate
        self.target = Target(
            name=f"{NAME}:{device}" + ("" if delegate == "cpu" else f"/{delegate}"),
            platform=PLATFORM,
            runtime=RUNTIME,
            runtime_version="unknown",
            delegate=DELEGATE_NAMES[delegate],
            accelerator=ACCELERATORS[delegate],
            threads=threads,
        )
        self._moment: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64, signature: str | None = None
    ) -> Answer:
        """See :meth:`devices.device.Device.answer`; every sample is run by itself."""
        import numpy as np

        done, found = self._run(model, inputs, None, signature, round=0)
        assert done.answer is not None
        given = [np.asarray(array).ndim for array in inputs.values()]
        if given != [len(tensor.shape) for tensor in found.inputs]:
            return done.answer
        # Samples lie along the batch dimension, which is 1 in what the phone puts out for each of them.
        raw, outputs = (
            {name: array[:, 0] if array.ndim > 1 and array.shape[1] == 1 else array for name, array in side.items()}
            for side in (done.answer.raw, done.answer.outputs)
        )
        return dataclasses.replace(done.answer, raw=raw, outputs=outputs)

    def time(
        self,
        model: Path,
        inputs: Mapping[str, np.ndarray] | None,
        plan: Plan,
        *,
        round: int,
        signature: str | None = None,
    ) -> Timed:
        """See :meth:`devices.device.Device.time`."""
        found, _ = self._run(model, inputs, plan, signature, round=round)
        assert found.timed is not None
        return found.timed

    def conditions(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The app's own readings of the last job: between jobs nothing runs on the phone that could take any."""
        before, after = self._moment
        unknown = {"temperature_c": "iOS tells an app a thermal state, no temperature"}
        if not after:
            unknown["thermal_state"] = "it is read when a job runs"
        return {**before, **after}, unknown

    def _run(
        self,
        model: Path,
        inputs: Mapping[str, np.ndarray] | None,
        plan: Plan | None,
        signature: str | None,
        *,
        round: int,
    ) -> tuple[JobResult, Tensors]:
        from devices.device import RunnerFailed, check_tflite
        from devices.ios import jobs, results, tensors
        from devices.runners import portable
        from devices.transports import local
        from toolkit import store

        if signature is not None:
            raise UsageError("the iOS runner calls the main signature only", where=str(model))
        check_tflite(model)
        found = tensors.read(model)
        timing = plan is not None
        arrays = jobs.feeds(found, inputs, plan.seed if plan else 0, most=portable.SEEDED_INPUTS if timing else None)
        name = uuid.uuid4().hex
        job = {
            "id": name,
            "job": "time" if timing else "answer",
            "name": model.name,
            "delegate": self.delegate,
            "threads": self.target.threads,
            "precision_loss": False,
        }
        seconds = jobs.limit_seconds(plan) if plan is not None else ANSWER_SECONDS
        with local.workspace() as folder:
            written = jobs.write(folder, job, model, found, arrays, plan)
            (folder / "inputs").mkdir(exist_ok=True)
            for part in ("plans", "models", "inputs"):
                self.phone.push(folder / part, f"Documents/{part}")
            self.phone.launch(["--job", name], seconds=seconds)
            back = folder / "back"
            back.mkdir()
            self.phone.pull("Documents/plans", back)
            place = next((p.parent for p in sorted(back.rglob("result.json")) if p.parent.name == name), back / name)
            done = results.read(
                place,
                {**job, "plan_sha256": store.sha256_file(written), "round": round},
                {"sha256": store.sha256_file(model), "samples": len(arrays[0]) if arrays else 1},
                found,
                where=str(model),
            )
        self._moment = ({**done.before, **done.device}, dict(done.after))
        if done.failure is not None:
            raise RunnerFailed(done.failure, where=str(model))
        return done, found
