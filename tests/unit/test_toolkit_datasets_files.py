"""Digits in the user's own files: every layout is read, every kind of damage is one line."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import digits as made
from hypothesis import given
from hypothesis import strategies as st

from toolkit.datasets import _digits, _idx
from toolkit.errors import BrokenInput, EdgeExportError, MissingError, UsageError

DATA = made.arrays()


def refused(work: Callable[[], Any], said: str, where: Path | str, kind: type[EdgeExportError] = BrokenInput) -> None:
    """``work`` raises one line that says what, where and a remedy."""
    with pytest.raises(kind) as caught:
        work()
    line = str(caught.value)
    assert said in line, line
    assert str(where) in line, line
    assert caught.value.remedy
    assert "\n" not in line


def read(folder: Path) -> tuple[_digits.Normalised, str]:
    return _digits.normalised(_digits.from_folder(folder))


def with_npz(folder: Path, **changed: Any) -> Path:
    return made.npz_folder(folder, {**DATA, **changed})


# ---- every layout


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_four_idx_files_in_both_spellings(tmp_path: Path, dot: bool, zipped: bool) -> None:
    train, test = _digits.from_folder(made.idx_folder(tmp_path, DATA, dot=dot, zipped=zipped))
    for part, kind in ((train, "train"), (test, "test")):
        assert np.array_equal(part.images, DATA[f"x_{kind}"])
        assert np.array_equal(part.labels, DATA[f"y_{kind}"])


def test_npz_and_idx_hold_the_same_digits(tmp_path: Path) -> None:
    one, said = read(made.npz_folder(tmp_path / "npz", DATA))
    other, _ = read(made.idx_folder(tmp_path / "idx", DATA))
    assert "integers" in said
    assert np.array_equal(one.pixels, other.pixels)
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.labels, other.labels)
    assert (one.images.dtype, one.labels.dtype, one.images.shape) == (np.float32, np.int64, (60, 28, 28))
    assert np.array_equal(one.images, one.pixels.astype(np.float32) / 255)


def test_gzipped_content_under_a_plain_name_is_read(tmp_path: Path) -> None:
    folder = made.idx_folder(tmp_path, DATA)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(_digits.from_folder(folder)[0].images, DATA["x_train"])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (lambda x: x.astype(np.float64), "divided by 255"),
        (lambda x: x.astype(np.float32) / 255, "0..1 already"),
        (lambda x: x.astype(np.float16), "divided by 255"),
        (lambda x: (x / 255).astype(np.float16), "0..1 already"),
        (lambda x: x.astype(np.int64)[..., None], "integers"),
    ],
    ids=["float 0..255", "float 0..1", "float16 0..255", "float16 0..1", "int64 with a channel"],
)
def test_pixels_in_any_scale_are_the_same_digits(
    tmp_path: Path, images: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    wanted, _ = read(with_npz(tmp_path / "a"))
    found, assumed = read(with_npz(tmp_path / "b", x_train=images(DATA["x_train"]), x_test=images(DATA["x_test"])))
    assert said in assumed
    assert np.array_equal(found.pixels, wanted.pixels)
    assert np.allclose(found.images, wanted.images, atol=5e-4)  # float16 holds no more
    assert found.images.max() == 1


def test_labels_may_be_whole_floats(tmp_path: Path) -> None:
    found, _ = read(with_npz(tmp_path, y_train=DATA["y_train"].astype(np.float32)))
    assert found.labels.dtype == np.int64
    assert found.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


# ---- folders that are not what they should be


def test_no_such_folder(tmp_path: Path) -> None:
    refused(lambda: read(tmp_path / "nowhere"), "no such folder", tmp_path / "nowhere", UsageError)


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    path = with_npz(tmp_path) / "mnist.npz"
    refused(lambda: read(path), "is a file, not a folder; give the folder that holds", path, UsageError)


def test_a_folder_without_digits_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    refused(lambda: read(tmp_path), "no mnist.npz and none of the idx files", tmp_path)
    refused(lambda: read(tmp_path), "t10k-labels-idx1-ubyte", tmp_path)


def test_one_idx_file_missing_is_named(tmp_path: Path) -> None:
    (made.idx_folder(tmp_path, DATA) / "t10k-images-idx3-ubyte").unlink()
    refused(lambda: read(tmp_path), "holds no t10k-images-idx3-ubyte;", tmp_path)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that everybody may enter, and a process that is not root: root may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = os.geteuid() == 0
        made.npz_folder(Path(folder) / "closed", DATA)
        made.idx_folder(Path(folder) / "open", DATA)
        (Path(folder) / "open" / "train-images-idx3-ubyte").chmod(0)
        (made.npz_folder(Path(folder) / "npz", DATA) / "mnist.npz").chmod(0)
        (Path(folder) / "closed").chmod(0)
        if root:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)
            (Path(folder) / "closed").chmod(0o755)


@pytest.mark.parametrize(
    ("folder", "named"),
    [("closed", "closed"), ("open", "open/train-images-idx3-ubyte"), ("npz", "npz/mnist.npz")],
)
def test_what_must_not_be_read_says_so(unprivileged: Path, folder: str, named: str) -> None:
    refused(lambda: read(unprivileged / folder), "permission denied", unprivileged / named, MissingError)


# ---- damaged idx

IMAGES = made.idx(made.pixels(3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "begins with nothing"),
        (IMAGES[:3], "begins with 00 00 08"),
        (IMAGES[:9], "truncated in its header"),
        (IMAGES[:-1], "truncated: 2,351 of 2,352 bytes"),
        (IMAGES[:16], "truncated: 0 of 2,352 bytes"),
        (IMAGES + b"\0", "more than the 2,352 bytes"),
        (b"\0\0\x0d\x03" + IMAGES[4:], "not an idx file of unsigned bytes"),
        (made.idx(made.labels(3)), "images and labels were not mixed up"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "begins with 89 50 4e 47"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(10), "truncated: 10 of"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 0), "holds no values"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "cannot be read"),
        (gzip.compress(IMAGES, mtime=0)[:40], "cannot be read"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + b"\0" * 8, "cannot be read"),
        (gzip.compress(IMAGES[:-1], mtime=0), "truncated"),
        (gzip.compress(IMAGES, mtime=0)[:10] + b"\xff" * 50, "cannot be read"),
        (b"\x1f\x8b" + bytes(100), "cannot be read"),
    ],
)
def test_damaged_idx_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    refused(lambda: _idx.read(path, dimensions=3), said, path)


def test_a_small_file_that_unpacks_to_a_huge_one_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(IMAGES + bytes(50_000_000), compresslevel=1))
    tracemalloc.start()
    try:
        refused(lambda: _idx.read(path, dimensions=3), "more than the 2,352 bytes", path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=60), st.sampled_from([b"", b"\0\0\x08\x03", b"\0\0\x08\x03\0\0\0\x02", b"\x1f\x8b\x08"]))
def test_no_bytes_at_all_break_the_idx_reader(tail: bytes, head: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(head + tail)
        with contextlib.suppress(BrokenInput):
            assert _idx.read(path, dimensions=3).ndim == 3


# ---- damaged npz


def saved(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def objects() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{**DATA, "x_train": np.array([None, {}], dtype=object)})
    return stream.getvalue()


def no_arrays() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in DATA:
            archive.writestr(name, "text")
    return stream.getvalue()


def encrypted() -> bytes:
    content = bytearray(saved(**DATA))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # local headers, central directory
        at = content.find(magic)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(magic, at + 1)
    return bytes(content)


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, DATA["x_train"])
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged, or not an npz"),
        (b"PK\x03\x04" + bytes(30), "damaged, or not an npz"),
        (b"\x89PNG\r\n\x1a\n", "damaged, or not an npz"),
        (saved(**DATA)[:-30], "damaged, or not an npz"),
        (npy(), "damaged, or not an npz"),
        (no_arrays(), "damaged, or not an npz"),
        (encrypted(), "damaged, or not an npz"),
        (objects(), "array of Python objects"),
        (saved(x_train=DATA["x_train"]), "has no array y_train, x_test, y_test (it has: x_train)"),
        (saved(), "it has: none"),
    ],
    ids=["empty", "zip magic", "png", "truncated", "npy", "no arrays", "encrypted", "objects", "one array", "no array"],
)
def test_damaged_npz_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    refused(lambda: read(tmp_path), said, path)


@given(st.data())
def test_no_damage_breaks_the_npz_reader(data: st.DataObject) -> None:
    small = {name: array[:1] for name, array in DATA.items()}
    stream = io.BytesIO()
    (np.savez_compressed if data.draw(st.booleans()) else np.savez)(stream, **small)
    content = bytearray(stream.getvalue())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mnist.npz").write_bytes(content)
        with contextlib.suppress(BrokenInput):
            assert len(read(Path(folder))[0].labels) == 2


# ---- arrays that are no digits


def nan(value: float) -> np.ndarray:
    images = DATA["x_train"].astype(np.float32)
    images[7, 3, 3] = value
    return images


def at(row: int, value: int) -> np.ndarray:
    labels = DATA["y_train"].astype(np.int64)
    labels[row] = value
    return labels


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x_train": DATA["x_train"][:, :27]}, "shape [40, 27, 28], not [N, 28, 28]"),
        ({"x_train": DATA["x_train"].reshape(40, 784)}, "shape [40, 784]"),
        ({"x_train": np.repeat(DATA["x_train"][..., None], 3, 3)}, "shape [40, 28, 28, 3]"),
        ({"x_train": np.float32(3)}, "shape []"),
        ({"y_train": np.eye(10)[DATA["y_train"]]}, "labels have shape [40, 10]"),
        ({"y_train": DATA["y_train"][:-1]}, "40 images but 39 labels"),
        ({"y_train": at(5, 10)}, "label 10 in row 5 is outside 0..9"),
        ({"y_train": at(6, -1)}, "label -1 in row 6 is outside 0..9"),
        ({"y_train": DATA["y_train"] + 0.5}, "type float64"),
        ({"y_train": np.full(40, np.nan)}, "type float64"),
        ({"y_train": DATA["y_train"].astype(str)}, "save integers"),
        ({"x_train": nan(np.nan)}, "NaN or infinite pixels (first in row 7)"),
        ({"x_train": nan(np.inf)}, "NaN or infinite pixels (first in row 7)"),
        ({"x_train": nan(255.5)}, "outside 0..255 (first in row 7)"),
        ({"x_train": nan(-0.1)}, "outside 0..255 (first in row 7)"),
        ({"x_train": DATA["x_train"].astype(np.int64) + 1}, "outside 0..255"),
        ({"x_train": DATA["x_train"] > 9}, "images are bool"),
        ({"x_train": DATA["x_train"].astype(complex)}, "images are complex128"),
        ({"x_train": DATA["x_train"][:0], "y_train": DATA["y_train"][:0]}, "no sample"),
        ({"x_train": DATA["x_train"] / 255}, "save both parts in one scale"),
        ({"x_train": DATA["x_train"] / 255, "x_test": DATA["x_test"] * 1.0}, "save both parts in one scale"),
    ],
)
def test_arrays_that_are_no_digits_are_one_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    refused(lambda: read(with_npz(tmp_path, **changed)), said, tmp_path / "mnist.npz")


def test_the_part_that_is_wrong_is_named(tmp_path: Path) -> None:
    folder = made.idx_folder(tmp_path, {**DATA, "y_test": DATA["y_test"] + 1})
    refused(lambda: read(folder), "label 10", "t10k-images-idx3-ubyte with t10k-labels-idx1-ubyte")
    refused(lambda: read(with_npz(tmp_path, y_test=DATA["y_test"] + 1)), "label 10", "arrays x_test and y_test")
