"""A folder of images as samples of a model: ``FOLDER/*.png``, or ``FOLDER/CLASS/*.png`` with the classes as labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput, UsageError, not_permitted
from toolkit.progress import Progress
from toolkit.records import TensorSpec

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")

SCALES = {"0..1": (255.0, 0.0), "-1..1": (127.5, 1.0), "0..255": (1.0, 0.0)}
"""How pixels reach a model: a byte is divided by the first number, and the second is taken off."""


def scale_of(normalisation: str | None, layers: Sequence[str]) -> str | None:
    """The pixels that a model takes, as far as its record says it; ``None``: nobody knows.

    Args:
        normalisation: what was done to the training images, as their data set says.
        layers: class names of the model's layers. One that scales by itself takes pixels as they are.
    """
    if any(name in ("Rescaling", "Normalization") for name in layers):
        return "0..255"
    if normalisation is not None and ("255" in normalisation or "0..1" in normalisation):
        return "0..1"
    return None


def read(
    folder: Path,
    inputs: Sequence[TensorSpec],
    *,
    scale: str | None,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    progress: Progress,
) -> tuple[Split, int]:
    """Samples for a model that takes one image.

    Images are turned to the model's channels (1: grey, 3: RGB) and, if theirs is another size, resized (bilinear,
    as Keras's own loader does), which is said.

    Args:
        folder: images, or one folder of images for each class.
        inputs: of the model: one, ``[N, H, W]`` or ``[N, H, W, C]``.
        scale: one of :data:`SCALES`; ``None``: not known, which a model of floats does not allow.
        classes: names of the model's classes in their order; by default the folders' names in theirs.
        limit: at most this many images, those with the smallest hash of their name; ``None``: all.
        progress: warned.

    Returns:
        The samples, ordered by the hash of their names, and the number of images in the folder.

    Raises:
        UsageError: the model takes no single image, or the scale is not known.
        BrokenInput: no images, a damaged one, a folder that is none of the classes.
        MissingError: a file must not be read.
    """
    height, width, channels, spec = _wanted(inputs, folder)
    if scale is None and spec.dtype != "uint8":
        raise UsageError(
            "how the model's pixels are scaled is not known",
            where=str(folder),
            remedy=f"say it with --pixels: {', '.join(SCALES)}",
        )
    found = _files(folder)
    total = len(found)
    found = sorted(found, key=lambda path: hashlib.sha256(str(path.relative_to(folder)).encode()).hexdigest())
    found = found[:limit]
    images = np.empty((total if limit is None else len(found), height, width, channels), np.uint8)
    sizes: set[tuple[int, int]] = set()
    for i, path in enumerate(found):
        images[i], size = _image(path, height, width, channels)
        sizes.add(size)
    if others := sizes - {(width, height)}:
        shown = ", ".join(f"{w} x {h}" for w, h in sorted(others)[:3])
        progress.warn(f"{folder}: images of {shown} pixels were resized to {width} x {height} (bilinear)")
    labels = _labels(found, folder, classes)
    digest = hashlib.sha256(f"{scale}\n".encode() + images.tobytes() + (b"" if labels is None else labels.tobytes()))
    values: Any = images if len(spec.shape) == 4 else images[..., 0]
    if spec.dtype != "uint8":
        divisor, shift = SCALES[str(scale)]
        values = (values.astype(np.float32) / np.float32(divisor) - np.float32(shift)).astype(spec.dtype)
    return Split(inputs={spec.name: values}, labels=labels, digest=digest.hexdigest()), total


def _wanted(inputs: Sequence[TensorSpec], folder: Path) -> tuple[int, int, int, TensorSpec]:
    spec = inputs[0]
    shape = spec.shape[1:]
    channels = shape[2] if len(shape) == 3 else 1
    fits = len(inputs) == 1 and len(shape) in (2, 3) and None not in shape[:2] and channels in (1, 3)
    if not fits or not (spec.dtype.startswith("float") or spec.dtype == "uint8"):
        shown = ", ".join(f"{s.name} {s.dtype} {list(s.shape)}" for s in inputs)
        raise UsageError(
            f"the model takes no single image of 1 or 3 channels, but {shown}",
            where=str(folder),
            remedy="give an .npz whose arrays are named like the model's inputs",
        )
    assert shape[0] is not None
    assert shape[1] is not None
    assert channels is not None
    return shape[0], shape[1], channels, spec


def _files(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
        found = [path for path in entries if path.suffix.lower() in ENDINGS and path.is_file()]
        for inner in entries:
            if inner.is_dir() and not inner.name.startswith("."):
                found += [path for path in sorted(inner.iterdir()) if path.suffix.lower() in ENDINGS]
    except PermissionError as error:
        raise not_permitted(folder) from error
    if not found:
        raise BrokenInput(
            "holds no images",
            where=str(folder),
            remedy=f"put {', '.join(ENDINGS)} there, or in a folder for each class",
        )
    flat = [path for path in found if path.parent == folder]
    if flat and len(flat) != len(found):
        raise BrokenInput(
            f"has images beside folders of images ({flat[0].name})",
            where=str(folder),
            remedy="put every image into the folder of its class, or all into one",
        )
    return found


def _image(path: Path, height: int, width: int, channels: int) -> tuple[np.ndarray, tuple[int, int]]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
    except PermissionError as error:
        raise not_permitted(path) from error
    # Pillow raises these for damaged files of one kind or another.
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenInput(f"is no image that can be read ({error})"[:200], where=str(path)) from error
    size = image.size
    if size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(height, width, channels), size


def _labels(found: Sequence[Path], folder: Path, classes: Sequence[str] | None) -> np.ndarray | None:
    if found[0].parent == folder:
        return None
    there = sorted({path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")})
    names = list(classes) if classes else there
    strange = [name for name in there if name not in names]
    if strange:
        raise BrokenInput(
            f"folder {strange[0]!r} is none of the model's classes ({', '.join(names)[:200]})",
            where=str(folder),
            remedy="name the folders like the classes",
        )
    # Folders 0, 1, 10, 2 sort as texts: numbers are meant.
    if not classes and all(name.isdigit() for name in names):
        return np.array([int(path.parent.name) for path in found], dtype=np.int64)
    return np.array([names.index(path.parent.name) for path in found], dtype=np.int64)
