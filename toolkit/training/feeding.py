"""The order in which samples are trained on: a function of seed and step alone, whoever drives the training.

``fit``, the custom loop, every worker of a cluster and a training that is taken up again see the same batches: pass p
over the samples is a permutation drawn from (seed, p), cut into batches of the global size, the last one shorter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

CHUNK = 8192
"""Samples that TensorFlow is handed at a time: its call into Python costs as much for one batch as for many."""

Batch = tuple[dict[str, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Samples in training order.

    Args:
        inputs: by name, ``[N, ...]``.
        labels: ``[N, ...]``.
        batch_size: samples per step, over all replicas together.
        seed: of the permutations.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    batch_size: int
    seed: int

    @property
    def steps_per_pass(self) -> int:
        """Batches of one pass over the samples."""
        return math.ceil(len(self.labels) / self.batch_size)

    def rows(self, first_step: int = 0) -> Iterator[np.ndarray]:
        """Row numbers of every batch from ``first_step`` on, without end."""
        first_pass, within = divmod(first_step, self.steps_per_pass)
        for number in itertools.count(first_pass):
            order = np.random.default_rng([self.seed, number]).permutation(len(self.labels))
            for step in range(within, self.steps_per_pass):
                yield order[step * self.batch_size : (step + 1) * self.batch_size]
            within = 0

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """Inputs by name and labels of every batch from ``first_step`` on, without end."""
        for rows in self.rows(first_step):
            yield self.take(rows)

    def take(self, rows: np.ndarray) -> Batch:
        """Some samples; ``rows`` may have any shape, which leads the arrays' own."""
        return {name: values[rows] for name, values in self.inputs.items()}, self.labels[rows]

    def shares(self, first_step: int, replicas: tuple[int, ...], of: int) -> Iterator[tuple[np.ndarray, int]]:
        """Row numbers of each replica's share of every batch, in turn, and the samples that the batch has in all.

        A replica for which no sample is left gets the batch's first one, and 0: it has to compute along, but adds
        nothing.
        """
        for rows in self.rows(first_step):
            for replica in replicas:
                share = rows[replica::of]
                yield (share, len(rows)) if len(share) else (rows[:1], 0)

    def dataset(self, first_step: int = 0, *, replicas: tuple[int, ...] | None = None, of: int = 1) -> Any:
        """A ``tf.data.Dataset`` of batches without end.

        Args:
            first_step: where to begin.
            replicas: which replicas this pipeline feeds, in turn; ``None``: there is one, and it gets whole batches.
            of: replicas in all.

        Returns:
            Inputs by name and labels. With ``replicas`` also the weight of every sample, float32 ``[rows]``: 1 over the
            samples of the whole batch, so that sums over all replicas are means over it; 0 where nothing was left.
        """
        import tensorflow as tf

        def signature(values: np.ndarray) -> Any:
            return tf.TensorSpec((None, None, *values.shape[1:]), values.dtype)

        def chunks() -> Iterator[tuple[Any, ...]]:
            for rows, samples in self._stacked(first_step, replicas or (0,), of):
                weights = np.full(rows.shape, 1 / samples if samples else 0.0, np.float32)
                yield self.take(rows) if replicas is None else (*self.take(rows), weights)

        signatures: tuple[Any, ...] = ({n: signature(v) for n, v in self.inputs.items()}, signature(self.labels))
        if replicas is not None:
            signatures = (*signatures, tf.TensorSpec((None, None), tf.float32))
        made = tf.data.Dataset.from_generator(chunks, output_signature=signatures)
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return made.prefetch(2).unbatch().apply(endless).prefetch(tf.data.AUTOTUNE)

    def _stacked(self, first_step: int, replicas: tuple[int, ...], of: int) -> Iterator[tuple[np.ndarray, int]]:
        """As :meth:`shares`, but ``[batches, rows]``: as many equal shares as there are in a row, up to CHUNK samples.

        With one replica all batches of a pass but the last are equal.
        """
        most = max(1, CHUNK * of // self.batch_size)
        waiting: list[np.ndarray] = []
        kind = (0, 0)
        for share, samples in self.shares(first_step, replicas, of):
            if waiting and ((len(share), samples) != kind or len(waiting) == most):
                yield np.stack(waiting), kind[1]
                waiting = []
            waiting.append(share)
            kind = (len(share), samples)
