"""A device's answers, compared in the run that times it: with this machine's, and with the float model's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.device import FakeDevice, steady_us

import devices.targets
from devices import fidelity, harness, runtimes
from devices.device import Answer
from devices.fidelity import Fidelity
from toolkit.errors import DeviceError
from toolkit.records import Plan, Target

PLAN = Plan(mode="quick", processes=2, min_samples=64, min_seconds=1.0, max_seconds=5.0)
PHONE = Target(name="phone", platform="android", runtime="x", runtime_version="1")


class Liar(FakeDevice):
    """Answers as this machine does, and then some."""

    target = PHONE

    def __init__(self, add: float = 0.0, *, precision: str | None = None) -> None:
        super().__init__(lambda path, round: steady_us(10, seed=round))
        self.add = add
        self.precision = precision
        self._host = devices.targets.open("cpu")

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64, signature: str | None = None
    ) -> Answer:
        found = self._host.answer(model, inputs)
        outputs = {k: v + np.float32(self.add) for k, v in found.outputs.items()}
        return dataclasses.replace(found, outputs=outputs, raw=outputs, provenance={"precision": self.precision})


def check(*models: tuple[str, Path], own: Any = None) -> Fidelity:
    return Fidelity(devices.targets.open("cpu"), models, seed=0, own=own)


PROBE = ("probe", runtimes.PROBE)


def test_a_device_that_answers_rightly(tmp_path: Path) -> None:
    (found,) = harness.measure([PROBE], Liar(1e-6), PLAN, check=check(PROBE))
    kernels = found.provenance["fidelity"]["kernels"]
    assert found.verdict == "valid", found.reasons
    assert kernels["passed"]
    assert 0 < kernels["max_abs_error"] < 1e-5


def test_a_device_that_answers_wrongly_has_failed_however_fast_it_is() -> None:
    (found,) = harness.measure([PROBE], Liar(0.1), PLAN, check=check(PROBE))
    assert found.verdict == "failed"
    assert found.failure is not None
    assert found.failure.stage == "answers"
    assert "max-abs 0.1" in found.failure.message
    assert len(found.runs) == 2  # what was measured is kept


def test_nan_is_never_right() -> None:
    (found,) = harness.measure([PROBE], Liar(float("nan")), PLAN, check=check(PROBE))
    assert found.verdict == "failed"
    assert "NaN" in found.reasons[0]


def test_half_precision_is_judged_as_such() -> None:
    assert check(PROBE)(runtimes.PROBE, Liar(1e-3, precision="fp16"))["kernels"]["passed"]
    assert not check(PROBE)(runtimes.PROBE, Liar(1e-3, precision="fp32"))["kernels"]["passed"]


def test_this_machine_is_not_compared_with_itself() -> None:
    found = check(PROBE)(runtimes.PROBE, devices.targets.open("cpu"))
    assert found["kernels"] is None
    assert found["unknown"]["kernels"] == "it is this machine itself"


def test_the_users_own_inputs_are_asked_after_the_seeded_ones() -> None:
    own = {"x": np.full((3, 4), 100.0, np.float32)}
    assert check(PROBE, own=own)(runtimes.PROBE, Liar())["inputs"] == 11


def test_a_device_that_cannot_answer_is_a_failure() -> None:
    class Dead(Liar):
        def answer(self, *_: Any, **__: Any) -> Answer:
            raise DeviceError("no answer")

    (found,) = harness.measure([PROBE], Dead(), PLAN, check=check(PROBE))
    assert (found.verdict, found.failure.message if found.failure else "") == ("failed", "no answer")


@pytest.mark.slow
def test_two_columns_that_are_not_mixed(tiny_models: dict[str, Any]) -> None:
    models = [("int8", tiny_models["dense"].int8), ("float32", tiny_models["dense"].float32)]
    judged = check(*models)
    int8, float32 = (judged(path, Liar()) for _, path in models)
    assert int8["kernels"]["passed"]
    assert int8["kernels"]["max_abs_error"] == 0
    assert int8["model"]["max_abs_error"] > 0  # what quantization cost
    assert int8["model"]["passed"] is None  # which is for validate to judge
    assert float32["model"] is None
    assert float32["unknown"]["model"] == "it is the float model"


def test_steps_of_integers_are_counted() -> None:
    left = {"y": np.array([0, 1, 2, 100], np.int8), "z": np.zeros(2, np.float32)}
    right = {"y": np.array([0, 2, 0, 0], np.int8), "z": np.ones(2, np.float32)}
    assert fidelity.steps(left, right) == {"0": 1, "1": 1, "2": 1, "8 or more": 1}
    assert fidelity.steps({"z": left["z"]}, {"z": right["z"]}) is None
