"""Made-up digits as the files, wheels and registries that carry digits."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np

SPELLINGS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def pixels(count: int, seed: int = 0) -> np.ndarray:
    """``count`` different uint8 images ``[count, 28, 28]`` that use the whole range 0..255."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images[:, 0, 0] = 255
    return images


def labels(count: int) -> np.ndarray:
    """0, 1, …, 9, 0, 1, …: every digit as often as another."""
    return (np.arange(count) % 10).astype(np.uint8)


def arrays(train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
    """Arrays as Keras's mnist.npz names them."""
    return {
        "x_train": pixels(train, 1),
        "y_train": labels(train),
        "x_test": pixels(test, 2),
        "y_test": labels(test),
    }


def idx(array: np.ndarray) -> bytes:
    """An idx file of unsigned bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_folder(folder: Path, data: dict[str, np.ndarray], *, dot: bool = False, zipped: bool = False) -> Path:
    """The four idx files, named with ``-`` or ``.`` before ``idx``, gzipped or not."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, key in zip(SPELLINGS, ("x_train", "y_train", "x_test", "y_test"), strict=True):
        content = idx(data[key])
        spelled = name.replace("-idx", ".idx") if dot else name
        path = folder / (spelled + (".gz" if zipped else ""))
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def npz_folder(folder: Path, data: dict[str, np.ndarray]) -> Path:
    """A folder with mnist.npz."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "mnist.npz", **data)
    return folder


def wheel(folder: Path, name: str, version: str, members: dict[str, bytes], *, python: str = ">=3") -> Path:
    """A wheel that pip takes, with nothing but ``members`` in it, for the Pythons that it says."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {python}\n"
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def csv(images: np.ndarray, digits: np.ndarray) -> bytes:
    """The 5,000 digits' format: a gzipped line per digit, 784 pixels and then the label."""
    rows = np.column_stack([images.reshape(len(images), -1), digits])
    return gzip.compress("\n".join(",".join(map(str, row)) for row in rows).encode(), mtime=0)
