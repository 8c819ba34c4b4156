"""Both sides of a comparison need not use the same made-up name for an only input or output."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from devices import validate
from devices.device import Answer
from devices.exchange import write_job
from devices.runners import portable
from devices.runners.job import JobFailed
from toolkit.errors import BrokenInput

SCORES = np.eye(4, dtype=np.float32)


def answer(name: str, raw: np.ndarray) -> Answer:
    return Answer(outputs={name: raw / 4}, raw={name: raw}, delegated_ops=None, partitions=None, seconds=0.0)


def compared(edge: Any, cloud: Any) -> Any:
    return validate.compare(recipe="r", target="cpu", against="saved-model", edge=edge, cloud=cloud)


def test_only_outputs_are_paired_by_any_name() -> None:
    found = compared({"StatefulPartitionedCall": SCORES}, {"dense": SCORES})
    assert (found.passed, found.max_abs_error, found.data["output"]) == (True, 0.0, "dense")
    wrong = compared({"StatefulPartitionedCall": SCORES[::-1]}, {"dense": SCORES})
    assert not wrong.passed


def test_integer_steps_are_still_counted() -> None:
    raw = np.eye(4, dtype=np.int8) * 4
    assert compared(answer("a", raw + np.int8(1)), answer("b", raw)).lsb_histogram == {"1": 16}


@pytest.mark.parametrize(
    ("edge", "cloud"),
    [(("a", "b"), ("a", "c")), (("a",), ("b", "c")), (("a", "b"), ("c",))],
    ids=["one of two", "one to two", "two to one"],
)
def test_several_outputs_match_by_name_only(edge: tuple[str, ...], cloud: tuple[str, ...]) -> None:
    with pytest.raises(BrokenInput, match="do not match"):
        compared(dict.fromkeys(edge, SCORES), dict.fromkeys(cloud, SCORES))


def model(*names: str) -> Any:
    detail = {"shape": [1, 4], "shape_signature": [-1, 4], "dtype": np.float32, "quantization": (0.0, 0)}
    return SimpleNamespace(inputs=dict.fromkeys(names, detail))


def collected(target: Any, inputs: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    import json

    plan = json.loads(write_job(folder, {}, inputs).read_text())
    arrays, n = portable.collect(target, plan, str(folder))
    assert n == 4
    return arrays


def test_an_unnamed_input_is_the_only_one(tmp_path: Path) -> None:
    assert np.array_equal(collected(model("input_layer"), {"": SCORES}, tmp_path)["input_layer"], SCORES)


def test_an_unnamed_input_of_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"one without a name; the model takes: left, right"):
        collected(model("left", "right"), {"": SCORES}, tmp_path)


def test_a_name_that_is_given_must_be_right(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"missing image, unknown pixels"):
        collected(model("image"), {"pixels": SCORES}, tmp_path)
