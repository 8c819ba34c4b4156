"""A device that replays made-up timings, and the records they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices.device import Answer, RunnerFailed, Timed
from toolkit.records import Failure, Plan, ProcessRun, Target

TARGET = Target(name="fake", platform="none", runtime="fake", runtime_version="1")


def process(
    round: int,
    samples_us: Sequence[float],
    *,
    doubling: float | None = 2.0,
    steady: bool = True,
) -> ProcessRun:
    """A process that took these times, µs per inference."""
    return ProcessRun(
        round=round,
        batch_k=1,
        init_us=100.0,
        first_us=50.0,
        warmup_inferences=20,
        warmup_steady=steady,
        doubling_ratio=doubling,
        samples_ns=tuple(s * 1e3 for s in samples_us),
    )


def steady_us(median: float, n: int = 100, *, seed: int = 0, cv: float = 0.01) -> list[float]:
    """Samples around a median, in µs."""
    return list(median * (1 + cv * np.random.default_rng(seed).standard_normal(n).clip(-3, 3)))


class FakeDevice:
    """Takes ``latency(path, round)`` for the samples of a process; a path in ``broken`` dies in that round."""

    target = TARGET

    def __init__(
        self, latency: Callable[[Path, int], Sequence[float]], *, broken: Mapping[str, int] | None = None
    ) -> None:
        self.latency = latency
        self.broken = broken or {}
        self.calls: list[tuple[str, int]] = []

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64, signature: str | None = None
    ) -> Answer:
        outputs = dict(inputs)
        return Answer(outputs=outputs, raw=outputs, delegated_ops=None, partitions=None, seconds=0.0)

    def time(
        self,
        model: Path,
        inputs: Mapping[str, np.ndarray] | None,
        plan: Plan,
        *,
        round: int,
        signature: str | None = None,
    ) -> Timed:
        self.calls.append((model.name, round))
        if self.broken.get(model.name) == round:
            raise RunnerFailed(Failure(stage="measure", message="the runner died of SIGSEGV", stderr_tail="boom"))
        return Timed(process(round, self.latency(model, round)), (3, 4), 1, {"runtime": "fake"})

    def conditions(self) -> tuple[dict[str, Any], dict[str, str]]:
        return {"cpu": "fake"}, {"temperature_c": "a fake has none"}
