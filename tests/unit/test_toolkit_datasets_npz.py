"""A user's npz for any model: names, shapes, dtypes and labels that fit are read, all else is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.datasets import _npz
from toolkit.errors import BrokenInput, EdgeExportError, UsageError
from toolkit.records import TensorSpec
from toolkit.store import sha256_file


def spec(name: str = "image", shape: tuple[int | None, ...] = (None, 4), dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


IMAGE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def save(tmp_path: Path) -> Any:
    def saved(**arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return path

    return saved


def refused(
    path: Path, inputs: list[TensorSpec], said: str, kind: type[EdgeExportError] = BrokenInput, **options: Any
) -> None:
    with pytest.raises(kind) as caught:
        _npz.read(path, inputs, **options)
    line = str(caught.value)
    assert said in line, line
    assert str(path) in line
    assert caught.value.remedy
    assert "\n" not in line


def test_arrays_are_paired_by_name_not_by_order(save: Any) -> None:
    other = np.array([[7], [8], [9]], dtype=np.int64)
    path = save(other=other, image=IMAGE, unused=np.zeros(5))
    found = _npz.read(path, [spec(), spec("other", (None, 1), "int32")])
    assert list(found.inputs) == ["image", "other"]
    assert np.array_equal(found.inputs["image"], IMAGE)
    assert np.array_equal(found.inputs["other"], other)
    assert found.inputs["other"].dtype == np.int32
    assert found.labels is None
    assert found.digest == sha256_file(path)


def test_float64_becomes_what_the_model_takes(save: Any) -> None:
    found = _npz.read(save(image=IMAGE.astype(np.float64)), [spec()])
    assert found.inputs["image"].dtype == np.float32


def test_a_dynamic_dimension_takes_any_size_and_a_fixed_batch_any_number_of_rows(save: Any) -> None:
    assert len(_npz.read(save(image=IMAGE), [spec(shape=(None, None))])) == 3
    assert len(_npz.read(save(image=IMAGE), [spec(shape=(1, 4))])) == 3


@pytest.mark.parametrize(
    ("array", "shape", "dtype", "said"),
    [
        (IMAGE, (None, 5), "float32", "has shape [3, 4], the model takes [N, 5]"),
        (IMAGE[0], (None, 4), "float32", "has shape [4], the model takes [N, 4]"),
        (IMAGE[..., None], (None, None), "float32", "has shape [3, 4, 1], the model takes [N, any]"),
        (np.float32(1), (None, 4), "float32", "single value"),
        (np.float32(1), (), "float32", "single value"),
        (IMAGE.astype(np.uint8), (None, 4), "float32", "is uint8, the model takes float32; scale it"),
        (IMAGE, (None, 4), "int32", "is float32, the model takes int32"),
        (IMAGE.astype(np.int64) + 2**31, (None, 4), "int32", "values outside int32"),
        (IMAGE.astype(np.int64) - 1, (None, 4), "uint8", "values outside uint8"),
        (IMAGE.astype(str), (None, 4), "float32", "is <U32, the model takes float32"),
        (IMAGE.astype(np.float64) * 1e300, (None, 4), "float32", "values beyond float32"),
        (IMAGE[:0], (None, 4), "float32", "has no rows"),
    ],
)
def test_what_does_not_fit_is_refused(
    save: Any, array: np.ndarray, shape: tuple[int | None, ...], dtype: str, said: str
) -> None:
    refused(save(image=array), [spec(shape=shape, dtype=dtype)], said)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_with_their_row(save: Any, value: float) -> None:
    image = IMAGE.copy()
    image[2, 1] = value
    refused(save(image=image), [spec()], "NaN or infinite values (first in row 2)")


def test_a_missing_array_is_named_and_the_remedy_can_be_copied(save: Any) -> None:
    path = save(picture=IMAGE, label=[0, 1, 2])
    refused(path, [spec()], "no array named 'image' (it has: picture)")
    refused(path, [spec(), spec("size")], "np.savez(path, image=..., size=...)")


def test_different_numbers_of_rows_are_counted(save: Any) -> None:
    refused(save(image=IMAGE, label=[1, 2]), [spec()], "different numbers of rows (image: 3, label: 2)")
    refused(save(a=IMAGE, b=IMAGE[:2]), [spec("a"), spec("b")], "(a: 3, b: 2)")


# ---- names that nobody chose


@pytest.mark.parametrize(
    "name",
    ["input_1", "input_layer", "input_layer_3", "keras_tensor", "keras_tensor_12", "serving_default_input_1", "inputs"],
)
def test_one_array_fits_one_automatic_name_whatever_it_is_called(save: Any, name: str) -> None:
    found = _npz.read(save(digits=IMAGE, label=[0, 1, 2]), [spec(name)])
    assert np.array_equal(found.inputs[name], IMAGE)
    assert found.labels is not None


def test_a_name_that_was_chosen_is_insisted_on(save: Any) -> None:
    path = save(digits=IMAGE)
    for name in ("image", "input_image", "my_input_1", "keras_tensor_a"):
        refused(path, [spec(name)], f"no array named '{name}'")


def test_two_arrays_or_two_inputs_are_not_guessed(save: Any) -> None:
    refused(save(digits=IMAGE, extra=IMAGE), [spec("input_1")], "no array named 'input_1'")
    refused(save(digits=IMAGE), [spec("input_1"), spec("input_2")], "no array named 'input_1', 'input_2'")


# ---- labels


@pytest.mark.parametrize(
    "labels",
    [
        np.array([2, 0, 1], np.uint8),
        np.array([2.0, 0.0, 1.0]),
        np.array([[2], [0], [1]]),
        np.eye(3, dtype=np.float32)[[2, 0, 1]],
        np.eye(3, dtype=bool)[[2, 0, 1]],
    ],
    ids=["integers", "whole floats", "a column", "one-hot", "one-hot of bool"],
)
@pytest.mark.parametrize("name", ["label", "labels"])
def test_labels_in_every_usual_form(save: Any, labels: np.ndarray, name: str) -> None:
    found = _npz.read(save(image=IMAGE, **{name: labels}), [spec()], need_labels=True).labels
    assert found is not None
    assert found.dtype == np.int64
    assert found.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0.5, 1, 2]),
        np.array([np.nan, 1, 2]),
        np.array(["a", "b", "c"]),
        np.ones((3, 2)),
        np.zeros((3, 2)),
        np.full((3, 2), 0.5),
        np.zeros((3, 0)),
        np.zeros((0, 0)),
    ],
    ids=["fractions", "NaN", "text", "two classes at once", "no class", "shares", "no column", "nothing"],
)
def test_other_labels_are_refused(save: Any, labels: np.ndarray) -> None:
    refused(save(image=IMAGE, label=labels), [spec()], f"labels of shape {list(labels.shape)}")


@pytest.mark.parametrize("values", [[0.5, -1.25, 2e6], [1.0, 2.0, 3.0]], ids=["fractions", "whole"])
@pytest.mark.parametrize("column", [False, True])
def test_labels_of_a_regression_stay_values(save: Any, values: list[float], column: bool) -> None:
    label = np.array(values, np.float32).reshape((3, 1) if column else 3)
    found = _npz.read(save(image=IMAGE, label=label), [spec()], need_labels=True, regression=True).labels
    assert found is not None
    assert (found.dtype, found.tolist()) == (np.float64, values)


def test_classes_stay_classes_where_values_are_allowed(save: Any) -> None:
    found = _npz.read(save(image=IMAGE, label=[2, 0, 1]), [spec()], regression=True).labels
    assert found is not None
    assert (found.dtype, found.tolist()) == (np.int64, [2, 0, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(save: Any, bad: float) -> None:
    path = save(image=IMAGE, label=np.array([1.5, bad, 2.5]))
    refused(path, [spec()], "NaN or infinite labels (first in row 1)", regression=True)


def test_no_rows_at_all(save: Any) -> None:
    refused(save(image=IMAGE[:0], label=np.zeros(0, np.int64)), [spec()], "has no rows")


def test_labels_are_asked_for_only_where_needed(save: Any) -> None:
    path = save(image=IMAGE)
    assert _npz.read(path, [spec()]).labels is None
    refused(path, [spec()], "no array named 'label'", need_labels=True)


def test_an_input_called_label_is_no_label(save: Any) -> None:
    found = _npz.read(save(label=IMAGE, labels=[0, 1, 2]), [spec("label")])
    assert np.array_equal(found.inputs["label"], IMAGE)
    assert found.labels is not None
    assert _npz.read(save(label=IMAGE), [spec("label")]).labels is None


# ---- files


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "no.npz", [spec()], "no such file", UsageError)


def test_a_folder_or_another_format_is_refused(tmp_path: Path, save: Any) -> None:
    refused(tmp_path, [spec()], "cannot be read")
    path = tmp_path / "x.npz"
    for content in (b"", b"\x89PNG", save(image=IMAGE).read_bytes()[:-40]):
        path.write_bytes(content)
        refused(path, [spec()], "damaged, or not an npz")
    np.savez(path, image=np.array([{}, None], dtype=object))
    refused(path, [spec()], "Python objects")
    with open(path, "wb") as stream:
        np.save(stream, IMAGE)
    refused(path, [spec()], "damaged, or not an npz")
