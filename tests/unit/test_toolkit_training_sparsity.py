"""Zeros of a model's kernels: counted per layer, with what compaction could take out, whatever the kernel's layout."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import blobs, exported

from toolkit.records import Sparsity, from_json
from toolkit.training import sparsity

pytestmark = pytest.mark.slow

_RNG = np.random.default_rng(4)


def _one(layer: Any, shape: tuple[int, ...], edit: Any) -> dict[str, Any]:
    """What is said of the single kernel of a layer, full of ones but for what ``edit`` does to it."""
    import tf_keras

    x = tf_keras.Input(shape, name="x")
    model = tf_keras.Model(x, layer(x))
    (kernel,) = [w for w in model.trainable_weights if len(w.shape) > 1]
    values = np.ones(kernel.shape, np.float32)
    edit(values)
    kernel.assign(values)
    (found,) = sparsity.of(model)
    return found


def test_rows_columns_and_shares_of_a_dense_layer() -> None:
    from tf_keras import layers

    def edit(kernel: np.ndarray) -> None:
        kernel[[1, 4]] = 0
        kernel[:, 2] = -0.0
        kernel[0, 0] = 1e-45  # small is not zero

    found = _one(layers.Dense(3, name="hidden_1"), (5,), edit)
    assert from_json(Sparsity, found).name == "hidden_1/kernel"
    assert (found["shape"], found["bytes"]) == ([5, 3], 60)
    assert found["zeros"] == pytest.approx((2 * 3 + 3) / 15, abs=1e-6)
    assert (found["inputs"], found["dead_inputs"], found["units"], found["dead_units"]) == (5, 2, 3, 1)


@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose", "Conv1D"])
def test_of_a_convolution_channels_count(kind: str) -> None:
    from tf_keras import layers

    def edit(kernel: np.ndarray) -> None:
        # [..., inputs, filters]; a transposed kernel is [..., filters, inputs].
        seen = kernel.swapaxes(-1, -2) if kind == "Conv2DTranspose" else kernel
        seen[..., 1, :] = 0
        seen[..., [0, 4]] = 0
        seen[0, ..., 2, :] = 0  # one place of a channel is no channel

    shape = (8, 4) if kind == "Conv1D" else (8, 8, 4)
    found = _one(getattr(layers, kind)(6, 3, name="conv"), shape, edit)
    assert (found["inputs"], found["dead_inputs"], found["units"], found["dead_units"]) == (4, 1, 6, 2)


def test_every_input_of_a_depthwise_convolution_has_units_of_its_own() -> None:
    from tf_keras import layers

    def edit(kernel: np.ndarray) -> None:  # [3, 3, 4, 2]
        kernel[:, :, 1] = 0
        kernel[:, :, 3, 1] = 0

    found = _one(layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep"), (8, 8, 4), edit)
    assert (found["inputs"], found["dead_inputs"], found["units"], found["dead_units"]) == (4, 1, 8, 3)


def test_what_is_no_matrix_is_left_out_and_the_order_kept() -> None:
    import tf_keras
    from tf_keras import layers

    inner = tf_keras.Sequential([tf_keras.Input((3,)), layers.Dense(2, name="within")], name="inner")
    x = tf_keras.Input((4, 4, 2), name="x")
    y = layers.PReLU(shared_axes=[1, 2], name="slopes")(layers.Conv2D(3, 3, name="first")(x))
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Dense(5, name="frozen", trainable=False)(inner(layers.GlobalMaxPooling2D(name="pool")(y)))
    found = sparsity.of(tf_keras.Model(x, layers.Dense(1, name="last")(y)))
    assert [row["name"] for row in found] == ["first/kernel", "within/kernel", "last/kernel"]


def test_gzip_bytes_are_those_of_the_matrix_alone() -> None:
    from tf_keras import layers

    values = _RNG.normal(size=(50, 40)).astype(np.float32)
    values[values < 0.5] = 0

    def edit(kernel: np.ndarray) -> None:
        kernel[:] = values

    found = _one(layers.Dense(40, name="hidden"), (50,), edit)
    assert found["gzip_bytes"] == len(gzip.compress(values.tobytes(), 9, mtime=0)) < 0.6 * found["bytes"]


def test_a_trained_model_tells_its_zeros(tmp_path: Path) -> None:
    found = exported.train(tmp_path, l1=1e-3, proximal=True)
    first = from_json(Sparsity, found.facts["sparsity"][0])
    kernel = exported.load(found).get_layer("hidden_1").kernel.numpy()
    assert first.zeros == pytest.approx((kernel == 0).mean(), abs=1e-6)
    assert first.dead_inputs == int((kernel == 0).all(axis=1).sum())
    assert 0.3 < first.zeros < 1
    assert first.gzip_bytes < 0.7 * first.bytes


def test_the_penalty_makes_no_zeros_and_the_proximal_step_does(tmp_path: Path) -> None:
    penalty = exported.train(tmp_path / "a", l1=1e-3)
    proximal = exported.train(tmp_path / "b", l1=1e-3, proximal=True)
    shares = [[row["zeros"] for row in t.facts["sparsity"]] for t in (penalty, proximal)]
    assert max(shares[0]) == 0
    assert min(shares[1]) > 0.01
    assert shares[1][0] > 0.3
    for trained in (penalty, proximal):
        assert trained.metrics["accuracy"] > 0.9
    # The penalty is part of the loss that training shows; the proximal step has none to show.
    assert penalty.history["loss"][-1] > 3 * proximal.history["loss"][-1]


def test_zeros_stay_zeros_in_the_file(tmp_path: Path) -> None:
    found = exported.export(tmp_path / "run", "float32", l1=1e-3, proximal=True)
    from toolkit import flatbuffer

    kernels = {
        k.elements: k.zero_share for k in flatbuffer.read(found.run.path(found.artifacts["float32"].path)).weights()
    }
    for row in found.trained.facts["sparsity"]:
        assert kernels[int(np.prod(row["shape"]))] == pytest.approx(row["zeros"], abs=1e-6)
    dense = exported.export(tmp_path / "dense", "float32")
    assert found.artifacts["float32"].size_bytes == pytest.approx(dense.artifacts["float32"].size_bytes, rel=0.01)
    assert found.artifacts["float32"].gzip_bytes < 0.7 * dense.artifacts["float32"].gzip_bytes


def test_both_loops_make_the_same_zeros(tmp_path: Path) -> None:
    options = {"l1": 1e-3, "proximal": True, "data": blobs.dataset()}
    fits, ours = (exported.train(tmp_path / loop, loop=loop, **options) for loop in ("fit", "custom"))
    for a, b in zip(exported.load(fits).get_weights(), exported.load(ours).get_weights(), strict=True):
        assert ((a == 0) == (b == 0)).mean() > 0.999
        np.testing.assert_allclose(a, b, atol=1e-4)
