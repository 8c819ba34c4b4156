"""Real files of every kind that the legality table has a row for: small networks, large enough for a fault to show.

The scales of output channels differ by factors, as in trained networks: a runtime that takes the first channel's scale
for all of them is right by chance where they are alike.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters import aeq, gate, saved_model
from converters.kinds import LAYERS, Kind, of_file, of_recipe
from toolkit import flatbuffer

SAMPLES = 32
SHAPES = {"dense": (128,), "narrow": (127,), "conv": (12, 12, 16), "depthwise": (10, 10, 128)}
"""What a sample of each network is. A depthwise kernel of fewer channels would be left in float: it is too small."""

PRUNED = {"dense": "", "unstructured": "unstructured", "2:4": "2:4", "blocks": "16x1"}
"""By pattern: how a network is pruned to get it."""


def networks(layer: str) -> Any:
    """A tf_keras model of two such layers, seeded, its channels' scales spread by exp(N(0, 1))."""
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(1)
    given = tf_keras.Input(SHAPES[layer], name="x")
    if layer in ("dense", "narrow"):
        width = SHAPES[layer][0]
        answer = layers.Dense(64, name="p")(layers.Dense(width, activation="relu")(given))
    elif layer == "conv":
        answer = layers.Conv2D(16, 1, name="p")(layers.Conv2D(32, 3, activation="relu")(given))
    else:
        answer = layers.DepthwiseConv2D(3, name="p")(layers.DepthwiseConv2D(3, activation="relu")(given))
    return tf_keras.Model(given, answer)


def prune(kernel: np.ndarray, pattern: str, rng: np.random.Generator) -> np.ndarray:
    """A kernel ``[inputs, units]`` with nine tenths of it zero by ``pattern``; of 2:4, half."""
    inputs, units = kernel.shape
    if pattern == "16x1":
        keep = np.repeat(rng.random((inputs // 16, units)) > 0.9, 16, axis=0)
    elif pattern == "2:4":
        keep = (rng.random((inputs // 4, 4, units)).argsort(axis=1) < 2).reshape(inputs, units)
    else:
        keep = rng.random((inputs, units)) > (0.9 if pattern else -1.0)
    return kernel * keep


def pruned(layer: str, pattern: str) -> Any:
    """The network with zeros by the table's ``pattern``, and with channels of different sizes."""
    model, rng = networks(layer), np.random.default_rng(0)
    for part in model.layers:
        if not part.get_weights():
            continue
        kernel, bias = part.get_weights()
        flat = kernel.reshape(9, -1) if layer == "depthwise" else kernel.reshape(-1, kernel.shape[-1])
        spread = np.exp(np.random.default_rng(9).normal(0, 1, flat.shape[-1])) / 1.6
        made = (prune(flat, PRUNED[pattern], rng) * spread).reshape(kernel.shape)
        part.set_weights([made.astype(np.float32), rng.normal(0, 0.1, bias.shape).astype(np.float32)])
    return model


def network_of(kind: Kind) -> str:
    """Which network a file of the kind is made of."""
    return "narrow" if "narrow" in kind.dtype else kind.layer


class Zoo:
    """Makes files in ``folder``; a network is exported once for all the files made of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.inputs = {
            layer: np.random.default_rng(5).random((100, *shape), dtype=np.float32) for layer, shape in SHAPES.items()
        }

    @functools.cache  # noqa: B019 - lives as long as the session
    def exported(self, layer: str, pattern: str) -> saved_model.Loaded:
        """The SavedModel of a network."""
        folder = self._folder / f"{layer}-{pattern}".replace(":", "_")
        return saved_model.Loaded(saved_model.export(pruned(layer, pattern), folder, keras_version=2))

    def evidence(self, kind: Kind) -> gate.Evidence:
        """The float parent's answers."""
        parent, inputs = self.exported(network_of(kind), kind.pattern), {"x": self.inputs[network_of(kind)][:SAMPLES]}
        return gate.Evidence(inputs=inputs, reference=parent(inputs), signature=parent.signature, real=False)

    def file(self, kind: Kind, by: str) -> Path:
        """A ``.tflite`` of this kind, made by the engine that the table names."""
        path = self._folder / f"{'-'.join(kind)}.tflite".replace(" ", "_").replace(":", "_")
        if not path.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TensorFlow's own
                make = self._converted if by == "TFLiteConverter" else self._quantized
                path.write_bytes(make(kind))
        return path

    def _converted(self, kind: Kind) -> bytes:
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_saved_model(str(self.exported(network_of(kind), kind.pattern).path))
        optimize, sets = tf.lite.Optimize, tf.lite.OpsSet
        name, _, granularity = kind.dtype.partition(", ")
        converter.optimizations = [optimize.DEFAULT] if name != "float32" else []
        if kind.pattern != "dense":
            converter.optimizations = [*converter.optimizations, optimize.EXPERIMENTAL_SPARSITY]
        if name == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if name in ("int8", "int16x8"):
            converter.representative_dataset = lambda: self._representative(network_of(kind))
            int16 = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS_INT8 if name == "int8" else int16]
        if granularity == "per tensor" and kind.layer == "dense":
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        elif granularity == "per tensor":
            converter._experimental_disable_per_channel = True
        return bytes(converter.convert())

    def _quantized(self, kind: Kind) -> bytes:
        from ai_edge_quantizer import qtyping

        data = self._converted(kind._replace(dtype="float32, narrow" if "narrow" in kind.dtype else "float32"))
        op = next(op for op, layer in LAYERS.items() if layer == kind.layer)
        name, _, granularity = kind.dtype.partition(", ")
        bits = 4 if "int4" in name else 8
        scale = qtyping.QuantGranularity
        wanted = scale.TENSORWISE if granularity == "per tensor" else scale.CHANNELWISE

        def configure(engine: Any) -> None:
            what = qtyping.TFLOperationName(op)
            if name.startswith("dynamic"):
                engine.add_dynamic_config(".*", what, bits, wanted)
            elif name.startswith("weight-only"):
                engine.add_weight_only_config(".*", what, bits, wanted)
            else:
                engine.add_static_config(
                    regex=".*", operation_name=what, activation_num_bits=8, weight_num_bits=bits,
                    weight_granularity=wanted,
                )  # fmt: skip

        if name.startswith(("dynamic", "weight-only")):
            return aeq._quantized(data, configure)
        calibration = {"x": self.inputs[network_of(kind)]}
        return aeq._quantized(data, configure, lambda recipe: aeq._ranges(data, "serving_default", calibration, recipe))

    def _representative(self, layer: str) -> Iterator[dict[str, np.ndarray]]:
        return ({"x": self.inputs[layer][i : i + 1]} for i in range(len(self.inputs[layer])))


def unpromised(module: Any, path: Path) -> list[Kind]:
    """Kinds of kernels in a file that its recipe does not own up to; plain float32 is always allowed."""
    promised = [kind._replace(pattern=FILED.get(kind.pattern, kind.pattern)) for kind in of_recipe(module)]
    found = {kind._replace(dtype=kind.dtype.replace(", narrow", "")) for kind in of_file(flatbuffer.read(path))}
    return sorted(k for k in found if k not in promised and k[1:] != ("dense", "float32"))


FILED = {"2:4": "unstructured"}
"""What a pattern looks like in a file."""
