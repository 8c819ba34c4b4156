"""The portable runner: quantizing, fitting, batching, delegation, and the timing loop over a clock of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import exchange
from devices.runners import job, portable
from devices.targets import cpu
from toolkit.records import Plan

INT8 = {"dtype": np.int8, "quantization": (0.5, -3), "shape": np.array([1, 4]), "shape_signature": np.array([-1, 4])}
FLOAT = {
    "dtype": np.float32,
    "quantization": (0.0, 0),
    "shape": np.array([1, 4]),
    "shape_signature": np.array([-1, 4]),
}
PROBE = cpu.RUNNER.with_name("probe.tflite")


def test_floats_are_quantized_half_to_even_and_saturated() -> None:
    given = np.array([0.0, 0.25, 0.75, -0.25, 1.0, 1e6, -1e6], dtype=np.float32)
    assert portable.quantize(given, INT8, "x").tolist() == [-3, -3, -1, -3, -1, 127, -128]


@given(st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=20))
def test_quantizing_is_off_by_half_a_step_at_most(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    back = exchange.dequantize(portable.quantize(array, INT8, "x"), 0.5, -3)
    assert np.abs(back - array).max() <= 0.25 + 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_integer_tensor_takes_no_nan(bad: float) -> None:
    with pytest.raises(job.JobFailed, match="NaN or infinity"):
        portable.fit(np.array([bad], np.float32), INT8, "x")


@pytest.mark.parametrize(
    ("array", "dtype", "fits"),
    [
        (np.array([1.5], np.float64), np.float32, True),
        (np.array([1, 2], np.int64), np.int32, True),
        (np.array([1, 2**40], np.int64), np.int32, False),
        (np.array([1, 2], np.int64), np.float32, True),
        (np.array([2**25 + 1], np.int64), np.float32, False),
        (np.array([1.0, 2.0]), np.int32, True),
        (np.array([1.5]), np.int32, False),
        (np.array(["a"]), np.float32, False),
        (np.array([True]), np.float32, True),
        (np.array([True]), np.bool_, True),
    ],
)
def test_only_casts_that_keep_the_values(array: np.ndarray, dtype: type, fits: bool) -> None:
    detail = {"dtype": dtype, "quantization": (0.0, 0)}
    if fits:
        assert portable.fit(array, detail, "x").dtype == dtype
    else:
        with pytest.raises(job.JobFailed, match="does not fit"):
            portable.fit(array, detail, "x")


def test_integers_of_another_kind_are_not_guessed_at() -> None:
    same = np.array([[1, 2, 3, 4]], np.int8)
    assert portable.fit(same, INT8, "x") is same
    with pytest.raises(job.JobFailed, match="uint8, the tensor is quantized int8: give int8 or float32"):
        portable.fit(np.array([1], np.uint8), INT8, "x")


def _node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


def _delegation(nodes: Callable[[], list[dict[str, Any]]], subgraph: int = 0) -> dict[str, Any]:
    model = object.__new__(portable.Model)
    model.subgraph = subgraph
    model.interpreter = type("Fake", (), {"_get_ops_details": staticmethod(nodes)})()
    return model.delegation()


@pytest.mark.parametrize("name", ["DELEGATE", "TfLiteXNNPackDelegate"])
def test_partitions_cover_what_leads_from_their_outputs_to_their_inputs(name: str) -> None:
    # 0 -> A -> 1 -> B -> 2 -> C -> 3 -> D -> 4, with A, B in one partition, D in another and C left.
    chain = [_node(i, f"OP_{i}", [i, 10 + i, -1], [i + 1]) for i in range(4)]
    partitions = [_node(4, name, [0, 10, 11], [2]), _node(5, name, [3, 13], [4])]
    found = _delegation(lambda: chain + partitions)
    assert found["delegated_ops"] == [3, 4]
    assert found["partitions"] == 2
    assert found["ops_left"] == ["OP_2"]


def test_a_partition_may_branch_and_have_two_outputs() -> None:
    nodes = [
        _node(0, "SPLIT", [0], [1, 2]),
        _node(1, "LEFT", [1], [3]),
        _node(2, "RIGHT", [2], [4]),
        _node(3, "OTHER", [0], [5]),
        _node(4, "DELEGATE", [0], [3, 4]),
    ]
    assert _delegation(lambda: nodes)["delegated_ops"] == [3, 4]


def test_without_a_delegate_nothing_is_delegated() -> None:
    found = _delegation(lambda: [_node(0, "ADD", [0], [1])])
    assert (found["delegated_ops"], found["partitions"]) == ([0, 1], 0)


def test_unknown_delegation_has_a_reason() -> None:
    def refuse() -> list[dict[str, Any]]:
        raise AttributeError("no NodeName")

    for found in (_delegation(refuse), _delegation(list, subgraph=1)):
        assert found["delegated_ops"] is None
        assert found["delegation_unknown"]


class FakeModel:
    """Doubles ``x``; in groups larger than 1 it is off by one bit if ``sloppy``."""

    def __init__(self, *, sloppy: bool = False, batchless: bool = False) -> None:
        self.inputs, self.outputs = {"x": FLOAT}, {"y": FLOAT}
        self.sloppy, self.batchless = sloppy, batchless
        self.sizes: list[int] = []

    def prepare(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes

    def run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.sizes.append(len(arrays["x"]))
        found = arrays["x"] * 2
        if self.sloppy and len(found) > 1:
            found[-1, -1] = np.nextafter(found[-1, -1], np.float32(9))
        return {"y": found.sum(axis=0) if self.batchless else found}


def test_groups_are_padded_and_cut() -> None:
    model = FakeModel()
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    assert np.array_equal(portable.infer(model, {"x": x}, 0, 10, 4, True)["y"], x * 2)
    assert model.sizes == [4, 4, 4]
    with pytest.raises(job.JobFailed, match="output 'y' has no batch dimension"):
        portable.infer(FakeModel(batchless=True), {"x": x}, 0, 8, 8, True)


@pytest.mark.parametrize("sloppy", [True, False])
def test_a_batch_is_believed_only_bit_for_bit(sloppy: bool) -> None:
    x = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    larger, why = portable._larger(lambda plan: FakeModel(sloppy=sloppy), {}, {"x": x}, 8, {"y": x * 2})
    if sloppy:
        assert larger is None
        assert why == "batches of 8 do not answer bit for bit like batch 1"
    else:
        assert why is None
        assert larger.shapes == {"x": (8, 4)}


def test_seeded_inputs_are_the_same_for_float_and_quantized() -> None:
    floats, integers = portable.seeded({"x": FLOAT}, 5), portable.seeded({"x": INT8}, 5)
    assert len(floats) == portable.SEEDED_INPUTS == 8
    assert not np.array_equal(floats[0]["x"], floats[1]["x"])
    for a, b in zip(floats, integers, strict=True):
        assert np.array_equal(portable.quantize(a["x"], INT8, "x"), b["x"])
    ids = portable.seeded({"id": {**FLOAT, "dtype": np.int32}}, 5)
    assert {int(v) for feed in ids for v in feed["id"].ravel()} == {0, 1}
    assert not np.array_equal(portable.seeded({"x": FLOAT}, 6)[0]["x"], floats[0]["x"])


class Clock:
    """A clock that moves only when the model runs."""

    def __init__(self, cost_ns: Callable[[int], float]) -> None:
        self.now, self.calls, self.cost_ns = 0.0, 0, cost_ns

    def call(self) -> None:
        self.now += self.cost_ns(self.calls)
        self.calls += 1


def _time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost_ns: Callable[[int], float], **numbers: Any) -> Any:
    clock = Clock(cost_ns)
    monkeypatch.setattr(job.time, "perf_counter_ns", lambda: clock.now)
    plan = exchange.time_job(
        Plan(mode="quick", processes=1, **{"min_samples": 64, "min_seconds": 1.0, "max_seconds": 60.0, **numbers})
    )
    fed: list[int] = []
    found = job.time_calls(clock.call, lambda: fed.append(clock.calls), plan, job.Stages(str(tmp_path)))
    return found, clock, fed


def test_short_inferences_are_batched_to_a_millisecond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, _ = _time(tmp_path, monkeypatch, lambda n: 9_000 if n == 0 else 3_000)
    assert found["first_us"] == 9.0
    assert found["batch_k"] == 334
    assert set(found["samples_ns"]) == {3_000.0}
    assert len(found["samples_ns"]) == 999  # as many as a second takes
    assert found["doubling_ratio"] == pytest.approx(2.0)
    assert found["warmup_steady"] is True
    assert found["warmup_inferences"] * 3_000 >= 0.5e9


def test_long_inferences_are_timed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, fed = _time(tmp_path, monkeypatch, lambda n: 50e6)
    assert found["batch_k"] == 1
    assert len(found["samples_ns"]) == 64
    assert found["warmup_inferences"] == 20
    assert len(fed) == 1 + 20 + 64 + 2  # the inputs change before every sample: first, warm-up, measured, doubling


def test_max_seconds_ends_a_very_slow_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, _ = _time(tmp_path, monkeypatch, lambda n: 4e9, max_seconds=10.0)
    assert len(found["samples_ns"]) == 3
    assert found["warmup_inferences"] == 3
    assert found["warmup_steady"] is False


def test_a_warm_up_goes_on_until_steady(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, _ = _time(tmp_path, monkeypatch, lambda n: 30e6 * (1 + 2 * 0.9**n))
    assert found["warmup_steady"] is True
    assert 30 < found["warmup_inferences"] < 80
    assert max(found["samples_ns"]) < 1.05 * 30e6


def test_a_clock_that_misses_the_work_shows_in_the_doubling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An asynchronous run: what is timed is the hand-over of the first call only.
    clock = {"now": 0.0, "fresh": True}

    def rotate() -> None:
        clock["fresh"] = True

    def call() -> None:
        clock["now"] += 2e6 if clock["fresh"] else 1.0
        clock["fresh"] = False

    monkeypatch.setattr(job.time, "perf_counter_ns", lambda: clock["now"])
    plan = exchange.time_job(Plan(mode="quick", processes=1, min_samples=64, min_seconds=1.0, max_seconds=60.0))
    found = job.time_calls(call, rotate, plan, job.Stages(str(tmp_path)))
    assert found["doubling_ratio"] < 1.8


def _program(folder: Path, plan: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, str(cpu.RUNNER), str(folder / "plan.json")]
    code = subprocess.run(command, capture_output=True, timeout=60).returncode
    return code, json.loads((folder / "result.json").read_text())


def test_the_program_runs_from_any_folder_and_leaves_whole_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", k=np.arange(12, dtype=np.float64).reshape(3, 4))
    code, result = _program(tmp_path, {"job": "answer", "model": str(PROBE), "inputs": {"x": "k"}, "batch": 2})
    assert (code, result["status"], result["runtime"]) == (0, "done", "ai-edge-litert")
    with np.load(tmp_path / "outputs.npz") as stored:
        assert stored["o0"].tolist() == (np.arange(12).reshape(3, 4) + 1).tolist()
    assert not list(tmp_path.glob("*part*"))


def test_the_program_says_what_is_wrong(tmp_path: Path) -> None:
    code, result = _program(tmp_path, {"job": "time", "model": str(PROBE), "signature": "train"})
    assert code == 1
    assert (result["kind"], result["stage"]) == ("input", "load")
    assert result["message"] == "the model has no signature 'train'; it has: serving_default"


def test_the_runner_needs_nothing_of_ours(tmp_path: Path) -> None:
    for file in cpu.RUNNER_FILES:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    code = "import portable, sys; print([m for m in sys.modules if m.split('.')[0] in ('toolkit', 'devices')])"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "[]", run.stderr


def test_a_release_that_dies_of_being_told_the_number_of_threads() -> None:
    class Broken:
        """As ai-edge-litert 1.1.0 was released."""

        def __init__(self, *, model_path: str, num_threads: int | None = None) -> None:
            self.path = model_path
            if num_threads is not None:
                raise AttributeError("'Interpreter' object has no attribute '_interpreter'")

    module: Any = SimpleNamespace(Interpreter=Broken)
    assert portable._interpreter(module, "x.tflite", {"num_threads": 1}).path == "x.tflite"
    with pytest.raises(portable.JobFailed, match="takes no number of threads") as failed:
        portable._interpreter(module, "x.tflite", {"num_threads": 2})
    assert failed.value.kind == "device"
