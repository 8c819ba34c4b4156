"""Killed at any moment, damaged in any place, run again: the result is that of an undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.command import Done, start, started_by, write_mnist

from toolkit.store import sha256_file

pytestmark = pytest.mark.slow
RECIPES = ("float32", "int8", "pruned_int8")
SEED = random.SystemRandom().randrange(1 << 32)
"""Of the random moments; shown by a failing test."""


@dataclass
class Line:
    """The same export, again and again, in one run directory."""

    data: Path
    run: Path
    errors: Path

    def start(self, mark: str = "resume") -> subprocess.Popen[bytes]:
        recipes = [word for name in RECIPES for word in ("--recipe", name)]
        words = ("export", "mnist", "--model", "linear", "--epochs", "2", "--budget", "0.5", "--json", *recipes)
        return start(*words, "--data-dir", self.data, "--run-dir", self.run, stderr=self.errors, mark=mark)

    def finish(self) -> Done:
        code = self.start().wait(180)
        return Done(code, self.errors.with_suffix(".out").read_text(), self.errors.read_text())

    def kill_when(self, condition: Callable[[], bool]) -> bool:
        """Starts, kills -9 as soon as ``condition`` holds; whether it was killed before it ended."""
        mark = uuid.uuid4().hex
        process = self.start(mark)
        deadline = time.monotonic() + 120
        while process.poll() is None and not condition():
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.005)
        process.kill()
        killed = process.wait() == -signal.SIGKILL
        while started_by(mark) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert started_by(mark) == [], "a runner outlived the command"
        return killed

    def stages(self) -> dict[str, int]:
        """When each stage's record was written, ns."""
        return {p.stem: p.stat().st_mtime_ns for p in self.run.glob("stages/*.json")}

    def models(self) -> dict[str, str]:
        return {str(p.relative_to(self.run)): sha256_file(p) for p in sorted(self.run.rglob("*.tflite"))}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Line, Done]:
    folder = tmp_path_factory.mktemp("undisturbed")
    line = Line(data, folder / "run", folder / "err")
    return line, line.finish()


def test_an_undisturbed_run(undisturbed: tuple[Line, Done]) -> None:
    line, done = undisturbed
    assert done.code == 0, done.err
    assert set(line.models()) == {*(f"artifacts/{name}.tflite" for name in RECIPES), "parents/float.tflite"}
    # The file that calibration is looked at in is the float32 artifact without its contract.
    assert len(set(line.models().values())) == 4
    assert set(line.stages()) == {
        "train",
        "saved-model",
        "parent-prune-80",
        "parent-prune-80-saved-model",
        "parent-float",
        "calibration-audit",
        "bench-cpu",
        *(f"convert-{name}" for name in RECIPES),
        *(f"validate-cpu-{name}" for name in RECIPES),
    }


def test_killed_at_many_moments(undisturbed: tuple[Line, Done], data: Path, tmp_path: Path) -> None:
    line = Line(data, tmp_path / "run", tmp_path / "err")
    chance = random.Random(SEED)
    waits = [
        "bundle/.tmp-*",  # half-written
        "bundle/model.keras",  # whole, not yet recorded
        "stages/train.json",
        "bundle/saved_model/.tmp-*",
        "artifacts/quarantine/float32.tflite",  # converted, not yet judged
        "stages/convert-int8.json",
        "parents/.tmp-*",
        "stages/parent-prune-80.json",
        None,
        "measurements/cpu/int8.json",
        None,
        "stages/validate-cpu-float32.json",
    ]
    known: dict[str, int] = {}
    killed = 0
    for pattern in waits:
        if pattern is None:
            moment = time.monotonic() + chance.uniform(0.2, 8)
            killed += line.kill_when(lambda moment=moment: time.monotonic() > moment)
        else:
            killed += line.kill_when(lambda pattern=pattern: any(line.run.glob(pattern)))
        stages = line.stages()
        redone = [name for name, at in known.items() if stages.get(name) != at]
        assert redone == [], f"after {pattern or 'a random moment'} (seed {SEED})"
        known = stages
    # Some moments pass before they are seen, and a fast machine is done before a late one comes.
    assert killed >= 7, f"seed {SEED}"
    done = line.finish()
    assert done.code == undisturbed[1].code, done.err
    assert {n: line.stages()[n] for n in known} == known
    # Two run directories, the same seed: every artifact has the same bytes.
    assert line.models() == undisturbed[0].models(), f"seed {SEED}"
    assert not list(line.run.rglob(".tmp-*"))
    assert shape(done) == shape(undisturbed[1])


def shape(done: Done) -> object:
    """The document, without what differs from run to run: times, and what was timed."""
    document = json.loads(done.out)
    artifacts = [(a["recipe"], a["sha256"], a["gate"]["passed"]) for a in document["artifacts"]]
    comparisons = [(c["recipe"], c["cloud"], c["edge"], c["passed"]) for c in document["comparisons"]]
    return artifacts, comparisons, [m["recipe"] for m in document["measurements"]], document["bundle"]["sha256"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[Callable[[Path], None], str, set[str]]] = {
    "weights": (flip, "bundle/model.keras", {"train"}),
    # TensorFlow numbers a SavedModel's functions by what the process did before: exported again, its bytes differ,
    # so what was validated against it is validated again.
    "bundle's record": (cut, "bundle/bundle.json", {"saved-model", *(f"validate-cpu-{name}" for name in RECIPES)}),
    "artifact": (flip, "artifacts/int8.tflite", {"convert-int8"}),
    "artifact's record": (cut, "artifacts/float32.json", {"convert-float32"}),
    "fine-tuned parent": (flip, "parents/prune-80/saved_model/saved_model.pb", {"parent-prune-80-saved-model"}),
    "measurement": (cut, "measurements/cpu/float32.json", {"bench-cpu"}),
    "comparison": (Path.unlink, "comparisons/cpu/int8.json", {"validate-cpu-int8"}),
    "stage's record": (cut, "stages/validate-cpu-float32.json", {"validate-cpu-float32"}),
}


@pytest.mark.parametrize("groups", [("weights",), tuple(k for k in DAMAGE if k != "weights")], ids=["weights", "rest"])
def test_damage_is_found_and_made_good(undisturbed: tuple[Line, Done], groups: tuple[str, ...]) -> None:
    line, first = undisturbed
    models, before = line.models(), line.stages()
    wanted: set[str] = set()
    for name in groups:
        damage, path, redone = DAMAGE[name]
        damage(line.run / path)
        wanted |= redone
    done = line.finish()
    assert done.code == first.code, done.err
    assert line.models() == models
    assert shape(done) == shape(first)
    after = line.stages()
    assert {name for name in before if after[name] != before[name]} == wanted


def test_two_at_once_do_not_mix_their_files(undisturbed: tuple[Line, Done]) -> None:
    line, _ = undisturbed
    from toolkit.store import Run

    Run(line.run)  # this process holds it now
    other = Line(line.data, line.run, line.errors.with_name("err2"))
    done = other.finish()
    assert done.code == 3
    assert "another edge-export is working in it" in done.error
