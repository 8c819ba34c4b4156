"""Two ways through the same batches: Keras's ``fit``, and a loop of our own with ``GradientTape``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    metrics: Sequence[Any],
    first_epoch: int = 0,
    strategy: Any = None,
) -> dict[str, list[float]]:
    """Trains a compiled model by ``fit``; returns its history.

    On several replicas ``fit`` takes a step of ours: Keras's own averages the replicas' means, which would give the
    samples of a batch that is not divided evenly unequal weights.

    Args:
        model: compiled, its optimizer's variables made.
        feed: the batches.
        epochs: of ``steps`` batches each, those before ``first_epoch`` included.
        steps: batches per epoch.
        callbacks: of tf_keras.
        metrics: shown on several replicas, made in the strategy's scope; on one those that the model was compiled with.
        first_epoch: where a training that is taken up again goes on.
        strategy: of ``tf.distribute``, which splits every batch; ``None``: one device.
    """
    first, listeners = first_epoch * steps, list(callbacks)
    if strategy is None:
        data = feed.dataset(first)
    else:
        each, all_of_them = distribution.replicas(strategy)
        data = strategy.distribute_datasets_from_function(lambda _: feed.dataset(first, replicas=each, of=all_of_them))
        step, shown = _step(model, metrics)
        listeners.insert(0, shown)

        def train_step(batch: Any) -> dict[str, Any]:
            step(*batch)
            return {}

        model.train_step = train_step
    found = model.fit(
        data, epochs=epochs, steps_per_epoch=steps, initial_epoch=first_epoch, callbacks=listeners, verbose=0
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
    """The same training, step by step: arguments and result as of :func:`fit`, and the ``metrics`` it would show."""
    import tensorflow as tf
    import tf_keras

    step, shown = _step(model, metrics)
    compiled = tf.function(step, reduce_retracing=True)
    listeners = tf_keras.callbacks.CallbackList(
        [shown, *callbacks], add_history=True, model=model, epochs=epochs, steps=steps, verbose=0
    )
    batches = iter(feed.dataset(first_epoch * steps))
    model.stop_training = False
    listeners.on_train_begin()
    for epoch in range(first_epoch, epochs):
        listeners.on_epoch_begin(epoch)
        for number in range(steps):
            listeners.on_train_batch_begin(number)
            compiled(*next(batches))
            model._train_counter.assign_add(1)
            listeners.on_train_batch_end(number, {})
        listeners.on_epoch_end(epoch, {})
        if model.stop_training:
            break
    listeners.on_train_end()
    return {name: [float(v) for v in values] for name, values in model.history.history.items()}


def _step(model: Any, metrics: Sequence[Any]) -> tuple[Callable[..., None], Any]:
    """One training step, and the callback that puts the loss and ``metrics`` of an epoch into its logs.

    The step takes inputs, labels and, of one replica among several, the weights of :meth:`Feed.dataset`. The losses of
    ``fit`` are means over samples, not over batches; so are these.
    """
    import tensorflow as tf
    import tf_keras

    optimizer, loss = model.optimizer, model.loss
    mean = tf_keras.metrics.Mean(name="loss")

    def of_a_share(labels: Any, outputs: Any, weights: Any) -> tuple[Any, Any]:
        """The replica's part of the batch's loss, and its own mean."""
        each = loss.call(labels, outputs)
        each = tf.reduce_mean(tf.reshape(each, (tf.shape(weights)[0], -1)), axis=1)
        part, share = tf.reduce_sum(each * weights), tf.reduce_sum(weights)
        own = tf.math.divide_no_nan(part, share)
        if model.losses:
            penalties = tf.add_n(model.losses)
            # By its share of the samples, and not alike: a penalty may be one on its samples' outputs.
            return part + penalties * share, own + penalties
        return part, own

    def step(inputs: Any, labels: Any, weights: Any = None) -> None:
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            if weights is not None:
                value, own = of_a_share(labels, outputs, weights)
            else:
                value = loss(labels, outputs)
                if model.losses:
                    value += tf.add_n(model.losses)
                own = value
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        there = None if weights is None else tf.cast(weights > 0, tf.float32)
        mean.update_state(own, sample_weight=tf.shape(outputs)[0] if there is None else tf.reduce_sum(there))
        for metric in metrics:
            metric.update_state(labels, outputs, sample_weight=there)

    class Shown(tf_keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            for metric in (mean, *metrics):
                metric.reset_state()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            # Only now: on several machines every reading is a question to all of them.
            logs.update({metric.name: float(metric.result()) for metric in (mean, *metrics)})

    return step, Shown()
