"""Reads and checks handwritten digits: 28 × 28 pixels and a label from 0 to 9, from npz or idx files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.datasets import _archive, _idx
from toolkit.errors import BrokenInput, UsageError, not_permitted

SIDE = 28
CLASSES = 10

NPZ = "mnist.npz"
_ARRAYS = (("x_train", "y_train"), ("x_test", "y_test"))
_IDX = (("train-images", "train-labels"), ("t10k-images", "t10k-labels"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Digits:
    """Images as they were stored, their labels, and the place that is named when they are wrong."""

    images: np.ndarray
    labels: np.ndarray
    where: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalised:
    """``pixels`` uint8 ``[N, 28, 28]`` (what digests are made of), ``images`` float32 in 0..1, ``labels`` int64."""

    pixels: np.ndarray
    images: np.ndarray
    labels: np.ndarray


def from_folder(folder: Path) -> list[Digits]:
    """Train and test digits of a user's folder.

    Raises:
        UsageError: there is no such folder.
        BrokenInput: no digits in it, not all four idx files, or a damaged file.
        MissingError: the folder or a file in it must not be read.
    """
    try:
        return _from_folder(folder)
    except PermissionError as error:  # of the looking itself: the readers have their own
        raise not_permitted(folder) from error


def _from_folder(folder: Path) -> list[Digits]:
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise UsageError(state, where=str(folder), remedy=f"give the folder that holds {NPZ} or the four idx files")
    if (folder / NPZ).is_file():
        return from_npz(folder / NPZ)
    found = {stem: _find(folder, stem, dims) for names in _IDX for stem, dims in zip(names, (3, 1), strict=True)}
    missing = [f"{stem}-idx{3 if 'images' in stem else 1}-ubyte" for stem, path in found.items() if path is None]
    if missing:
        lacking = f"no {NPZ} and none of the idx files" if len(missing) == 4 else f"no {', '.join(missing)}"
        raise BrokenInput(
            f"holds {lacking}",
            where=str(folder),
            remedy=f"put {NPZ} (x_train, y_train, x_test, y_test) or train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte there, gzipped or not",
        )
    parts = []
    for images, labels in _IDX:
        image_path, label_path = found[images], found[labels]
        assert image_path is not None
        assert label_path is not None
        parts.append(
            Digits(
                images=_idx.read(image_path, dimensions=3),
                labels=_idx.read(label_path, dimensions=1),
                where=f"{image_path} with {label_path.name}",
            )
        )
    return parts


def from_npz(path: Path) -> list[Digits]:
    """Train and test digits of an npz in Keras's layout.

    Raises:
        BrokenInput: not an npz, arrays missing, or arrays of Python objects.
    """
    names = [name for pair in _ARRAYS for name in pair]
    remedy = f"save it with np.savez(path, {', '.join(f'{n}=...' for n in names)})"
    arrays = _archive.read(path, names, remedy=remedy)
    return [Digits(images=arrays[x], labels=arrays[y], where=f"{path}, arrays {x} and {y}") for x, y in _ARRAYS]


def normalised(parts: Sequence[Digits]) -> tuple[Normalised, str]:
    """Checks digits and scales their pixels to 0..1, all parts alike, one part after the other.

    Integers must lie in 0..255 and are divided by 255. Floats must lie in 0..255 as well; they are taken
    to be in 0..1 already if no value of any part is above 1, else they are divided by 255.

    Returns:
        All samples, and what was done to the pixels.

    Raises:
        BrokenInput: wrong shape, unequal counts, no sample, labels outside 0..9, NaN, pixels out of range, or
            parts in different scales.
    """
    parts = [_check(part) for part in parts]
    # One part in 0..1 and the other in 0..255 would make two worlds of one data set.
    whites = {_white(part) for part in parts} - {None}
    if len(whites) > 1:
        whole = next(part for part in parts if _white(part) == 255)
        raise _broken(whole, "pixels reach beyond 1, those of the other part do not", "save both parts in one scale")
    integers = all(np.issubdtype(part.images.dtype, np.integer) for part in parts)
    unit = not integers and whites <= {1}
    if integers:
        said = "integers in 0..255, divided by 255"
    elif unit:
        said = "floats, none above 1: taken as 0..1 already"
    else:
        said = "floats, some above 1: taken as 0..255 and divided by 255"
    images = np.concatenate([part.images for part in parts]).astype(np.float32)
    if not unit:
        images /= 255
    return (
        Normalised(
            pixels=np.rint(images * 255).astype(np.uint8),
            images=images,
            labels=np.concatenate([part.labels for part in parts]).astype(np.int64),
        ),
        said,
    )


def _white(part: Digits) -> int | None:
    """The value of white in a part's scale, 255 or 1; ``None`` where nothing tells (floats, all black)."""
    top = float(part.images.max())
    if np.issubdtype(part.images.dtype, np.integer) or top > 1:
        return 255
    return 1 if top else None


def _find(folder: Path, stem: str, dimensions: int) -> Path | None:
    names = [f"{stem}{dash}idx{dimensions}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _check(part: Digits) -> Digits:
    """The part with images ``[N, 28, 28]`` and integer labels, or a line that says what is wrong."""
    images, labels = part.images, part.labels
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == labels.round()).all():
        labels = labels.astype(np.int64)
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise _broken(part, f"images have shape {list(images.shape)}, not [N, {SIDE}, {SIDE}]", "reshape them")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise _broken(
            part, f"labels have shape {list(labels.shape)} and type {labels.dtype}", "save integers of shape [N]"
        )
    if len(images) != len(labels):
        raise _broken(part, f"{len(images):,} images but {len(labels):,} labels", "they must be one to one")
    if not len(images):
        raise _broken(part, "no sample", "at least one digit is needed")
    wrong = (labels < 0) | (labels >= CLASSES)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise _broken(part, f"label {int(labels[row])} in row {row} is outside 0..{CLASSES - 1}", "correct the labels")
    if not np.issubdtype(images.dtype, np.integer) and not np.issubdtype(images.dtype, np.floating):
        raise _broken(part, f"images are {images.dtype}, not numbers", "save them as uint8 or float32")
    flat = images.reshape(len(images), -1)
    if np.issubdtype(images.dtype, np.floating) and not np.isfinite(flat).all():
        row = int(np.flatnonzero(~np.isfinite(flat).all(axis=1))[0])
        raise _broken(part, f"NaN or infinite pixels (first in row {row})", "repair or remove those images")
    out = ((flat < 0) | (flat > 255)).any(axis=1)
    if out.any():
        row = int(np.flatnonzero(out)[0])
        raise _broken(part, f"pixels outside 0..255 (first in row {row})", "scale them to 0..255, or to 0..1 as floats")
    return Digits(images=images, labels=labels, where=part.where)


def _broken(part: Digits, what: str, remedy: str) -> BrokenInput:
    return BrokenInput(what, where=part.where, remedy=remedy)
