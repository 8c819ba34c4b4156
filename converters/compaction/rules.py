"""How each kind of layer carries constant channels forward, and which channels it needs.

``forward`` takes the constants of a call's inputs (``[C]`` each, NaN: varies) and gives those of its output.
``backward`` takes them with what is kept so far, and says what has to be kept of every input and of the output.
``narrowed`` makes the layer anew for the channels that are left, with its weights; ``None``: it fits as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]

# fmt: off
ELEMENTWISE = frozenset({
    "elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "mish", "relu", "relu6", "selu", "sigmoid",
    "silu", "softplus", "softsign", "swish", "tanh",
})
# fmt: on
"""Activations that look at one value at a time."""

# fmt: off
_SAME = (
    "ActivityRegularization", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D",
    "AveragePooling1D", "AveragePooling2D", "MaxPooling1D", "MaxPooling2D", "UpSampling1D", "UpSampling2D",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
)
# fmt: on
"""Layers after which a channel that was constant is so still, with the same value: pooling leaves padding out of its
averages, and noise is for training."""

_FUNCTIONS = frozenset({"Activation", "ELU", "LeakyReLU", "ReLU", "ThresholdedReLU"})


class Rule:
    """A layer that is not understood: it needs all of its inputs, and nothing is known of its output."""

    narrows = False
    channelwise = False
    """Whether every output channel is made of the input channel of the same number."""

    def __init__(self, shapes: Sequence[tuple[int | None, ...]], width: int) -> None:
        self.shapes, self.width = shapes, width

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        return np.full(self.width, np.nan)

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        return [np.ones_like(k) for k in keep], np.ones_like(out)

    def narrowed(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> Any:
        return None


class _Same(Rule):
    """Channel by channel: input and output have the same ones."""

    channelwise = True

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        return constants[0]

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        return [out], keep[0]


class _Function(_Same):
    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        return _applied(layer.call, constants[0])


class _Padding(_Same):
    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        # Zeros are put around it: any other constant is none any more.
        return np.where(constants[0] == 0, 0.0, np.nan)


class _Slopes(_Same):
    """PReLU: a slope for every channel, or for every value."""

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        slopes = layer.get_weights()[0]
        flat = slopes.reshape(-1, slopes.shape[-1])
        even = (flat == flat[:1]).all(axis=0)
        bent = np.where(even, flat[0] * constants[0], np.nan)
        return np.where(constants[0] >= 0, constants[0], bent)

    def narrowed(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> Any:
        return _made(layer, {}, [layer.get_weights()[0][..., out]])


class _Normalised(_Same):
    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        scale, shift = self._folded(layer)
        return np.where(scale == 0, shift, constants[0] * scale + shift)

    def narrowed(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> Any:
        return _made(layer, {}, [w[out] for w in layer.get_weights()])

    @staticmethod
    def _folded(layer: Any) -> tuple[np.ndarray, np.ndarray]:
        mean, variance = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
        gamma = np.asarray(layer.gamma, np.float64) if layer.scale else np.ones_like(mean)
        beta = np.asarray(layer.beta, np.float64) if layer.center else np.zeros_like(mean)
        scale = gamma / np.sqrt(variance + layer.epsilon)
        return scale, beta - mean * scale


class _Weighted(Rule):
    """Dense and plain convolutions: kernel ``[..., in, out]``."""

    narrows = True

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        kernel, bias = _kernel(layer)
        varies = self._varies(layer, constants[0])
        silent = (kernel[:, varies] == 0).all(axis=(0, 1))
        fixed = bias + _folded(kernel, np.where(varies, 0.0, constants[0]))
        return _applied(layer.activation, np.where(silent, fixed, np.nan))

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        kernel, _ = _kernel(layer)
        heard = np.asarray((kernel[:, :, out] != 0).any(axis=(0, 2)))
        return [heard & self._varies(layer, constants[0])], np.zeros_like(out)

    def narrowed(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> Any:
        kernel, bias = _kernel(layer)
        gone = ~keep[0] & ~np.isnan(constants[0])
        bias = bias + _folded(kernel, np.where(gone, constants[0], 0.0))
        weights = [layer.get_weights()[0][..., keep[0], :][..., out]]
        use_bias = bool(layer.use_bias or bias.any())
        size = "units" if type(layer).__name__ == "Dense" else "filters"
        return _made(
            layer, {size: int(out.sum()), "use_bias": use_bias}, [*weights, *([bias[out]] if use_bias else [])]
        )

    def _varies(self, layer: Any, constants: np.ndarray) -> np.ndarray:
        """Inputs that cannot be folded: those that vary, and those that meet the zeros of a padded border."""
        padded = getattr(layer, "padding", "valid") == "same" and max(layer.kernel_size) > 1
        found: np.ndarray = np.isnan(constants) | (padded & (constants != 0))
        return found


class _Head(_Weighted):
    """As those, with an activation that looks at all units at once, such as softmax: all of them stay."""

    narrows = False

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        return np.full(self.width, np.nan)

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        wanted, _ = super().backward(layer, constants, keep, np.ones_like(out))
        return wanted, np.ones_like(out)


class _Depthwise(_Same):
    """Kernel ``[h, w, in, multiplier]``: the outputs of a channel stay or go together."""

    channelwise = False

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        kernel = np.asarray(layer.get_weights()[0], np.float64)
        bias = np.asarray(layer.get_weights()[1], np.float64) if layer.use_bias else np.zeros(self.width)
        many = kernel.shape[-1]
        padded = layer.padding == "same" and max(layer.kernel_size) > 1
        given = np.where(padded & (constants[0] != 0), np.nan, constants[0])
        zero = (kernel == 0).all(axis=(0, 1)).reshape(-1)
        sums = kernel.sum(axis=(0, 1)).reshape(-1)
        return _applied(layer.activation, np.where(zero, bias, np.repeat(given, many) * sums + bias))

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        many = layer.depth_multiplier
        return [np.asarray(out.reshape(-1, many).any(axis=1))], np.repeat(keep[0], many)

    def narrowed(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> Any:
        kernel, *bias = layer.get_weights()
        return _made(layer, {}, [kernel[:, :, keep[0]], *(b[out] for b in bias)])


class _Flat(Rule):
    """``[..., C]`` in a row: places times channels."""

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        return np.tile(constants[0], self.width // len(constants[0]))

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        channels = len(keep[0])
        return [np.asarray(out.reshape(-1, channels).any(axis=0))], np.tile(keep[0], len(out) // channels)


class _Sum(Rule):
    """Add: all inputs and the output have the same channels."""

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        found: np.ndarray = np.sum(constants, axis=0)
        return found

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        every = out | np.any(keep, axis=0)
        return [every] * len(keep), every


class _Joined(Rule):
    """Concatenate along the channels."""

    def forward(self, layer: Any, constants: Arrays) -> np.ndarray:
        return np.concatenate(constants)

    def backward(self, layer: Any, constants: Arrays, keep: Arrays, out: np.ndarray) -> tuple[Arrays, np.ndarray]:
        ends = np.cumsum([len(k) for k in keep])[:-1]
        return np.split(out, ends), np.concatenate(keep)


def of(node: Any, *, shared: bool) -> Rule:
    """The rule for one call of a layer; ``shared``: it has others."""
    layer = node.layer
    outputs = tensors_of(node)
    shapes = [tuple(tensor.shape) for tensor in node.keras_inputs]
    size = outputs[0].shape[-1] if len(outputs[0].shape) > 1 else None
    width = int(size) if size else 1
    kind = Rule if shared or len(outputs) != 1 or not size else _kind(layer, shapes)
    return kind(shapes, width)


def tensors_of(node: Any) -> list[Any]:
    """What a call gives, in the order of its ``flat_output_ids``: a layer may answer with a dict or a list."""
    import tensorflow as tf

    found: list[Any] = tf.nest.flatten(node.outputs)
    return found


def _kind(layer: Any, shapes: list[tuple[int | None, ...]]) -> type[Rule]:
    name = type(layer).__name__
    known = type(layer).__module__.startswith("tf_keras.")
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    if not known or not last or not shapes or any(len(s) < 2 or not s[-1] for s in shapes):
        return Rule
    if name == "Dense" or (name in ("Conv1D", "Conv2D") and layer.groups == 1 and layer.padding != "causal"):
        return _Weighted if _elementwise(layer) else _Head
    if name == "DepthwiseConv2D" and _elementwise(layer):
        return _Depthwise
    if name == "BatchNormalization" and list(np.atleast_1d(layer.axis)) in ([-1], [len(shapes[0]) - 1]):
        return _Normalised
    if name in _FUNCTIONS and (name != "Activation" or _elementwise(layer)):
        return _Function
    if name == "Flatten" and all(shapes[0][1:]):
        return _Flat
    if name == "Concatenate" and layer.axis in (-1, len(shapes[0]) - 1):
        return _Joined
    if name == "Add" and len({s[1:] for s in shapes}) == 1:
        return _Sum
    plain = {"PReLU": _Slopes, "ZeroPadding1D": _Padding, "ZeroPadding2D": _Padding, **dict.fromkeys(_SAME, _Same)}
    return plain.get(name, Rule)


def _elementwise(layer: Any) -> bool:
    return getattr(layer.activation, "__name__", "") in ELEMENTWISE


def _kernel(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ``[places, in, out]`` and bias ``[out]`` as float64."""
    kernel = np.asarray(layer.get_weights()[0], np.float64)
    kernel = kernel.reshape(-1, *kernel.shape[-2:])
    bias = np.asarray(layer.get_weights()[1], np.float64) if layer.use_bias else np.zeros(kernel.shape[-1])
    return kernel, bias


def _folded(kernel: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """What constant inputs ``[in]`` add to every output ``[out]``."""
    found: np.ndarray = np.einsum("pio,i->o", kernel, constants)
    return found


def _applied(function: Any, constants: np.ndarray) -> np.ndarray:
    """An element-wise function of those channels that are constant."""
    import tensorflow as tf

    known = ~np.isnan(constants)
    found = np.full(len(constants), np.nan)
    if known.any():
        found[known] = np.asarray(function(tf.constant(constants[None, known], tf.float32)))[0]
    return found


def _made(layer: Any, changes: dict[str, Any], weights: list[np.ndarray]) -> tuple[Any, list[np.ndarray]]:
    """A layer of the same class and name with other sizes, and the weights that it takes once it is built."""
    return type(layer).from_config({**layer.get_config(), **changes}), weights
