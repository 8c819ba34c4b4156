"""Evaluations by blocks: any number of workers says the same, what was killed goes on, models stay loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import devices.targets
from devices import sessions
from devices.device import Answer, RunnerFailed
from devices.evaluation import conclude, engine, facts, question, table
from devices.evaluation.engine import Asking, Cloud, Edge, Samples
from devices.evaluation.table import Block, Table
from toolkit import parity
from toolkit.errors import BrokenInput
from toolkit.records import Failure, to_json

PROBE = Path(devices.targets.__file__).parent.parent / "runners" / "probe.tflite"


class Fake:
    """A device that answers with scores made of its inputs, and notes what it was asked."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise
        self.asked: list[int] = []
        self.fails: list[str] = []

    def answer(self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64) -> Answer:
        (x,) = inputs.values()
        self.asked.append(int(x[0, 0]))
        if self.fails:
            raise RunnerFailed(Failure(stage="infer", message=self.fails.pop()), where="fake")
        rng = np.random.default_rng(int(x[0, 0]))
        scores = np.eye(4, dtype=np.float32)[x[:, 1].astype(int)] + self.noise * rng.standard_normal((len(x), 4))
        return Answer(
            outputs={"y": scores.astype(np.float32)}, raw={}, delegated_ops=None, partitions=None, seconds=0.0
        )


def samples(n: int) -> Iterator[Samples]:
    rng = np.random.default_rng(0)
    x = np.stack([np.arange(n), rng.integers(0, 4, n)], axis=1).astype(np.float32)
    labels = np.where(rng.random(n) < 0.9, x[:, 1], 0).astype(np.int64)
    for index, start in enumerate(range(0, n, table.ROWS)):
        rows = slice(start, start + table.ROWS)
        yield Samples(index=index, inputs={"x": x[rows]}, labels=labels[rows])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROWS", 100)


def run(folder: Path, cloud: Fake, edge: Fake, n: int = 1050, **options: Any) -> Table:
    kept = Table(folder)
    side = Cloud(target="saved-model", device=cloud, model=Path("c"))  # type: ignore[arg-type]
    other = Edge(recipe="int8", target="cpu", device=edge, model=Path("e"), table=kept)  # type: ignore[arg-type]
    engine.run(lambda: samples(n), side, [other], Asking(), **options)
    return kept


def concluded(kept: Table) -> Any:
    asked = kept.asked()
    assert asked is not None
    return to_json(conclude.conclude(lambda: iter(kept), asked, recipe="r", target="t", against="a"))


def test_any_number_of_workers_says_the_same_to_the_last_digit(tmp_path: Path) -> None:
    found = [concluded(run(tmp_path / str(workers), Fake(), Fake(0.3), workers=workers)) for workers in (1, 3)]
    assert found[0] == found[1]
    assert found[0]["n"] == 1050
    assert found[0]["worst"][0]["index"] > 100  # not only of the first block


def test_shards_that_were_made_apart_are_one_evaluation(tmp_path: Path) -> None:
    whole = concluded(run(tmp_path / "whole", Fake(), Fake(0.3)))
    for part in range(3):
        run(tmp_path / f"part{part}", Fake(), Fake(0.3), wanted=lambda index, part=part: index % 3 == part)
    together = tmp_path / "together"
    together.mkdir()
    for path in tmp_path.glob("part*/*"):
        path.rename(together / path.name)
    idle = Fake(0.3)
    assert concluded(run(together, Fake(), idle)) == whole
    assert idle.asked == []


def test_what_was_killed_goes_on_and_a_damaged_block_is_made_again(tmp_path: Path) -> None:
    cloud, edge = Fake(), Fake(0.3)
    edge.fails = ["no memory"]
    edge.asked = []
    with pytest.raises(RunnerFailed, match="no memory"):
        run(tmp_path, cloud, edge)
    kept = run(tmp_path, cloud, edge)
    made = len(edge.asked)
    kept.path(3).write_bytes(kept.path(3).read_bytes()[:200])
    with pytest.raises(BrokenInput, match="damaged"):
        kept.read(3)
    run(tmp_path, cloud, edge)
    assert len(edge.asked) == made + 1
    assert edge.asked[-1] == 300


