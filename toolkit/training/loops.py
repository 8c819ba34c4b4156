"""Two ways through the same batches: Keras's ``fit``, and a loop of our own with ``GradientTape``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.training import distribution
from toolkit.training.feeding import Feed


def fit(
    model: Any,
    feed: Feed,
    *,
    epochs: int,
    steps: int,
    callbacks: Sequence[Any],
    first_epoch: int = 0,
    strategy: Any = None,
) -> dict[str, list[float]]:
    """Trains a compiled model by ``fit``; returns its history.

    Args:
        model: compiled, its optimizer's variables made.
        feed: the batches.
        epochs: of ``steps`` batches each, those before ``first_epoch`` included.
        steps: batches per epoch.
        callbacks: of tf_keras.
        first_epoch: where a training that is taken up again goes on.
        strategy: of ``tf.distribute``, which splits every batch; ``None``: one device.
    """
    first = first_epoch * steps
    data = feed.dataset(first)
    if strategy is not None:
        each, all_of_them = _replicas(strategy)
        data = strategy.distribute_datasets_from_function(lambda _: feed.dataset(first, replicas=each, of=all_of_them))
    with distribution.lost_workers():
        found = model.fit(
            data,
            epochs=epochs,
            steps_per_epoch=steps,
            initial_epoch=first_epoch,
            callbacks=list(callbacks),
            verbose=0,
        )
    return {name: [float(v) for v in values] for name, values in found.history.items()}


def custom(
    model: Any,
    feed: Feed,
    *,
    epochs: int,
    steps: int,
    callbacks: Sequence[Any],
    metrics: Sequence[Any],
    first_epoch: int = 0,
) -> dict[str, list[float]]:
    """The same training, step by step: arguments and result as of :func:`fit`, and the ``metrics`` it would show.

    The losses of ``fit`` are means over samples, not over batches; so are these.
    """
    import tensorflow as tf
    import tf_keras

    optimizer, loss = model.optimizer, model.loss
    mean = tf_keras.metrics.Mean(name="loss")

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(inputs: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            value = loss(labels, outputs)
            if model.losses:
                value += tf.add_n(model.losses)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        mean.update_state(value, sample_weight=tf.shape(outputs)[0])
        for metric in metrics:
            metric.update_state(labels, outputs)

    listeners = tf_keras.callbacks.CallbackList(
        list(callbacks), add_history=True, model=model, epochs=epochs, steps=steps, verbose=0
    )
    batches = iter(feed.dataset(first_epoch * steps))
    model.stop_training = False
    listeners.on_train_begin()
    for epoch in range(first_epoch, epochs):
        for metric in (mean, *metrics):
            metric.reset_state()
        listeners.on_epoch_begin(epoch)
        for number in range(steps):
            listeners.on_train_batch_begin(number)
            step(*next(batches))
            model._train_counter.assign_add(1)
            listeners.on_train_batch_end(number, _logs(mean, metrics))
        listeners.on_epoch_end(epoch, _logs(mean, metrics))
        if model.stop_training:
            break
    listeners.on_train_end()
    return {name: [float(v) for v in values] for name, values in model.history.history.items()}


def _logs(mean: Any, metrics: Sequence[Any]) -> dict[str, Any]:
    return {metric.name: float(metric.result()) for metric in (mean, *metrics)}


def _replicas(strategy: Any) -> tuple[tuple[int, ...], int]:
    """Numbers of the replicas that this process feeds, and how many there are in all."""
    count = int(strategy.num_replicas_in_sync)
    resolver = strategy.cluster_resolver
    worker = resolver.task_id if resolver is not None and resolver.task_id is not None else 0
    here = count // max(1, int(getattr(strategy.extended, "_num_workers", 1)))
    return tuple(range(worker * here, (worker + 1) * here)), count
