"""Small networks to train, and a watch over their health."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.training import health

WIDTH = 32
ROWS = 640
X = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
LABELS = (2 * (X[:, 0] > 0) + (X[:, 1] + X[:, 2] > 0)).astype(np.int64)


def watcher(tmp_path: Path) -> Callable[..., Any]:
    """Makes a callback for a model; what it warns of is its ``said``."""

    def make(model: Any, *, loss: Any = None, inputs: Any = None, labels: Any = LABELS, **options: Any) -> Any:
        import tf_keras

        said: list[str] = []
        sample = {name: v[:256] for name, v in (inputs or {"x": X}).items()}, labels[:256]
        loss = loss or tf_keras.losses.SparseCategoricalCrossentropy()
        callback = health.monitor(model, loss=loss, probe=sample, logs=tmp_path, warn=said.append, **options)
        callback.said = said
        return callback

    return make


def network(
    hidden: int, *, activation: str = "relu", normed: bool = False, dropout: float = 0.0, **options: Any
) -> Any:
    """``x`` to four classes through ``hidden`` layers ``hidden_1``, …; ``options`` are the layers'."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(options.pop("seed", 0))
    x = given = tf_keras.Input((8,), name="x")
    for i in range(1, hidden + 1):
        x = layers.Dense(WIDTH, activation=activation, name=f"hidden_{i}", **options)(x)
        x = layers.BatchNormalization(name=f"norm_{i}")(x) if normed else x
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x) if dropout else x
    return tf_keras.Model(given, layers.Dense(4, activation="softmax", name="classes")(x))


def fitted(model: Any, callbacks: list[Any], *, epochs: int = 2, optimizer: Any = "adam", x: Any = X) -> Any:
    """The model after ``epochs`` of ``fit``: 20 batches of 32 each."""
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(x, LABELS, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def sgd(learning_rate: float) -> Any:
    import tf_keras

    return tf_keras.optimizers.SGD(learning_rate)
