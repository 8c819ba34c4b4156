"""Samples of a model out of tables and folders of images: the same tensors and labels as by an npz."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.cli import samples
from toolkit.datasets import _images
from toolkit.errors import BrokenInput, UsageError
from toolkit.prediction import Contract
from toolkit.prediction import samples as rows
from toolkit.progress import Progress
from toolkit.records import Signature, TensorSpec

IMAGE = TensorSpec(name="image", shape=(None, 4, 6), dtype="float32")
TWO = (TensorSpec(name="a", shape=(None, 1), dtype="float32"), TensorSpec(name="b", shape=(None,), dtype="int32"))


def signature(*inputs: TensorSpec) -> Signature:
    scores = TensorSpec(name="p", shape=(None, 3), dtype="float32")
    return Signature(key="serving_default", inputs=inputs, outputs=(scores,))


def picture(path: Path, values: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(12):
        picture(tmp_path / "photos" / ["cat", "dog", "owl"][i % 3] / f"{i}.png", rng.integers(0, 256, (4, 6), np.uint8))
    return tmp_path / "photos"


@pytest.mark.parametrize(("scale", "low", "high"), [("0..1", 0, 1), ("-1..1", -1, 1), ("0..255", 0, 255)])
def test_a_folder_gives_pixels_in_the_scale_asked_for(folder: Path, scale: str, low: float, high: float) -> None:
    found, total = _images.read(folder, [IMAGE], scale=scale, progress=Progress(quiet=True))
    values = found.inputs["image"]
    assert (values.shape, values.dtype, total) == ((12, 4, 6), np.float32, 12)
    assert low <= values.min() < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < values.max() <= high
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [4, 4, 4]


def test_labels_follow_the_models_classes(folder: Path) -> None:
    quiet = Progress(quiet=True)
    plain, _ = _images.read(folder, [IMAGE], scale="0..1", progress=quiet)
    named, _ = _images.read(folder, [IMAGE], scale="0..1", classes=("owl", "cat", "dog"), progress=quiet)
    assert plain.labels is not None
    assert named.labels is not None
    assert named.labels.tolist() == [(1, 2, 0)[label] for label in plain.labels]
    with pytest.raises(BrokenInput, match="folder 'cat' is none of the model's classes"):
        _images.read(folder, [IMAGE], scale="0..1", classes=("owl", "dog"), progress=quiet)


def test_folders_that_are_numbers_are_classes_by_their_number(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        picture(tmp_path / str(number) / "x.png", np.full((4, 6), number, np.uint8))
    found, _ = _images.read(tmp_path, [IMAGE], scale="0..255", progress=Progress(quiet=True))
    assert found.labels is not None
    assert found.labels.tolist() == found.inputs["image"][:, 0, 0].tolist()


def test_other_sizes_and_colours_are_turned_into_the_models(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", np.full((40, 60, 3), (10, 20, 30), np.uint8))
    picture(tmp_path / "b.jpg", np.full((4, 6), 200, np.uint8))
    spec = TensorSpec(name="x", shape=(None, 4, 6, 3), dtype="uint8")
    progress = Progress(stream=io.StringIO())
    found, _ = _images.read(tmp_path, [spec], scale=None, progress=progress)
    assert found.labels is None
    assert sorted(found.inputs["x"][:, 0, 0].tolist()) == [[10, 20, 30], [200, 200, 200]]
    assert progress.warnings == [f"{tmp_path}: images of 60 x 40 pixels were resized to 6 x 4 (bilinear)"]


def test_what_a_folder_cannot_be_is_one_line(tmp_path: Path, folder: Path) -> None:
    quiet = Progress(quiet=True)
    with pytest.raises(UsageError, match="how the model's pixels are scaled is not known"):
        _images.read(folder, [IMAGE], scale=None, progress=quiet)
    with pytest.raises(UsageError, match="takes no single image"):
        _images.read(folder, TWO, scale="0..1", progress=quiet)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BrokenInput, match="holds no images"):
        _images.read(tmp_path / "empty", [IMAGE], scale="0..1", progress=quiet)
    (folder / "cat" / "bad.png").write_bytes(b"\x89PNG no")
    with pytest.raises(BrokenInput, match="is no image that can be read"):
        _images.read(folder, [IMAGE], scale="0..1", progress=quiet)
    (folder / "cat" / "bad.png").unlink()
    picture(folder / "loose.png", np.zeros((4, 6), np.uint8))
    with pytest.raises(BrokenInput, match="images beside folders of images"):
        _images.read(folder, [IMAGE], scale="0..1", progress=quiet)


@pytest.mark.parametrize(
    ("said", "layers", "scale"),
    [("integers in 0..255, divided by 255", [], "0..1"), (None, ["Rescaling"], "0..255"), (None, ["Dense"], None)],
)
def test_the_record_says_how_pixels_are_scaled(said: str | None, layers: list[str], scale: str | None) -> None:
    assert _images.scale_of(said, layers) == scale


def table(path: Path, n: int, *, label: bool = True) -> Path:
    lines = ["b,extra,a,label" if label else "b,extra,a"]
    lines += [f"{i},x,{i / 2}{f',{i % 3}' if label else ''}" for i in range(n)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_gives_tensors_by_name_whatever_the_order_of_its_columns(tmp_path: Path) -> None:
    found, total = rows.read(str(table(tmp_path / "t.csv", 50)), Contract(inputs=TWO))
    assert total == 50
    assert found.inputs["a"].tolist() == [[i / 2] for i in range(50)]
    assert found.inputs["b"].dtype == np.int32
    assert found.labels is not None
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [i % 3 for i in range(50)]
    bare, _ = rows.read(str(table(tmp_path / "u.csv", 50, label=False)), Contract(inputs=TWO))
    assert bare.labels is None


def test_a_long_table_calibrates_by_rows_from_everywhere(tmp_path: Path) -> None:
    progress = Progress(stream=io.StringIO())
    path = table(tmp_path / "t.csv", 20_000)
    found = samples.read(str(path), signature(*TWO), "calibration", progress)
    chosen = found.inputs["b"]
    assert len(found) == samples.CALIBRATION_ROWS
    assert (np.diff(chosen) > 0).all()
    # Ten parts of the file get about a hundred rows each: sigma is 9.5.
    assert np.abs(np.histogram(chosen, 10, (0, 20_000))[0] - 100).max() < 45
    again = samples.read(str(path), signature(*TWO), "calibration", progress)
    assert again.digest == found.digest
    assert len(samples.read(str(path), signature(*TWO), "evaluation", progress)) == 20_000


def test_text_labels_are_the_models_classes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n1,2,dog\n3,4,cat\n")
    found, _ = rows.read(str(path), Contract(inputs=TWO, classes=("cat", "dog")))
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0]
    with pytest.raises(BrokenInput, match="has 'dog', which is none of the model's classes"):
        rows.read(str(path), Contract(inputs=TWO, classes=("cat", "owl")))
    with pytest.raises(BrokenInput, match="is text, and the names of the model's classes are not known"):
        rows.read(str(path), Contract(inputs=TWO))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\n1\n", "lacks column 'b'"),
        ("a,b\n", "has no rows"),
        ("a,b\n1,x\n", "not an integer"),
        ("a,b\nnan,1\n", "NaN"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises((BrokenInput, UsageError), match=said):
        samples.read(str(path), signature(*TWO), "calibration", Progress(quiet=True))


def test_fine_tuning_needs_labels_whatever_the_file(tmp_path: Path, folder: Path) -> None:
    bare = str(table(tmp_path / "u.csv", 50, label=False))
    with pytest.raises(BrokenInput, match="has no labels"):
        samples.read(bare, signature(*TWO), "train", Progress(quiet=True), need=True)
    known: Any = samples.Meaning(pixels="0..1")
    found = samples.read(str(folder), signature(IMAGE), "train", Progress(quiet=True), known=known, need=True)
    assert found.labels is not None
