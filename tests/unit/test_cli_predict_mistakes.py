"""``predict`` without TensorFlow, on a .tflite that takes x [N, 4]: every mistake is one line and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done, call

import devices.runners
from toolkit.features import FeatureSpec, Numeric, dumps

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
SPEC = FeatureSpec(label="fare", columns=(Numeric(name="miles", mean=6.0, std=4.0),))


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Done]:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: call(monkeypatch, capfd, "predict", *words)


def answered(done: Done) -> list[dict[str, Any]]:
    assert (done.code, done.err) == (0, "")
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((PROBE, "--input", "good.jsonl", "--target", "cpo"), 2, "did you mean cpu"),
        ((PROBE, "--input", "good.jsonl", "--target", "saved-model"), 5, "no SavedModel"),
        ((PROBE, "--input", "good.jsonl", "--output", "x.txt"), 2, ".jsonl or .csv"),
        ((PROBE, "--input", "good.jsonl", "--output", "folder"), 2, "is a folder"),
        ((PROBE, "--input", "good.jsonl", "--output", "./good.jsonl"), 2, "is the input itself"),
        ((PROBE, "--input", "good.jsonl", "--bad-rows", "skpi"), 2, "did you mean skip"),
        ((PROBE, "--input", "good.jsonl", "--spec", "none.json"), 2, "there is no such file"),
        ((PROBE, "--input", "good.jsonl", "--spec", "good.jsonl"), 5, "good.jsonl"),
        ((PROBE, "--input", "good.jsonl", "--spec", "empty.json"), 5, "holds no feature spec"),
        ((PROBE, "--input", "good.jsonl", "--spec", "new.toml"), 2, "is not adapted"),
        ((PROBE, "--input", "good.jsonl", "--spec", "other.json"), 5, "takes input 'x' as float32 [N, 4]"),
        ((PROBE, "--input", "good.jsonl", "--threads", "0"), 2, "--threads"),
        ((PROBE, "--input", "none.jsonl"), 2, "there is no such file"),
        ((PROBE, "--input", "none*.npz"), 2, "matches no file"),
        ((PROBE, "--input", "folder.jsonl"), 2, "is a folder"),
        ((PROBE, "--input", "notes.txt"), 2, "does not say what is in it"),
        ((PROBE, "--input", "wide.jsonl"), 5, "wide.jsonl:2: 'x' is an array that has shape [5]"),
        ((PROBE, "--input", "wide.jsonl", "--json"), 5, "wide.jsonl:2"),
        ((PROBE, "--input", "notes.csv"), 2, "no table"),
        ((PROBE,), 2, "--input"),
        (("none.tflite", "--input", "good.jsonl"), 2, "none.tflite"),
        (("notes.txt", "--input", "good.jsonl"), 5, "not a model"),
        (("cut.tflite", "--input", "good.jsonl"), 5, "cut.tflite"),
        (("folder", "--input", "good.jsonl"), 5, "neither a run directory nor a SavedModel"),
    ],
    ids=lambda v: " ".join(map(str, v[1:])) if isinstance(v, tuple) else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    predict: Callable[..., Done], tmp_path: Path, words: tuple[Any, ...], code: int, said: str
) -> None:
    (tmp_path / "good.jsonl").write_text('{"x": [1, 2, 3, 4]}\n')
    (tmp_path / "wide.jsonl").write_text('{"x": [1, 2, 3, 4]}\n{"x": [1, 2, 3, 4, 5]}\n')
    (tmp_path / "notes.txt").write_text("nothing of use")
    (tmp_path / "notes.csv").write_text("x\n1\n")
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "other.json").write_text(dumps(SPEC))
    (tmp_path / "new.toml").write_text('label = "y"\n[[columns]]\nname = "x"\nkind = "numeric"\n')
    (tmp_path / "cut.tflite").write_bytes(PROBE.read_bytes()[:300])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.jsonl").mkdir()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    done = predict(*words)
    assert done.code == code, done.err
    assert said in done.error
    assert done.out == ""
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    assert len(list(tmp_path.iterdir())) == len(before) + 2


def test_arrays_by_name(predict: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": [1, 2, 3, 4], "note": "n"}\n\n{"x": [5, 6, 7, 0.1]}')
    np.savez(tmp_path / "a.npz", x=np.array([[1, 2, 3, 4], [5, 6, 7, 0.1]], np.float32), label=np.arange(5))
    expected = [{"row": 1, "outputs": {"y": [2, 3, 4, 5]}}, {"row": 2, "outputs": {"y": [6, 7, 8, 1.1]}}]
    for name in ("a.jsonl", "a.npz"):
        assert answered(predict(PROBE, "--input", name)) == expected
    assert predict(PROBE, "--input", "a.npz", "--output", "o.csv").code == 0
    assert (tmp_path / "o.csv").read_text().splitlines()[1] == "1,2.0,3.0,4.0,5.0"


def test_a_file_that_must_not_be_read(
    predict: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    (tmp_path / "a.jsonl").write_text('{"x": [1, 2, 3, 4]}\n')
    really = builtins.open

    def guarded(file: Any, *args: Any, **options: Any) -> Any:
        if str(file).endswith("a.jsonl"):
            raise PermissionError(13, "Permission denied", str(file))
        return really(file, *args, **options)

    monkeypatch.setattr(builtins, "open", guarded)  # root may read anything
    done = predict(PROBE, "--input", "a.jsonl")
    assert done.code == 3
    assert "a.jsonl: must not be read" in done.error
