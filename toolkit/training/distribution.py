"""Training on several devices or machines by ``tf.distribute``.

Every replica sees its share of every global batch and weighs its samples by the whole batch's size, so that several
replicas compute what one would, but for the order of sums. Each worker keeps checkpoints of its own, in its own run
directory: no shared folder is needed. After a failure all are started again, agree on the latest epoch that every one
of them has, and go on from there.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from toolkit.errors import DeviceError, MissingError
from toolkit.training import cluster

START_S = 60.0
"""How long TensorFlow may take to join workers that have all reported; it takes one or two seconds."""


def worker() -> int:
    """The number of this process among the workers that TF_CONFIG names; 0 without."""
    found = cluster.read()
    return found.index if found else 0


def replicas(strategy: Any) -> tuple[tuple[int, ...], int]:
    """Numbers of the replicas that this process feeds, and how many there are in all."""
    count = int(strategy.num_replicas_in_sync)
    found = cluster.read() if strategy.cluster_resolver is not None else None
    index, workers = (found.index, len(found.addresses)) if found else (0, 1)
    here = count // workers
    return tuple(range(index * here, (index + 1) * here)), count


def common_epoch(name: str, epochs: list[int], same: Mapping[str, str], waiting: Callable[[str], None]) -> int:
    """The latest epoch that every worker can go on after; 0: the beginning.

    Args:
        name: of the strategy.
        epochs: that this worker has checkpoints of.
        same: what all workers must have been started with, by name.
        waiting: told if a worker is not there yet.

    Raises:
        UsageError, MissingError: as :func:`toolkit.training.cluster.meet`.
    """
    if name != "multi-worker":
        return max(epochs, default=0)
    found = cluster.meet(cluster.need(), same, epochs, seconds=cluster.wait_s(), waiting=waiting)
    return max(set.intersection(*map(set, found)), default=0)


def strategy(name: str) -> Any:
    """The ``tf.distribute`` strategy of a name of :data:`toolkit.training.options.STRATEGIES`, but not of ``none``.

    Must be called before TensorFlow has computed anything, where there are several workers, and after they have met.

    Raises:
        UsageError: TF_CONFIG is malformed.
        MissingError: the workers cannot be brought together.
    """
    import tensorflow as tf

    if name == "mirrored":
        return _mirrored()
    cluster.need()
    try:
        made = _in_time(tf.distribute.MultiWorkerMirroredStrategy)
    except (tf.errors.OpError, RuntimeError, ValueError, TimeoutError) as error:
        first = (str(error).splitlines() or ["no message"])[0][:200]
        raise MissingError(
            f"the workers cannot be brought together ({first})",
            where="TF_CONFIG",
            remedy="start every worker again, each with its own index",
        ) from error
    # TensorFlow notes that the machine is to be vacated and goes on; to end at once is what is expected of a command.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return made


@contextlib.contextmanager
def lost_workers() -> Iterator[None]:
    """Turns TensorFlow's pages about a peer that is gone into a one-line :class:`DeviceError`."""
    import tensorflow as tf

    gone = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
    try:
        yield
    except gone as error:
        found = cluster.read()
        if found is None or len(found.addresses) < 2:
            raise
        raise DeviceError(
            "another worker is gone",
            where=f"worker {found.index}",
            remedy="start every worker again with the same command: they go on after the last epoch that all have",
        ) from error


def mean(strategy: Any, value: float) -> float:
    """The mean of all workers' values, the same number on each: what is decided by it, all decide alike."""
    import tensorflow as tf

    if strategy is None or strategy.cluster_resolver is None:
        return value
    # Eagerly, an all-reduce of several workers would be one operation after the other, and TensorFlow warns.
    reduced = tf.function(
        lambda: strategy.reduce(
            "MEAN", strategy.experimental_distribute_values_from_function(lambda _: tf.constant(value)), axis=None
        )
    )
    return float(reduced())


@functools.lru_cache(maxsize=1)
def _mirrored() -> Any:
    """One for the whole process: TensorFlow takes the reductions of a second one for those of the first (2.21)."""
    import tensorflow as tf

    # Without a GPU: the CPU, which may have been split into several logical devices.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _in_time(work: Callable[[], Any]) -> Any:
    """``work()`` in a thread: a call into TensorFlow that waits hears no Ctrl-C, waiting for a thread does."""
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        # Raised again where it is waited for.
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(START_S)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"nothing within {START_S:g} s")
    return found[0]
