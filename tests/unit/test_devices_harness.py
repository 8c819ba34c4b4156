"""The harness over a device that replays timings: order, failures as records, comparisons."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fakes.device import FakeDevice, steady_us

from devices import harness
from toolkit.errors import UsageError
from toolkit.records import Measurement, Plan, from_json, to_json
from toolkit.rows import measurement_row

PLAN = Plan(mode="quick", processes=4, min_samples=64, min_seconds=1.0, max_seconds=60.0)
SPEED = {"a.tflite": 100.0, "b.tflite": 50.0, "c.tflite": 101.0}


def latency(path: Path, round: int) -> list[float]:
    return steady_us(SPEED[path.name], seed=round + len(path.name))


@pytest.fixture
def models(tmp_path: Path) -> list[tuple[str, Path]]:
    found = []
    for name in SPEED:
        (tmp_path / name).write_bytes(name.encode())
        found.append((name[0], tmp_path / name))
    return found


def test_rounds_are_interleaved_forth_and_back(models: list[tuple[str, Path]]) -> None:
    device = FakeDevice(latency)
    measured = harness.measure(models, device, PLAN, aa_control=False, seed=7)
    rounds = [[name for name, r in device.calls if r == number] for number in range(4)]
    assert all(sorted(turn) == sorted(SPEED) for turn in rounds)
    assert rounds[1] == rounds[0][::-1]
    assert rounds[3] == rounds[2][::-1]
    assert [m.recipe for m in measured] == ["a", "b", "c"]
    assert measured[0].provenance["seed"] == measured[0].plan.seed == 7
    assert [[f"{n}.tflite" for n in turn] for turn in measured[0].provenance["order"]] == rounds


def test_the_order_depends_on_the_seed_alone() -> None:
    assert harness.rounds(6, 4, 1) == harness.rounds(6, 4, 1)
    assert len({str(harness.rounds(6, 4, seed)) for seed in range(5)}) == 5


def test_a_crash_is_a_record_and_the_rest_goes_on(models: list[tuple[str, Path]]) -> None:
    device = FakeDevice(latency, broken={"b.tflite": 2})
    a, b, c = harness.measure(models, device, PLAN, aa_control=False)
    assert (a.verdict, b.verdict, c.verdict) == ("valid", "failed", "valid")
    assert b.failure is not None
    assert (b.failure.stage, b.failure.stderr_tail) == ("measure", "boom")
    assert "SIGSEGV" in b.reasons[0]
    assert len(b.runs) == 2
    assert ("b.tflite", 3) not in device.calls
    assert measurement_row(b)["median_us"] is not None


def test_a_missing_file_is_a_record_too(models: list[tuple[str, Path]], tmp_path: Path) -> None:
    def raising(path: Path, round: int) -> list[float]:
        return latency(path, round)

    device = FakeDevice(raising, broken={"gone.tflite": 0})
    measured = harness.measure([*models, ("gone", tmp_path / "gone.tflite")], device, PLAN)
    assert measured[-1].verdict == "failed"
    assert measured[-1].artifact_sha256 == ""
    assert measurement_row(measured[-1])["samples"] == 0


def test_measurements_carry_what_was_run(models: list[tuple[str, Path]]) -> None:
    measured = harness.measure(models, FakeDevice(latency), PLAN)[0]
    assert measured.delegated_ops == (3, 4)
    assert measured.partitions == 1
    assert measured.conditions.before == {"cpu": "fake"} == measured.conditions.after
    assert measured.conditions.unknown == {"temperature_c": "a fake has none"}
    assert [run.round for run in measured.runs] == [0, 1, 2, 3]
    assert from_json(Measurement, json.loads(json.dumps(to_json(measured)))) == measured


def test_the_control_measures_the_first_again(models: list[tuple[str, Path]]) -> None:
    device = FakeDevice(latency)
    measured = harness.measure(models, device, PLAN)
    assert len(measured) == 3
    assert [name for name, _ in device.calls].count("a.tflite") == 8
    control = measured[0].provenance["aa_control"]
    assert control["ratio"] == pytest.approx(1, abs=0.02)
    assert control["verdict"] == "no difference"
    assert all("aa_control" not in m.provenance for m in measured[1:])


def test_inputs_are_asked_for_each_file(models: list[tuple[str, Path]]) -> None:
    asked: list[str] = []

    def inputs(path: Path) -> dict:
        asked.append(path.name)
        return {}

    harness.measure(models, FakeDevice(latency), PLAN, inputs=inputs, aa_control=False)
    assert sorted(asked) == sorted([*SPEED] * 4)


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to measure"):
        harness.measure([], FakeDevice(latency), PLAN)


def test_speed_comparisons(models: list[tuple[str, Path]]) -> None:
    a, b, c = harness.measure(models, FakeDevice(latency), PLAN, aa_control=False)
    faster = harness.compare_speed(b, a)
    assert faster["ratio"] == pytest.approx(0.5, abs=0.01)
    assert faster["interval"][0] < faster["ratio"] < faster["interval"][1] < 1
    assert faster["verdict"] == "faster"
    assert harness.compare_speed(a, b)["verdict"] == "slower"
    assert harness.compare_speed(c, a)["verdict"] == "no difference"


@pytest.mark.parametrize("verdict", ["failed", "implausible"])
def test_what_is_not_believed_is_not_compared(models: list[tuple[str, Path]], verdict: str) -> None:
    a, b, _ = harness.measure(models, FakeDevice(latency), PLAN, aa_control=False)
    found = harness.compare_speed(dataclasses.replace(b, verdict=verdict), a)
    assert (found["ratio"], found["p_value"], found["verdict"]) == (None, None, f"not compared: b is {verdict}")


def test_no_common_round_is_not_compared(models: list[tuple[str, Path]]) -> None:
    a, b, _ = harness.measure(models, FakeDevice(latency), PLAN, aa_control=False)
    late = dataclasses.replace(b, runs=tuple(dataclasses.replace(r, round=r.round + 10) for r in b.runs))
    assert "never measured in the same round" in harness.compare_speed(late, a)["verdict"]


def test_many_comparisons_are_corrected(models: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = harness.measure(models, FakeDevice(latency), PLAN, aa_control=False)
    found = harness.compare_all([a, b, c], a)
    assert [f["a"] for f in found] == ["b", "c"]
    assert found[0]["verdict"] == "faster"
    assert found[0]["p_holm"] == pytest.approx(2 * found[0]["p_value"])
    monkeypatch.setattr("toolkit.statistics.ratio_p_value", lambda *args, **kwargs: 0.03)
    assert harness.compare_all([a, b, c], a)[0]["verdict"] == "about the same, maybe"


def test_of_very_many_comparisons_a_clear_difference_is_still_one(models: list[tuple[str, Path]]) -> None:
    a, b, _ = harness.measure(models, FakeDevice(latency), PLAN, aa_control=False)
    many = [dataclasses.replace(b, recipe=f"b{i}") for i in range(40)]
    found = harness.compare_all([a, *many], a)
    assert {f["verdict"] for f in found} == {"faster"}
    assert max(f["p_holm"] for f in found) < 0.05


def test_without_samples_the_reason_is_that(models: list[tuple[str, Path]]) -> None:
    a, b, _ = harness.measure(models, FakeDevice(latency), PLAN, aa_control=False)
    told = {"median_us": 5.0, "mean_us": 5.0}
    none = dataclasses.replace(b, runs=tuple(dataclasses.replace(r, samples_ns=(), reported=told) for r in b.runs))
    assert harness.compare_speed(none, a)["verdict"] == "not compared: no samples were kept of b"


def test_the_plans_are_the_documented_ones() -> None:
    quick, full = harness.QUICK, harness.FULL
    assert (quick.processes, quick.min_samples, quick.min_seconds) == (2, 64, 1.0)
    assert (full.processes, full.min_samples, full.min_seconds, full.max_seconds) == (5, 1024, 60.0, 600.0)
