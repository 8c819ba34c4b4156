"""Training on several devices or machines by ``tf.distribute``, and taking it up again after a worker died.

Every worker sees its share of every global batch, so that two workers compute what one would, but for the order of
sums. Each keeps checkpoints of its own, in its own run directory: no shared folder is needed. After a failure all are
started again, agree on the latest epoch that every one of them has, and go on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import DeviceError, MissingError, UsageError

KEPT = 2
"""Checkpoints kept: a worker that died while saving is at most one epoch behind."""


def worker() -> int:
    """The number of this process among the workers that TF_CONFIG names; 0 without."""
    return int(_config().get("task", {}).get("index", 0))


def worker_count() -> int:
    """How many workers TF_CONFIG names; 1 without."""
    return max(1, len(_config().get("cluster", {}).get("worker", [])))


def strategy(name: str) -> Any:
    """The ``tf.distribute`` strategy of a name of :data:`toolkit.training.options.STRATEGIES`; ``None`` for ``none``.

    Must be called before TensorFlow has computed anything, where there are several workers.

    Raises:
        UsageError: ``multi-worker`` without TF_CONFIG, or with one that is malformed.
        MissingError: the workers cannot be reached.
    """
    if name == "none":
        return None
    import tensorflow as tf

    if name == "mirrored":
        # Without a GPU: the CPU, which may have been split into several logical devices.
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    config = _config()
    if not config.get("cluster", {}).get("worker"):
        raise UsageError(
            "--strategy multi-worker finds no workers in TF_CONFIG",
            remedy='set it to {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}',
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0][:200]
        raise MissingError(
            f"the workers cannot be brought together ({first})",
            where="TF_CONFIG",
            remedy="start every worker, each with its own index, and check that they reach each other's ports",
        ) from error


@contextlib.contextmanager
def lost_workers() -> Iterator[None]:
    """Turns TensorFlow's pages about a peer that is gone into a one-line :class:`DeviceError`."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        if worker_count() < 2:
            raise
        raise DeviceError(
            "another worker is gone",
            where=f"worker {worker()}",
            remedy="start every worker again with the same command: they go on after the last epoch that all have",
        ) from error


class Checkpoints:
    """Weights and optimizer after every epoch, and where all workers can go on together.

    Args:
        folder: this worker's own.
        model: compiled, its optimizer's variables made.
        key: of what decides the weights: a checkpoint of another training is not taken up.
    """

    def __init__(self, folder: Path, model: Any, key: str) -> None:
        import tensorflow as tf

        self._epoch = tf.Variable(0, trainable=False, dtype=tf.int64, name="epoch")
        saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epoch=self._epoch)
        self._manager = tf.train.CheckpointManager(saved, str(folder / key[:16]), max_to_keep=KEPT)
        self._saved = saved

    def restore(self, strategy: Any) -> int:
        """Goes back to the latest epoch that every worker has; returns how many are done (0: none)."""
        mine = {int(path.rpartition("-")[2]): path for path in self._manager.checkpoints}
        common = _least(strategy, max(mine, default=0))
        if not common:
            return 0
        if common not in mine:
            raise MissingError(
                f"has no checkpoint of epoch {common}, where another worker is",
                where=str(self._manager.directory),
                remedy="delete the run directories of all workers and start again",
            )
        self._saved.restore(mine[common]).assert_consumed()
        return common

    def callback(self) -> Any:
        """Saves after every epoch."""
        import tf_keras

        outer = self

        class Saver(tf_keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                outer._epoch.assign(epoch + 1)
                outer._manager.save(checkpoint_number=epoch + 1)

        return Saver()


def _least(strategy: Any, epoch: int) -> int:
    """The smallest of all workers' numbers."""
    import tensorflow as tf

    if strategy is None or getattr(strategy.extended, "_num_workers", 1) < 2:
        return epoch
    gathered = strategy.run(lambda: tf.distribute.get_replica_context().all_gather(tf.constant([epoch]), axis=0))
    return int(tf.reduce_min(strategy.experimental_local_results(gathered)[0]))


def _config() -> dict[str, Any]:
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        found = json.loads(text)
        index = found.get("task", {}).get("index", 0)
        workers = found.get("cluster", {}).get("worker", [])
        if type(index) is not int or not 0 <= index < max(1, len(workers)):
            raise ValueError(f"task index {index!r} for {len(workers)} workers")
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"cannot be read ({error})",
            where="TF_CONFIG",
            remedy="write it as TensorFlow's guide on tf.distribute shows",
        ) from None
    return dict(found)
