"""This machine's GPU: LiteRT's accelerator in a process of its own; reading the outputs is part of the time."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices import emulated, runtimes, spec
from devices.device import check_tflite
from devices.targets import cpu
from toolkit.errors import MissingError, UsageError

if TYPE_CHECKING:  # this file is read for ``targets list``: what only a run needs is imported by the run
    import numpy as np

    from devices.device import Answer, Timed
    from devices.transports.local import Command
    from toolkit.records import Plan

NAME = "gpu"
OPTIONS = ("precision",)
PRECISIONS = ("fp32", "fp16")
RUNNER = cpu.RUNNER.with_name("compiled.py")
REMEDY = "install a Vulkan driver (libvulkan1 and the GPU's), or see docs/devices.md for a software one"

START_SECONDS = 180.0
"""Shaders are compiled before the first inference."""


def describe() -> dict[str, Any]:
    """The target's row of ``targets list``; whether a driver answers is known only to a run, and to ``doctor``."""
    version = runtimes.installed(runtimes.NAMES[0])
    why = f"{runtimes.NAMES[0]} is not installed" if version is None else _no_driver()
    return {
        "name": NAME,
        "reachable": why is None,
        "why": why,
        "emulated": any("swiftshader" in str(path).lower() or "lvp" in str(path).lower() for path in _drivers()[:1]),
        "platform": cpu.host(),
        "runtimes": [] if why else [f"{runtimes.NAMES[0]}=={version}"],
    }


def _no_driver() -> str | None:
    import ctypes.util

    if sys.platform != "linux":
        return None
    if ctypes.util.find_library("vulkan") is None:
        return f"no Vulkan loader is here: {REMEDY}"
    return None if _drivers() else f"no Vulkan driver is here: {REMEDY}"


def _drivers() -> list[Path]:
    """Manifests of Vulkan drivers, where the loader looks for them."""
    import os

    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES") or emulated.driver()
    if named:
        return [Path(p) for p in named.split(os.pathsep) if Path(p).is_file()]
    folders = ("/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d")
    return [path for folder in folders for path in sorted(Path(folder).glob("*.json"))]


def open(rest: str, threads: int) -> Gpu:
    """The device; ``rest`` may hold ``precision`` (fp32, fp16).

    Raises:
        UsageError: an unknown option or value.
        MissingError: no runtime, or no driver for a GPU.
    """
    found = spec.options(NAME, rest, OPTIONS)
    precision = found.get("precision", PRECISIONS[0])
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision={precision}", where=f"target {NAME}", remedy=f"write precision={' or '.join(PRECISIONS)}"
        )
    why = describe()["why"]
    if why:
        raise MissingError(why, where=f"target {NAME}", remedy="run edge-export doctor")
    return Gpu(name=spec.canonical(NAME, found), precision=precision)


class Gpu:
    """A :class:`devices.device.Device` on this machine's GPU.

    A software adapter is told by its name: from the first job on the target is ``emulated``.

    Args:
        name: what the target is called in results.
        precision: ``fp32``, or ``fp16`` where the adapter has it.
    """

    def __init__(self, *, name: str = NAME, precision: str = PRECISIONS[0]) -> None:
        from toolkit.records import Target

        self._precision = precision
        self.target = Target(
            name=name,
            platform=cpu.host(),
            runtime=runtimes.NAMES[0],
            runtime_version=runtimes.installed(runtimes.NAMES[0]) or "unknown",
            delegate="litert-gpu",
            threads=1,
            emulated=bool(describe()["emulated"]),
        )

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 1, signature: str | None = None
    ) -> Answer:
        """See :meth:`devices.device.Device.answer`. One by one, whatever ``batch`` is: a shape is compiled in."""
        from devices.transports import local

        check_tflite(model)
        job = {**self._job(model, signature), "job": "answer", "batch": 1}
        found = local.answer(self._command(), job, inputs, timeout=cpu.ANSWER_SECONDS)
        self._saw(found.provenance)
        return found

    def time(
        self,
        model: Path,
        inputs: Mapping[str, np.ndarray] | None,
        plan: Plan,
        *,
        round: int,
        signature: str | None = None,
    ) -> Timed:
        """See :meth:`devices.device.Device.time`. A run of which nothing was delegated fails."""
        from devices.device import RunnerFailed
        from devices.transports import local
        from toolkit.records import Failure

        check_tflite(model)
        job = {**self._job(model, signature), "job": "time"}
        found = local.time(self._command(), job, inputs, plan, round=round, start_seconds=START_SECONDS)
        self._saw(found.provenance)
        if found.delegated_ops is not None and not found.delegated_ops[0]:
            left = ", ".join(found.provenance.get("ops_left") or ()) or "all of them"
            what = f"the GPU took none of the {found.delegated_ops[1]} operators (left: {left})"
            raise RunnerFailed(Failure(stage="delegate", message=what), where=str(model))
        return found

    def conditions(self) -> tuple[dict[str, Any], dict[str, str]]:
        """See :meth:`devices.device.Device.conditions`."""
        from devices import conditions

        return conditions.read()

    def _saw(self, provenance: Mapping[str, Any]) -> None:
        adapter = provenance.get("adapter")
        if adapter is not None:
            self.target = dataclasses.replace(
                self.target, accelerator=adapter, emulated=bool(provenance.get("software"))
            )

    def _job(self, model: Path, signature: str | None) -> dict[str, Any]:
        return {
            "model": str(model.resolve()),
            "runtime": self.target.runtime,
            "precision": self._precision,
            "signature": signature,
        }

    def _command(self) -> Command:
        from devices.transports.local import Command

        software = emulated.driver()
        env = {"VK_ICD_FILENAMES": software, "VK_DRIVER_FILES": software} if software else {}
        return Command(python=Path(sys.executable), files=(RUNNER, *cpu.RUNNER_FILES), env=env)
