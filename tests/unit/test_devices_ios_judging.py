"""Results that came back whole: what is made of what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.sent import PROBE, Sent

from devices import targets
from devices.ios import fidelity, judging, results, tensors
from toolkit.records import to_json


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    return Sent(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_fail(bad: float, sent: Sent) -> None:
    file = sent.job() / "o0.bin"
    array = np.frombuffer(file.read_bytes(), dtype="<f4").copy()
    array[5] = bad
    file.write_bytes(array.tobytes())
    cpu, metal = sent.take(host=targets.open("cpu"))
    assert (cpu.verdict, metal.verdict) == ("failed", "valid")
    assert cpu.failure is not None
    assert (cpu.failure.stage, cpu.failure.message) == ("outputs", "NaN or infinity in output 'y'")
    assert cpu.provenance["fidelity"]["kernels"]["passed"] is False
    assert cpu.provenance["fidelity"]["kernels"]["processes_agree"] is False
    json.dumps(to_json(cpu), allow_nan=False)


def test_outputs_that_differ_are_measured(sent: Sent) -> None:
    for delegate in ("cpu", "metal"):
        file = sent.job(delegate) / "o0.bin"
        array = np.frombuffer(file.read_bytes(), dtype="<f4").copy()
        array[3] += 0.002
        file.write_bytes(array.tobytes())
    cpu, metal = (m.provenance["fidelity"]["kernels"] for m in sent.take(host=targets.open("cpu")))
    assert cpu["outputs"]["y"]["max_abs"] == pytest.approx(0.002, rel=1e-3)
    assert cpu["passed"] is False, "1e-4 for the same float kernels"
    assert "max-abs 0.002" in cpu["reasons"][0]
    assert metal["passed"] is True, "40 dB for what may compute in float16"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("nominal", "fair", "rose from nominal to fair"),
        ("serious", "serious", "thermal state was serious"),
        ("nominal", "critical", "thermal state was critical"),
    ],
)
def test_a_phone_that_says_it_is_hot_was_throttled(before: str, after: str, said: str, sent: Sent) -> None:
    sent.change(lambda d: (d["before"].update(thermal_state=before), d["after"].update(thermal_state=after)))
    cpu, metal = sent.take()
    assert (cpu.verdict, metal.verdict) == ("throttled", "valid")
    assert any(said in reason for reason in cpu.reasons)


def test_cooling_down_is_no_throttling(sent: Sent) -> None:
    sent.change(lambda d: d["before"].update(thermal_state="fair"))
    assert sent.take()[0].verdict == "valid"


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        (lambda d: d["before"].update(low_power_mode=True), "throttled", "Low Power Mode"),
        (lambda d: d["device"].update(debugger=True), "implausible", "a debugger"),
        (lambda d: d["device"].update(metal_validation=True), "implausible", "Metal's validation"),
        (lambda d: d.update(process="one"), "unstable", "shared a process"),
        (lambda d: d.pop("process"), "unstable", "shared a process"),
        (lambda d: d.update(doubling_ratio=1.0), "implausible", "twice the inferences"),
        (lambda d: d.update(samples_ns=[s * (1 + i) for i, s in enumerate([1e6] * 50)]), "throttled", "last fifth"),
    ],
)
def test_what_makes_a_timing_worth_less(
    change: Callable[[dict[str, Any]], Any], verdict: str, said: str, sent: Sent
) -> None:
    sent.change_all(change)
    for measurement in sent.take():
        assert measurement.verdict == verdict
        assert any(said in reason for reason in measurement.reasons)


def test_an_accelerator_that_took_nothing_is_invalid(sent: Sent) -> None:
    sent.change_all(lambda d: d.update(delegated_ops=[0, 1], partitions=0, ops_left_codes=[0]))
    cpu, metal = sent.take()
    assert (cpu.verdict, metal.verdict) == ("valid", "implausible")
    assert metal.reasons == ("nothing was delegated to metal: it ran on the CPU",)
    assert metal.provenance["ops_left"] == ["ADD"]
    sent.change_all(lambda d: d.update(delegated_ops=None, partitions=None, delegation_unknown="no plan"))
    _, metal = sent.take()
    assert metal.verdict == "implausible"
    assert "whether metal took anything is not known (no plan)" in metal.reasons[0]


def test_a_device_without_a_udid_goes_by_its_model(sent: Sent) -> None:
    (sent.results / "udid.txt").write_text("../../../etc/passwd\n")
    assert sent.take()[0].target.name == "ios:iPhone16,1"
    sent.change_all(lambda d: d.pop("device"))
    assert sent.take()[0].target.name == "ios:unknown"


def test_readings_of_the_wrong_type_are_left_out() -> None:
    kept = results._known({"cores": True, "machine": 5, "os": "x" * 500, "debugger": 1, "more": 1}, results._DEVICE)
    assert kept == {"os": "x" * 200}
    assert results._known({"thermal_state": "hot", "uptime_s": 3}, results._MOMENT) == {"uptime_s": 3.0}


@pytest.mark.parametrize(("delegate", "reason"), [("cpu", fidelity.FLOAT), ("metal", fidelity.HALF)])
def test_tolerances(delegate: str, reason: Any) -> None:
    assert fidelity.tolerance(PROBE, delegate) == reason


def test_the_floor_of_a_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judging.floor_us(PROBE, "cpu", 1) is None, "an addition has no kernel"
    assert judging.floor_us(PROBE, "metal", 1) is None
    monkeypatch.setattr(judging.roofline, "_counted", lambda model: (1_000_000_000, True))
    assert judging.floor_us(PROBE, "cpu", 2) == pytest.approx(1e9 / (1024 * 6.5e9 * 2) * 1e6)
    assert judging.floor_us(PROBE, "coreml", 2) == pytest.approx(10.0)


def test_a_time_below_the_floor_is_implausible(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging.roofline, "_counted", lambda model: (10**12, True))
    cpu, metal = sent.take()
    assert (cpu.verdict, metal.verdict) == ("implausible", "implausible")
    assert "the arithmetic alone takes" in metal.reasons[0]


def test_a_job_that_answers(tmp_path: Path) -> None:
    sent = Sent(tmp_path, ("cpu",))
    folder = sent.job()
    document = json.loads((folder / "result.json").read_text())
    job = {"job": "answer", "delegate": "cpu", "plan_sha256": document["plan_sha256"]}
    model = {"sha256": document["model_sha256"], "samples": 8}
    found = results.read(folder, job, model, tensors.read(PROBE), where="x")
    assert found.answer is not None
    assert found.answer.outputs["y"].shape == (8, 1, 4)
    assert (found.answer.delegated_ops, found.answer.seconds) == ((1, 1), 0.01)
