"""Vectors as files for TensorBoard's projector: tensors, what to call them, and pictures of them.

tensorboard --logdir RUN/logs/tensorboard      # then PROJECTOR in the menu
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.store import replacing

SPRITE_LIMIT = 8192
"""Most pixels across a sprite that the projector shows: its documentation's limit, that of common graphics cards."""

EVENTS = "events.out.tfevents.0.projector"


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """One tensor of the projector.

    ``vectors`` float32 ``[N, D]``; ``words`` says things of each of the N, by heading, in the order shown, the name
    first; ``images`` ``[N, H, W]`` or ``[N, H, W, C]`` (C 1 or 3) in 0..1. ``name`` is a file's, unlike the others'.
    """

    name: str
    vectors: np.ndarray
    words: Mapping[str, Sequence[str]]
    images: np.ndarray | None = None


def write(logs: Path, shown: Sequence[Vectors]) -> list[Path]:
    """Writes a folder of projector files, whole or not at all, in the place of what was there.

    Of each: ``NAME.tsv``, ``NAME_words.tsv`` and, if it has images, ``NAME_sprite.png``; then the projector's
    configuration, and an events file without events: TensorBoard takes no folder for a run that has none.

    Returns:
        The files.

    Raises:
        MissingError: they cannot be written.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector import ProjectorConfig, metadata

    config = ProjectorConfig()
    with replacing(logs) as beside:
        beside.mkdir()
        for one in shown:
            info = config.embeddings.add(tensor_name=one.name, tensor_path=f"{one.name}.tsv")
            info.tensor_shape.extend(one.vectors.shape)
            # Not .bytes: the projector tries every file as text first, and some bytes are text.
            (beside / info.tensor_path).write_text(_tsv(one.vectors), encoding="utf-8")
            info.metadata_path = f"{one.name}_words.tsv"
            (beside / info.metadata_path).write_text(_words(one.words), encoding="utf-8")
            if one.images is not None:
                info.sprite.image_path = f"{one.name}_sprite.png"
                png, (height, width) = sprite(one.images)
                info.sprite.single_image_dim.extend((width, height))
                (beside / info.sprite.image_path).write_bytes(png)
        (beside / metadata.PROJECTOR_FILENAME).write_text(text_format.MessageToString(config), encoding="utf-8")
        _write_events(beside / EVENTS)
    return sorted(p for p in logs.iterdir() if p.is_file())


def sprite(images: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    """Images side by side in a square grid, row by row, black where none is left.

    Args:
        images: as in :class:`Vectors`; every k-th pixel of each is taken if the grid were too large otherwise.

    Returns:
        The PNG, and height and width of one image in it.
    """
    import tensorflow as tf

    side = math.ceil(math.sqrt(len(images)))
    step = math.ceil(side * max(images.shape[1:3]) / SPRITE_LIMIT)
    pixels = np.nan_to_num(images.reshape(*images.shape[:3], -1)[:, ::step, ::step])
    pixels = np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    count, height, width, channels = pixels.shape
    grid = np.zeros((side * side, height, width, channels), dtype=np.uint8)
    grid[:count] = pixels
    sheet = grid.reshape(side, side, height, width, channels).swapaxes(1, 2)
    png = tf.io.encode_png(sheet.reshape(side * height, side * width, channels)).numpy()
    return png, (height, width)


def _tsv(vectors: np.ndarray) -> str:
    # Nine digits give a float32 back to the bit.
    return "".join("\t".join(f"{v:.9g}" for v in row) + "\n" for row in vectors.tolist())


def _words(words: Mapping[str, Sequence[str]]) -> str:
    """A header if there are several columns; the projector takes the first line of a single one for data."""
    rows = zip(*words.values(), strict=True)
    lines = [tuple(words)] if len(words) > 1 else []
    return "".join("\t".join(_one_line(v) for v in line) + "\n" for line in [*lines, *rows])


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "(none)"


def _write_events(path: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    with open(path, "wb") as stream:
        # The same bytes each time: no time, no host name.
        RecordWriter(stream).write(Event(file_version="brain.Event:2").SerializeToString())
