"""One look at a model: norms of gradients, silent ReLU units and zero weights, on a fixed sample, without a trace."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.training.health_layers import is_hidden, is_relu, leaves, listening


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """What one probe measured, on the model as ``step`` steps had left it.

    All norms are Euclidean. ``gradients`` and ``weights`` hold those of a layer's trainable weights, penalties
    included, ``None`` where the loss does not depend on them. ``arriving`` holds the norms of the loss's gradient by
    the output of each hidden layer, from the first to the last. ``dead`` is the share of ReLU units that never
    fired, ``zeros`` the share of exact zeros by ``LAYER/KERNEL``, both 0 to 1. ``penalized`` names the layers
    with a penalty on their kernel.
    """

    epoch: int
    step: int
    loss: float
    gradients: Mapping[str, float | None]
    weights: Mapping[str, float]
    arriving: Mapping[str, float]
    dead: Mapping[str, float]
    zeros: Mapping[str, float]
    penalized: frozenset[str] = frozenset()
    ended_epoch: bool = False

    @property
    def relative(self) -> dict[str, float]:
        """Gradient norm over weight norm by layer, where there are both."""
        found = self.gradients.items()
        return {name: g / self.weights[name] for name, g in found if g is not None and self.weights[name]}

    @property
    def norm(self) -> float:
        """Of the whole gradient."""
        return math.hypot(*(g for g in self.gradients.values() if g is not None))

    @property
    def largest(self) -> str | None:
        """The layer with the largest gradient; ``None`` if there is none or no gradient is a number."""
        known = {name: math.inf if math.isnan(g) else g for name, g in self.gradients.items() if g is not None}
        return max(known, key=lambda n: known[n]) if any(map(math.isfinite, known.values())) else None


class Probe:
    """Measures a model on a sample; traced once, at the first look.

    Args:
        model: see :func:`toolkit.training.health.monitor`.
        loss: of labels and outputs, giving a scalar or a number for each row.
        inputs: by name ``[N, ...]``.
        labels: ``[N]``.
    """

    def __init__(self, model: Any, loss: Callable[..., Any], inputs: Mapping[str, np.ndarray], labels: Any) -> None:
        import tensorflow as tf

        self._model, self._loss = model, _by_row(loss)
        self._layers = leaves(model)
        self._sample = {name: tf.constant(inputs[name]) for name in model.input_names}, tf.constant(labels)
        self._measured = tf.function(self._measure)
        self._penalized = frozenset(
            name for name, layer in self._layers.items() if getattr(layer, "kernel_regularizer", None) is not None
        )

    def look(self, *, epoch: int, step: int, ended_epoch: bool = False) -> Vitals:
        """The model's vitals now."""
        import tensorflow as tf

        strategy = self._model.distribute_strategy
        found = strategy.run(self._measured, args=self._sample)
        # Every replica is given the same sample.
        numbers = tf.nest.map_structure(lambda x: float(strategy.experimental_local_results(x)[0]), found)
        names = [n for n, layer in self._layers.items() if layer.trainable_weights]
        return Vitals(
            epoch=epoch,
            step=step,
            ended_epoch=ended_epoch,
            penalized=self._penalized,
            loss=numbers["loss"],
            gradients={n: numbers["gradients"].get(n) for n in names},
            # tf.function sorts dicts by key, which would lose the layers' order.
            **{kind: {n: numbers[kind][n] for n in order} for kind, order in self._order.items()},
        )

    def _measure(self, inputs: Any, labels: Any) -> dict[str, Any]:
        """float64 scalars: ``loss``, and by name ``gradients``, ``weights``, ``arriving``, ``dead``, ``zeros``."""
        import tensorflow as tf

        # Batch normalization must normalise (untrained moving averages would not) and must not remember this.
        state = list(self._model.non_trainable_weights)
        before = [variable.read_value() for variable in state]
        with tf.GradientTape() as tape, listening(self._model, self._layers) as heard:
            outputs = self._model(inputs, training=True)
            loss = tf.reduce_mean(self._loss(labels, _single(outputs)))
            if self._model.losses:
                loss += tf.cast(tf.add_n(self._model.losses), loss.dtype)
        for variable, value in zip(state, before, strict=True):
            variable.assign(value)
        last = {id(t) for t in tf.nest.flatten(outputs)}
        hidden = {
            n: [t for t in heard[n] if id(t) not in last] for n, layer in self._layers.items() if is_hidden(layer)
        }
        own = {n: layer.trainable_weights for n, layer in self._layers.items()}
        by_weight, by_output = tape.gradient(loss, (own, hidden))
        gradients, arriving = _norms(by_weight), _norms(by_output)
        kernels = {f"{n}/{_kernel_name(w)}": w for n, ws in own.items() for w in ws if len(w.shape) > 1}
        found = {
            "weights": {n: _norms({n: ws})[n] for n, ws in own.items() if ws},
            "arriving": {n: arriving[n] for n in hidden if n in arriving},
            "dead": {n: _silent(heard[n]) for n, layer in self._layers.items() if is_relu(layer) and heard[n]},
            "zeros": {n: tf.reduce_mean(tf.cast(tf.equal(w, 0), tf.float64)) for n, w in kernels.items()},
        }
        self._order = {kind: list(numbers) for kind, numbers in found.items()}
        return {"loss": tf.cast(loss, tf.float64), "gradients": gradients, **found}


def _norms(tensors: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Euclidean norm over all tensors of a name, float64; names without any are left out.

    float64, because the square of a float32 above 1e19 is infinite. Of a sparse gradient the rows that were looked up
    several times are added up first.
    """
    import tensorflow as tf

    def squares(tensor: Any) -> Any:
        if isinstance(tensor, tf.IndexedSlices):
            rows, places = tf.unique(tensor.indices)
            tensor = tf.math.unsorted_segment_sum(tensor.values, places, tf.size(rows))
        return tf.reduce_sum(tf.square(tf.cast(tensor, tf.float64)))

    known = {name: [t for t in listed if t is not None] for name, listed in tensors.items()}
    return {name: tf.sqrt(tf.add_n([squares(t) for t in listed])) for name, listed in known.items() if listed}


def _silent(outputs: list[Any]) -> Any:
    """The share of units (places on the last axis) that are above 0 nowhere in the outputs ``[N, ..., units]``."""
    import tensorflow as tf

    fired = [tf.reduce_any(x > 0, axis=list(range(len(x.shape) - 1))) for x in outputs]
    return 1 - tf.reduce_mean(tf.cast(tf.reduce_any(tf.stack(fired), axis=0), tf.float64))


def _by_row(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss without its own mean over rows, which Keras refuses to take under a distribution strategy."""
    if getattr(loss, "reduction", None) not in ("auto", "sum_over_batch_size"):
        return loss
    # A copy: the one given may be what the model is compiled with.
    found: Any = copy.copy(loss)
    found.reduction = "none"
    return found


def _single(outputs: Any) -> Any:
    """The only output, out of the dict or list that a model may put it in; several as they are."""
    import tensorflow as tf

    flat = tf.nest.flatten(outputs)
    return flat[0] if len(flat) == 1 else outputs


def _kernel_name(variable: Any) -> str:
    return variable.name.split(":")[0].rsplit("/", 1)[-1]
