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
    assert to_json(options) == {"variant": "dnn", **values}
