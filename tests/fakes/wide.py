"""Wide tables that are mostly zero, for real rows of a spec, and models with one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fakes import features as made_up
from toolkit.features import FeatureSpec, transform
from toolkit.features.layer import feature_layer, keras_inputs, wide_slices

TABLE_LIMIT = 2_000_000
SPEC = dataclasses.replace(
    made_up.eight_inputs(),
    columns=tuple(
        dataclasses.replace(c, size=20_000) if c.name == "everything" else c for c in made_up.eight_inputs().columns
    ),
)
ROWS = made_up.adversarial(2_000, seed=11)


def moderate(spec: FeatureSpec) -> FeatureSpec:
    """The same columns, those of more ids than a test can hold out of the wide part."""
    columns = (
        dataclasses.replace(c, wide=False) if getattr(c, "wide", False) and spec.count(c.name) > TABLE_LIMIT else c
        for c in spec.columns
    )
    return dataclasses.replace(spec, columns=tuple(columns))


def bits(values: Any) -> bytes:
    return np.asarray(values).tobytes()


def sparse(spec: FeatureSpec, rows: Any, units: int, share: float, seed: int) -> np.ndarray:
    """A wide table that is zero but in a share of the rows that ``rows`` ask for, and in one that they do not."""
    rng = np.random.default_rng(seed)
    ids = transform(spec, rows).ids
    slices = wide_slices(spec)
    asked = np.unique(np.concatenate([s.start + ids[name] for name, s in slices.items()]))
    whole = max(s.stop for s in slices.values())
    kept = np.union1d(asked[rng.random(len(asked)) < share], rng.integers(0, whole, 1))
    table = np.zeros((whole, units), dtype=np.float32)
    table[kept] = rng.normal(size=(len(kept), units)) * 10.0 ** rng.integers(-30, 30, (len(kept), 1))
    return table


def wide_and_deep(spec: FeatureSpec, table: np.ndarray) -> Any:
    """Both parts summed as ``fare``, and the wide part alone as ``wide``."""
    import tf_keras

    tf_keras.utils.set_random_seed(2)
    inputs = keras_inputs(spec)
    parts = feature_layer(spec, wide_units=table.shape[1])(inputs)
    hidden = tf_keras.layers.Dense(64, activation="relu", name="hidden")(parts["deep"])
    deep = tf_keras.layers.Dense(table.shape[1], name="deep")(hidden)
    wide = tf_keras.layers.Lambda(lambda x: x * 1.0, name="wide")(parts["wide"])
    model = tf_keras.Model(inputs, {"fare": tf_keras.layers.Add(name="fare")([deep, wide]), "wide": wide})
    model.get_layer("features").wide.assign(table)
    return model
