"""Writes ``.keras`` files whose bytes depend on the model alone, and names a model's weights by a digest."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

from toolkit.store import replacing

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip archive can hold."""


def save(model: Any, path: Path) -> None:
    """Saves a tf_keras model as ``.keras`` or ``.h5``, whole or not at all; equal models give equal bytes.

    Keras writes the time into the archive's directory and into ``metadata.json``; here both say 1980, so
    that a run that was interrupted and repeated leaves the same file as one that was not.

    Raises:
        MissingError: the file cannot be written.
    """
    if path.suffix == ".h5":  # which holds no date
        with replacing(path) as beside, warnings.catch_warnings():
            # That HDF5 is legacy: a model with quantization wrappers cannot be loaded from the other format.
            warnings.simplefilter("ignore", UserWarning)
            model.save(beside, save_format="h5")
        return
    with replacing(path) as beside, tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-") as folder:
        dated = Path(folder) / "dated.keras"
        model.save(dated)
        with zipfile.ZipFile(dated) as source, zipfile.ZipFile(beside, "w") as target:
            for item in sorted(source.infolist(), key=lambda i: i.filename):
                data = source.read(item)
                if item.filename == "metadata.json":
                    data = json.dumps({**json.loads(data), "date_saved": "1980-01-01@00:00:00"}).encode()
                undated = zipfile.ZipInfo(item.filename, _EPOCH)
                undated.compress_type = item.compress_type
                undated.external_attr = item.external_attr
                target.writestr(undated, data)


def weights_digest(model: Any) -> str:
    """Hex sha256 over names, shapes, dtypes and bytes of a model's weights, in the model's order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        value = variable.numpy()
        digest.update(f"{variable.name}\0{value.shape}\0{value.dtype}\0".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
