"""Real models for the slow tests: small ones, converted once per session."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

# The same examples every time where a failure stops a landing; new ones at everybody's desk.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


@dataclass(frozen=True)
class TinyModel:
    """One model in three forms: input ``image`` [None, 28, 28] in 0..1, output ``probabilities`` [None, 10]."""

    saved_model: Path
    float32: Path
    int8: Path


def _keras(name: str) -> Any:
    import tf_keras

    layers = tf_keras.layers
    image = tf_keras.Input((28, 28), name="image")
    if name == "conv":
        hidden = layers.Reshape((28, 28, 1))(image)
        hidden = layers.Conv2D(8, 3, activation="relu")(hidden)
        hidden = layers.Flatten()(layers.MaxPooling2D()(hidden))
    else:
        hidden = layers.Dense(32, activation="relu")(layers.Flatten()(image))
    return tf_keras.Model(image, layers.Dense(10, activation="softmax", name="probabilities")(hidden))


def _convert(name: str, folder: Path) -> TinyModel:
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    keras = _keras(name)

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28], tf.float32, name="image")])
    def serve(image: Any) -> dict[str, Any]:
        return {"probabilities": keras(image)}

    made = TinyModel(folder / "saved_model", folder / "float32.tflite", folder / "int8.tflite")
    tf.saved_model.save(keras, str(made.saved_model), signatures={"serving_default": serve})
    made.float32.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(made.saved_model)).convert())
    converter = tf.lite.TFLiteConverter.from_saved_model(str(made.saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = np.random.default_rng(0).random((100, 1, 28, 28), dtype=np.float32)
    converter.representative_dataset = lambda: ({"image": sample} for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    made.int8.write_bytes(converter.convert())
    return made


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyModel]:
    """``dense`` and ``conv`` with random weights; only for tests marked slow (TensorFlow starts)."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, which are not ours to mend
        return {name: _convert(name, tmp_path_factory.mktemp(name)) for name in ("dense", "conv")}
