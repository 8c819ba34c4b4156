"""Optimizers: the proximal step minimises what it is said to, by hand and by brute force, where it is meant to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.training import optimizers
from toolkit.training.options import TrainingOptions

pytestmark = pytest.mark.slow

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
N = 64

gradients = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-6, 1e-3, 1.0, 30.0])), min_size=1, max_size=4
)
rates = st.sampled_from([1e-4, 1e-3, 0.05])
penalties = st.sampled_from([1e-6, 1e-4, 1e-2, 1.0])


def _drawn(parts: list[tuple[int, float]]) -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(size=N).astype(np.float32) * np.float32(size) for seed, size in parts]


def _steps(kind: str, given: list[np.ndarray], *, rate: float, l1: float, sparse: bool = True) -> list[np.ndarray]:
    """The weights before and after every step of an optimizer on given gradients."""
    import tensorflow as tf

    weights = tf.Variable(np.linspace(-1, 1, N, dtype=np.float32), name="kernel")
    made = {"adam": optimizers._proximal_adam, "sgd": optimizers._proximal_sgd}[kind]()
    optimizer = made(rate, l1=l1, sparse=[weights] if sparse else [])
    optimizer.build([weights])
    found = [weights.numpy()]
    for gradient in given:
        optimizer.apply_gradients([(tf.constant(gradient), weights)])
        found.append(weights.numpy())
    return found


def _least(slope: np.ndarray, scale: np.ndarray, old: np.ndarray, l1: float, found: np.ndarray) -> np.ndarray:
    """By how much the subproblem's value at ``found`` exceeds the least that a search over many weights finds.

    The subproblem is slope * w + l1 * |w| + (w - old)**2 / (2 * scale), all in float64, in units of ``scale``: a step
    of size s away from the minimum costs s**2 / 2 of them.
    """
    reach = scale * (np.abs(slope) + l1)
    grid = old + np.linspace(-1.5, 1.5, 2001)[:, None] * reach
    candidates = np.concatenate([grid, np.zeros((1, N)), found[None]])
    values = slope * candidates + l1 * np.abs(candidates) + (candidates - old) ** 2 / (2 * scale)
    return (values[-1] - values.min(axis=0)) / scale


@settings(max_examples=40, deadline=None)
@given(parts=gradients, rate=rates, l1=penalties)
def test_a_proximal_adam_step_solves_its_subproblem(parts: list[tuple[int, float]], rate: float, l1: float) -> None:
    given_ = _drawn(parts)
    before, *after = _steps("adam", given_, rate=rate, l1=l1)
    m = v = np.zeros(N)
    for number, (gradient, found) in enumerate(zip(given_, after, strict=True), start=1):
        exact = gradient.astype(np.float64)
        m, v = BETA_1 * m + (1 - BETA_1) * exact, BETA_2 * v + (1 - BETA_2) * exact**2
        # What Adam multiplies its mean gradient by, weight by weight (Kingma & Ba, end of section 2).
        scale = rate * np.sqrt(1 - BETA_2**number) / (np.sqrt(v) + EPSILON)
        slope = m / (1 - BETA_1**number)
        old = before.astype(np.float64)
        # A weight that is off by what float32 resolves costs its square over twice the scale.
        resolved = 4 * np.finfo(np.float32).eps * (np.abs(old) + scale * (np.abs(slope) + l1)) / scale
        excess = _least(slope, scale, old, l1, found.astype(np.float64))
        assert (excess * scale <= 2 * resolved * scale * (np.abs(slope) + l1 + resolved) + 1e-12).all()
        before = found


@settings(max_examples=25, deadline=None)
@given(parts=gradients, rate=rates, l1=penalties)
def test_a_proximal_sgd_step_solves_its_subproblem(parts: list[tuple[int, float]], rate: float, l1: float) -> None:
    given_ = _drawn(parts)
    before, *after = _steps("sgd", given_, rate=rate, l1=l1)
    for gradient, found in zip(given_, after, strict=True):
        old, slope, scale = before.astype(np.float64), gradient.astype(np.float64), np.full(N, rate)
        resolved = 4 * np.finfo(np.float32).eps * (np.abs(old) + scale * (np.abs(slope) + l1)) / scale
        excess = _least(slope, scale, old, l1, found.astype(np.float64))
        assert (excess * scale <= 2 * resolved * scale * (np.abs(slope) + l1 + resolved) + 1e-12).all()
        before = found


def test_what_nothing_pulls_at_becomes_zero_and_stays() -> None:
    first = np.zeros(N, np.float32)
    first[:8] = 1.0
    *_, last = _steps("adam", [first] * 30, rate=1e-3, l1=1e-4)
    assert (last[8:] == 0).all()
    assert (last[:8] != 0).all()


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_without_l1_or_elsewhere_it_is_the_plain_optimizer(kind: str) -> None:
    import tensorflow as tf
    import tf_keras

    given_ = _drawn([(1, 1.0), (2, 0.1), (3, 3.0)])
    weights = tf.Variable(np.linspace(-1, 1, N, dtype=np.float32))
    plain = {"adam": tf_keras.optimizers.Adam, "sgd": tf_keras.optimizers.SGD}[kind](0.01)
    for gradient in given_:
        plain.apply_gradients([(tf.constant(gradient), weights)])
    assert (_steps(kind, given_, rate=0.01, l1=0.0)[-1] == weights.numpy()).all()
    assert (_steps(kind, given_, rate=0.01, l1=0.5, sparse=False)[-1] == weights.numpy()).all()
    assert not (_steps(kind, given_, rate=0.01, l1=0.5)[-1] == weights.numpy()).all()


def _model() -> Any:
    """Something of every kind of layer that has a kernel, and of some that have none."""
    import tf_keras
    from tf_keras import layers

    image, word = tf_keras.Input((8, 8, 2), name="image"), tf_keras.Input((), dtype="int32", name="word")
    x = layers.PReLU(shared_axes=[1, 2], name="slopes")(layers.Conv2D(3, 3, name="conv")(image))
    x = layers.BatchNormalization(name="norm")(layers.DepthwiseConv2D(2, name="depthwise")(x))
    x = layers.SeparableConv2D(4, 2, name="separable")(x)
    x = layers.Conv2DTranspose(2, 2, name="transposed")(x)
    x = layers.Dense(5, name="frozen", trainable=False)(layers.Flatten(name="flatten")(x))
    inner = tf_keras.Sequential([tf_keras.Input((5,)), layers.Dense(4, name="within")], name="inner")
    x = layers.Concatenate(name="both")([inner(x), layers.Embedding(9, 3, name="table")(word)])
    return tf_keras.Model([image, word], layers.Dense(2, name="last")(x))


def test_l1_is_for_kernels_that_are_trained() -> None:
    names = {v.name.partition(":")[0] for v in optimizers.kernels(_model())}
    assert names == {
        "conv/kernel",
        "depthwise/depthwise_kernel",
        "separable/depthwise_kernel",
        "separable/pointwise_kernel",
        "transposed/kernel",
        "within/kernel",
        "last/kernel",
    }


@pytest.mark.parametrize("chosen", ["adam", "sgd"])
def test_only_kernels_become_zero(chosen: str) -> None:
    import tensorflow as tf

    model = _model()
    for variable in model.trainable_variables:
        variable.assign(tf.fill(variable.shape, 1e-3))
    options = TrainingOptions(variant="any", optimizer=chosen, l1=1.0, proximal=True, learning_rate=0.1)
    optimizer = optimizers.build(model, options, chosen)
    optimizer.apply_gradients([(tf.zeros_like(v), v) for v in model.trainable_variables])
    zero = {v.name for v in model.trainable_variables if not v.numpy().any()}
    assert zero == {v.name for v in optimizers.kernels(model)}


def test_proximal_without_a_kernel_is_said() -> None:
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((), dtype="int32", name="word")
    model = tf_keras.Model(x, layers.Embedding(9, 3, name="table")(x))
    with pytest.raises(UsageError, match="--proximal finds no kernel"):
        optimizers.build(model, TrainingOptions(variant="any", l1=1.0, proximal=True), "adam")


@pytest.mark.parametrize("option", [{"wide_learning_rate": 0.1}, {"wide_l1": 0.1}, {"optimizer": "ftrl+adam"}])
def test_options_of_ftrl_need_a_wide_part(option: dict[str, Any]) -> None:
    options = TrainingOptions(variant="any", **option)
    with pytest.raises(UsageError, match="wide part"):
        optimizers.build(_model(), options, options.optimizer or "adam")


def test_max_norm_and_zeros_go_together() -> None:
    import tensorflow as tf
    import tf_keras

    bound = tf_keras.constraints.MaxNorm(0.5, axis=[0])
    x = tf_keras.Input((20,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(6, name="only", kernel_constraint=bound)(x))
    options = TrainingOptions(variant="any", l1=0.3, proximal=True, learning_rate=0.1)
    optimizer = optimizers.build(model, options, "adam")
    rng = np.random.default_rng(0)
    for _ in range(5):
        pairs = [(tf.constant(rng.normal(size=v.shape), tf.float32), v) for v in model.trainable_variables]
        optimizer.apply_gradients(pairs)
    kernel = model.get_layer("only").kernel.numpy()
    assert np.linalg.norm(kernel, axis=0).max() <= 0.5 + 1e-6
    assert 0 < (kernel == 0).mean() < 1
