"""The ranges of the training options."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.serial import to_json
from toolkit.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", 0),
        ("epochs", -3),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("dropout", 1.0),
        ("dropout", 1.5),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("l1", -1e-9),
        ("l1", float("nan")),
        ("l2", -1.0),
        ("l2", float("inf")),
        ("early_stopping", 0),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_values_out_of_range_are_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        TrainingOptions(variant="dnn", **{option: value})
    assert f"--{option.replace('_', '-')}" in caught.value.what
    assert caught.value.remedy


def test_dropping_everything_learns_nothing() -> None:
    with pytest.raises(UsageError, match="learns nothing"):
        TrainingOptions(variant="dnn", dropout=1.0)


@given(
    epochs=st.none() | st.integers(1, 10**6),
    batch_size=st.integers(1, 10**6),
    learning_rate=st.floats(1e-300, 1e300),
    dropout=st.floats(0, 1, exclude_max=True),
    l1=st.floats(0, 1e300),
    l2=st.floats(0, 1e300),
    early_stopping=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 2**32 - 1),
)
def test_values_in_range_are_taken_as_given(**values: Any) -> None:
    options = TrainingOptions(variant="dnn", **values)
    taken = to_json(options)
    assert {name: taken[name] for name in ("variant", *values)} == {"variant": "dnn", **values}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_norm": 0.0}, "--max-norm"),
        ({"noise": -1.0}, "--gaussian-noise"),
        ({"wide_l1": -1.0}, "--wide-l1"),
        ({"wide_learning_rate": 0.0}, "--wide-learning-rate"),
        ({"proximal": True}, "--proximal"),
        ({"train_examples": 100}, "--train-examples"),
        ({"evaluations": 2}, "--train-examples"),
        ({"train_examples": 100, "evaluations": 2, "epochs": 3}, "--epochs"),
        ({"train_examples": 0, "evaluations": 2}, "--train-examples"),
        ({"evaluations": 0, "train_examples": 5}, "--evaluations"),
        ({"loop": "custom", "strategy": "mirrored"}, "--loop custom"),
        ({"activation": "rleu"}, "relu"),
        ({"optimizer": "adan"}, "adam"),
        ({"loop": "fitt"}, "fit"),
        ({"strategy": "mirror"}, "mirrored"),
        ({"wide_table": "spares"}, "sparse"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainingOptions(variant="dnn", **given)
    assert named in str(caught.value)
    assert caught.value.remedy


def test_an_exact_l1_is_the_optimizer_s_not_the_layers() -> None:
    assert TrainingOptions(variant="dnn", l1=1e-3).layers.l1 == 1e-3
    assert TrainingOptions(variant="dnn", l1=1e-3, proximal=True).layers.l1 == 0
    assert TrainingOptions(variant="dnn", activation="leaky_relu").activation == "leaky-relu"
