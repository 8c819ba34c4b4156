"""What outputs mean: values, classes, scores or outputs, as JSON lines and CSV; no model and no TensorFlow."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec, Numeric
from toolkit.prediction import Contract, Interpreter, writing
from toolkit.prediction.meaning import Answers, texts

SPEC = FeatureSpec(label="fare", task="regression", columns=(Numeric(name="miles", mean=6.0, std=4.0),))
IMAGES = Contract(inputs=None)


def interpreted(outputs: dict[str, Any], contract: Contract = IMAGES, **options: Any) -> tuple[Answers, list[str]]:
    warned: list[str] = []
    arrays = {name: np.asarray(a, np.float32) if not isinstance(a, np.ndarray) else a for name, a in outputs.items()}
    count = len(next(iter(arrays.values())))
    interpret = Interpreter(contract, where="m.tflite", warn=warned.append)
    return interpret(np.arange(count), arrays, options.get("raw")), warned


def read(answers: Answers) -> list[Any]:
    return [json.loads(text) for text in writing.json_lines(answers)]


NAMED = Contract(inputs=None, classes=("<=50K", 'né, "x"\n'))


def test_a_value() -> None:
    for shape in ((2,), (2, 1)):
        answers, _ = interpreted({"fare": np.array([0.1, -2e-8], np.float32).reshape(shape)})
        assert read(answers) == [{"row": 1, "prediction": 0.1}, {"row": 2, "prediction": -2e-8}]


def test_classes_with_names_and_without() -> None:
    given = {"p": [[0.25, 0.75], [1, 0]]}
    a, b = NAMED.classes or ()
    assert read(interpreted(given, NAMED)[0]) == [
        {"row": 1, "prediction": b, "probabilities": {a: 0.25, b: 0.75}},
        {"row": 2, "prediction": a, "probabilities": {a: 1, b: 0}},
    ]
    assert read(interpreted(given)[0])[0] == {"row": 1, "prediction": 1, "probabilities": {"0": 0.25, "1": 0.75}}
    assert read(interpreted({"p": [[0.75]]}, NAMED)[0]) == read(interpreted({"p": [[0.25, 0.75]]}, NAMED)[0])


def test_scores_are_not_called_probabilities() -> None:
    a, b = NAMED.classes or ()
    logits = {"p": [[-3.0, 2.0]]}
    assert read(interpreted(logits, NAMED)[0]) == [{"row": 1, "prediction": b, "scores": {a: -3, b: 2}}]
    assert read(interpreted(logits)[0]) == [{"row": 1, "outputs": {"p": [-3, 2]}}], "nobody says that these are classes"


def test_a_quantized_softmax_is_still_one() -> None:
    steps = np.full((1, 10), 26, np.int16)
    real = {"p": (steps / 256).astype(np.float32)}
    assert "probabilities" in read(interpreted(real, raw={"p": steps.astype(np.int8)})[0])[0]
    assert "outputs" in read(interpreted(real, raw=real)[0])[0]


def test_the_first_block_decides_the_format() -> None:
    interpret = Interpreter(IMAGES, where="m", warn=print)
    first = interpret(np.arange(1), {"p": np.array([[0.5, 0.5]], np.float32)})
    second = interpret(np.arange(1, 2), {"p": np.array([[3, 4]], np.float32)})
    assert (first.kind, second.kind) == ("probabilities", "probabilities")
    assert read(second)[0]["row"] == 2


def test_other_outputs_as_they_are() -> None:
    given = {"a": np.arange(4, dtype=np.float32).reshape(1, 2, 2), "b": np.array([7]), "c": np.array([b"x\xc3\xa9"])}
    assert read(interpreted(given)[0]) == [{"row": 1, "outputs": {"a": [[0, 1], [2, 3]], "b": 7, "c": "xé"}}]
    regression = Contract(inputs=None, spec=SPEC)
    assert "outputs" in read(interpreted({"p": [[0.5, 0.5]]}, regression)[0])[0]


def test_what_is_not_finite_is_null_and_said_once_a_block() -> None:
    answers, warned = interpreted({"p": [[0.5, 0.5], [np.nan, 1], [np.inf, 1]]}, NAMED)
    found = read(answers)
    assert [r["prediction"] for r in found] == ["<=50K", None, None]
    assert list(found[1]["probabilities"].values()) == [None, 1]
    assert len(warned) == 1
    assert "row 2: output 'p' is NaN or infinite" in warned[0]
    assert read(interpreted({"fare": [np.nan]})[0]) == [{"row": 1, "prediction": None}]


@pytest.mark.parametrize(
    ("outputs", "said"),
    [({"p": [[0.1, 0.2, 0.7]]}, "answers for 3 classes, and its record names 2"), ({"p": [[1.5]]}, "no probability")],
)
def test_outputs_that_do_not_fit_the_classes(outputs: dict[str, Any], said: str) -> None:
    with pytest.raises(BrokenInput, match=r"m\.tflite") as caught:
        interpreted(outputs, NAMED)
    assert said in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_read_back_equal(dtype: Any) -> None:
    bits = {2: np.uint16, 4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize]
    rng = np.random.default_rng(0)
    values = rng.integers(0, np.iinfo(bits).max, 50_000, dtype=bits).view(dtype)
    values = np.concatenate([values[np.isfinite(values)], np.array([0, -0.0, 0.1, 1 / 3], dtype)])
    back = np.array([json.loads(text) for text in texts(values).tolist()]).astype(dtype)
    assert np.array_equal(back.view(bits), values.view(bits))


def test_csv_has_one_header_and_quotes_what_needs_it() -> None:
    write = writing.writer_for(Path("x.csv"))
    stream = io.StringIO(newline="")
    for _ in range(2):
        writing.write(interpreted({"p": [[0.25, 0.75], [np.nan, 1]]}, NAMED)[0], write, stream)
    stream.seek(0)
    found = list(csv.reader(stream))
    _, odd = NAMED.classes or ()
    assert found[0] == ["row", "prediction", "probabilities.<=50K", f"probabilities.{odd}"]
    assert found[1:] == [["1", odd, "0.25", "0.75"], ["2", "", "", "1.0"]] * 2
    write = writing.writer_for(Path("x.CSV"))
    answers = interpreted({"a": np.arange(4, dtype=np.int8).reshape(2, 2), "b": np.array([7.5, 8])})[0]
    assert "".join(write(answers)).split() == ["row,outputs.a[0],outputs.a[1],outputs.b", "1,0,1,7.5", "2,2,3,8.0"]


def test_names_that_do_not_say_what_to_write(tmp_path: Path) -> None:
    for name, said in (("x.json", ".jsonl or .csv"), ("x", ".jsonl or .csv"), ("", "is a folder")):
        with pytest.raises(UsageError, match=said):
            writing.writer_for(tmp_path / name)
