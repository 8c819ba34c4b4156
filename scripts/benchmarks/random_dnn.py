"""Makes the MNIST DNN (784-128-128-10) with random weights, float32 and int8, in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def build(folder: Path) -> dict[str, Path]:
    """``float32`` and ``int8`` .tflite files in ``folder``; TensorFlow stays out of the calling process."""
    subprocess.run([sys.executable, __file__, str(folder)], check=True, stderr=subprocess.DEVNULL)
    return {form: folder / f"{form}.tflite" for form in ("float32", "int8")}


def models(parser: argparse.ArgumentParser, folder: Path, argv: list[str] | None = None) -> dict[str, Path]:
    """The files named on the command line, or else the two that :func:`build` makes."""
    parser.add_argument("models", nargs="*", type=Path, help=".tflite files (default: a random DNN, float32 and int8)")
    given = parser.parse_args(argv).models
    return {path.name: path for path in given} or build(folder)


def _make(folder: Path) -> None:
    import numpy as np
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((28, 28), name="image")
    hidden = tf_keras.layers.Flatten()(image)
    for _ in range(2):
        hidden = tf_keras.layers.Dense(128, activation="relu")(hidden)
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, activation="softmax")(hidden))
    (folder / "float32.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = np.random.default_rng(0).random((100, 1, 28, 28), dtype=np.float32)
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