def test_a_process_that_was_killed_is_asked_again_and_one_that_fails_is_not(tmp_path: Path) -> None:
    cloud, edge = Fake(), Fake(0.3)
    cloud.fails = ["the runner died of SIGKILL (the system kills so when memory runs out) in stage 'infer'"]
    found = concluded(run(tmp_path / "a", cloud, edge))
    assert found == concluded(run(tmp_path / "b", Fake(), Fake(0.3)))
    edge.fails = ["the runner died of SIGSEGV in stage 'infer'"]
    with pytest.raises(RunnerFailed, match="SIGSEGV"):
        run(tmp_path / "c", Fake(), edge)


def test_what_does_not_belong_together_ends_the_run(tmp_path: Path) -> None:
    class Wider(Fake):
        def answer(self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64) -> Answer:
            found = super().answer(model, inputs)
            wider = {"y": np.pad(found.outputs["y"], ((0, 0), (0, 1)))}
            return Answer(outputs=wider, raw={}, delegated_ops=None, partitions=None, seconds=0.0)

    with pytest.raises(
        BrokenInput, match=r"int8 on cpu against saved-model: .* shapes differ: \[100, 4\] and \[100, 5\]"
    ):
        run(tmp_path, Fake(), Wider())


@given(st.integers(1, 60), st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_sums_of_blocks_are_sums_of_the_whole(n: int, seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n, 3)).astype(np.float32)
    whole = parity.Sums.of(a, b)
    pieces = [
        parity.Sums.of(x, y) for x, y in zip(np.array_split(a, parts), np.array_split(b, parts), strict=True) if len(x)
    ]
    for one, other in ((pieces, "in order"), (pieces[::-1], "reversed")):
        merged = parity.Sums.merged(one)
        left, right = merged.parity(tie=0.1), whole.parity(tie=0.1)
        assert to_json(left) == pytest.approx(to_json(right), rel=1e-9), other


def test_a_block_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2])
    scores = np.eye(3, dtype=np.float32)
    asked = question.decide({"y": scores}, labels)
    made = facts.of({"y": scores}, {"y": scores[::-1]}, labels, asked)
    block = Block(
        index=4, facts=made, slices={"town": np.array(["a", "é", ""])}, worst=({"index": 400, "max_abs": 1.0},)
    )
    kept = Table(tmp_path)
    kept.write(block, asked)
    (found,) = kept
    assert found.start == 400
    assert found.facts.sums == made.sums
    assert {k: v.tolist() for k, v in found.facts.columns.items()} == {k: v.tolist() for k, v in made.columns.items()}
    assert found.slices == {}  # made anew from the samples when somebody asks
    assert found.worst == block.worst
    assert kept.asked() == asked


def test_a_session_answers_as_single_jobs_do() -> None:
    device = devices.targets.open("cpu")
    shape = device.answer(PROBE, {"": probe_inputs(40)}, batch=8)
    session = sessions.start(device, PROBE, batch=8)
    try:
        for n in (40, 5, 33):
            found = session.answer({"": probe_inputs(n)})
            for name, values in found.outputs.items():
                assert values.tobytes() == shape.outputs[name][:n].tobytes()
        with pytest.raises(BrokenInput, match="samples of shape"):
            session.answer({"": np.zeros((3, 99), np.float32)})
        assert session.answer({"": probe_inputs(4)}).provenance["transport"] == "local"
        os.killpg(session._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(RunnerFailed, match="SIGKILL") as caught:
            session.answer({"": probe_inputs(4)})
        assert engine.killed(caught.value)
    finally:
        session.close()
        session.close()


def test_a_session_makes_its_models_once_and_proves_a_batch_once() -> None:
    code = """
import sys
from devices.runners import session
made, proven = [], []
def answer(plan, folder, stages, make):
    make(plan), make(plan)
    proven.append(plan["proven"])
    return {"batch": 8, "not_batched": None}
session.serve(lambda plan: made.append(plan), answer, lambda path, job: len(job({"batch": 8}, path, None)) * 0)
print(len(made), proven, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], input="a\nb\nc\n", capture_output=True, text=True, check=True)
    assert done.stdout == "0\n0\n0\n"
    assert done.stderr.strip() == "2 [False, True, True]"


def probe_inputs(n: int) -> np.ndarray:
    """Rows of what the probe takes."""
    return np.random.default_rng(1).random((40, 4), dtype=np.float32)[:n]
