"""Pruning: the share in every kernel, the same names, what cannot be pruned left alone, bad input one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import blobs
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import BrokenInput, CheckFailed, UsageError
from toolkit.progress import Progress
from toolkit.training import keras_file, pruning

RNG = np.random.default_rng(2)


@given(size=st.integers(1, 4_000_000), sparsity=st.floats(0.01, 0.99))
def test_what_is_asked_for_gives_at_least_the_share(size: int, sparsity: float) -> None:
    asked = np.float32(pruning._exact(size, sparsity))
    # As pruning_impl._update_mask of TFMOT counts, in float32.
    kept = max(int(np.round(np.float32(size) * (np.float32(1) - asked))), 1)
    zeros = size - kept
    assert zeros >= min(np.floor(size * sparsity - 1e-6), size - 1)
    assert zeros / size >= min(sparsity, 1 - 1 / size) - 1e-6
    assert zeros <= size * sparsity + 2, "prunes more than asked"


def _save(model: Any, folder: Path) -> Path:
    keras_file.save(model, folder / "model.keras")
    return folder / "model.keras"


def _small(folder: Path, *, last: str | None = "softmax") -> Path:
    """A convolution, a batch normalisation and two dense layers, trained for a moment."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(4)
    image = tf_keras.Input((28, 28), name="image")
    x = layers.Reshape((28, 28, 1), name="channel")(image)
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(24, activation="relu", name="hidden")(x)
    model = tf_keras.Model(image, layers.Dense(10, activation=last, name="answer")(x), name="small")
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=last is None))
    split = blobs.dataset().train()
    model.fit(split.inputs["image"], split.labels, epochs=8, verbose=0)
    return _save(model, folder)


def _prune(path: Path, **given: Any) -> Any:
    split = blobs.dataset().train()
    options: dict[str, Any] = {"sparsity": 0.8, "seed": 0, "epochs": 4, "progress": Progress(quiet=True), **given}
    inputs, labels = options.pop("inputs", split.inputs), options.pop("labels", split.labels)
    return pruning.prune(path, inputs, labels, **options)


def _accuracy(model: Any) -> float:
    split = blobs.dataset().evaluation()
    return float((model.predict(split.inputs["image"], verbose=0).argmax(axis=1) == split.labels).mean())


@pytest.mark.slow
@pytest.mark.parametrize("last", ["softmax", None])
def test_every_kernel_has_its_zeros_and_the_model_still_works(last: str | None, tmp_path: Path) -> None:
    import tf_keras

    path = _small(tmp_path, last=last)
    source = tf_keras.models.load_model(path, compile=False)
    before = dict(os.environ)
    # Moving averages of a batch normalisation follow the pruned activations slowly: 120 steps.
    pruned = _prune(path, epochs=12)
    assert dict(os.environ) == before

    assert [layer.name for layer in pruned.layers] == [layer.name for layer in source.layers]
    assert [w.name for w in pruned.weights] == [w.name for w in source.weights]
    assert (pruned.name, pruned.input_names, pruned.output_names) == ("small", ["image"], ["answer"])
    assert getattr(pruned, "optimizer", None) is None
    kernels = {name: float((k == 0).mean()) for name, k in pruning.kernels(pruned).items()}
    assert set(kernels) == {"conv/kernel:0", "hidden/kernel:0", "answer/kernel:0"}
    for name, share in kernels.items():
        assert 0.8 <= share < 0.85, name
    # 36 weights: TFMOT alone would keep round(7.2) = 7 here, but round(57.6) = 58 of 288; seven is 80.6 %.
    assert kernels["conv/kernel:0"] == 29 / 36
    norm = pruned.get_layer("norm").get_weights()
    assert all(np.count_nonzero(w) for w in norm)
    assert _accuracy(pruned) >= _accuracy(source) - 0.05
    assert _accuracy(pruned) > 0.9


@pytest.mark.slow
def test_the_same_seed_prunes_alike_whatever_went_before(tmp_path: Path) -> None:
    import tensorflow as tf

    path = _small(tmp_path)
    first = keras_file.weights_digest(_prune(path, epochs=2))
    tf.random.uniform([5])
    np.random.rand(3)
    assert keras_file.weights_digest(_prune(path, epochs=2)) == first
    assert keras_file.weights_digest(_prune(path, epochs=2, seed=1)) != first


@pytest.mark.slow
def test_a_pruned_model_survives_being_saved(tmp_path: Path) -> None:
    import tf_keras

    pruned = _prune(_small(tmp_path), epochs=1)
    keras_file.save(pruned, tmp_path / "pruned.keras")
    again = tf_keras.models.load_model(tmp_path / "pruned.keras")
    assert keras_file.weights_digest(again) == keras_file.weights_digest(pruned)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 3, 33])
def test_a_handful_of_samples_is_enough_to_reach_the_share(samples: int, tmp_path: Path) -> None:
    split = blobs.dataset().train()
    inputs = {"image": split.inputs["image"][:samples]}
    pruned = _prune(_small(tmp_path), inputs=inputs, labels=split.labels[:samples], epochs=1, batch_size=2)
    assert all((k == 0).mean() >= 0.8 for k in pruning.kernels(pruned).values())


@pytest.mark.slow
def test_nested_models_and_dicts_are_pruned_too(tmp_path: Path) -> None:
    import tf_keras
    from tf_keras import layers

    left, right = tf_keras.Input((6,), name="left"), tf_keras.Input((5,), name="right")
    sub = tf_keras.Sequential([tf_keras.Input((11,)), layers.Dense(20, activation="relu", name="inside")], name="sub")
    answer = layers.Dense(3, activation="softmax", name="answer")(sub(layers.Concatenate(name="both")([left, right])))
    model = tf_keras.Model({"left": left, "right": right}, {"chance": answer}, name="both_ends")
    # In another order than the model's: what is named must not be paired by position.
    inputs = {"right": RNG.random((40, 5), np.float32), "left": RNG.random((40, 6), np.float32)}
    pruned = _prune(_save(model, tmp_path), inputs=inputs, labels=np.arange(40) % 3)
    shares = {name: float((k == 0).mean()) for name, k in pruning.kernels(pruned).items()}
    assert set(shares) == {"inside/kernel:0", "answer/kernel:0"}
    assert min(shares.values()) >= 0.8
    assert set(pruned.predict(inputs, verbose=0)) == {"chance"}


@pytest.mark.slow
def test_a_regressor_is_pruned_by_its_squared_error(tmp_path: Path) -> None:
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential([tf_keras.Input((20,), name="x"), tf_keras.layers.Dense(1, name="y")], name="line")
    x = RNG.standard_normal((200, 20)).astype(np.float32)
    y = (3 * x[:, 0] - 2 * x[:, 1] + 5).astype(np.float32)
    pruned = _prune(_save(model, tmp_path), inputs={"x": x}, labels=y, epochs=30, learning_rate=0.05)
    kernel, bias = pruned.get_weights()
    assert (kernel == 0).sum() == 16
    np.testing.assert_allclose([kernel[0, 0], kernel[1, 0], bias[0]], [3, -2, 5], atol=0.1)


@pytest.mark.slow
def test_bad_models_and_data_are_one_clear_line(tmp_path: Path) -> None:
    import tf_keras
    from tf_keras import layers

    path = _small(tmp_path)
    split = blobs.dataset().train()
    with pytest.raises(BrokenInput, match="no image"):
        _prune(path, inputs={"picture": split.inputs["image"]})
    with pytest.raises(BrokenInput, match="labels 0 to 10 for 10 classes"):
        _prune(path, labels=np.where(np.arange(300) == 7, 10, split.labels))
    with pytest.raises(BrokenInput, match="299 labels for 300 samples"):
        _prune(path, labels=split.labels[:-1])
    with pytest.raises(CheckFailed, match="learning rate"):
        _prune(path, learning_rate=1e30)

    broken = tmp_path / "broken.keras"
    broken.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BrokenInput, match=r"broken\.keras"):
        _prune(broken)

    given = tf_keras.Input((4,), name="x")
    two = tf_keras.Model(given, [layers.Dense(2, name="a")(given), layers.Dense(2, name="b")(given)])
    with pytest.raises(BrokenInput, match="one output"):
        _prune(_save(two, tmp_path), inputs={"x": np.zeros((4, 4), np.float32)}, labels=np.zeros(4, np.int64))
    none = tf_keras.Model(given, layers.BatchNormalization(name="n")(given))
    with pytest.raises(BrokenInput, match="no layer that TFMOT can prune"):
        _prune(_save(none, tmp_path), inputs={"x": np.zeros((4, 4), np.float32)}, labels=np.zeros(4, np.int64))


@pytest.mark.slow
def test_a_kernel_that_cannot_reach_the_share_is_not_handed_out(tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((20,), name="x"), tf_keras.layers.Dense(2, name="y")], name="ties")
    # Weights of inputs that are always zero never move: the largest of all, and all equal, TFMOT keeps every one.
    model.set_weights([np.full((20, 2), 5.0), np.zeros(2)])
    x = np.zeros((64, 20), np.float32)
    x[:, 0] = 1
    with pytest.raises(CheckFailed, match="y/kernel:0 are zero, not 80%"):
        _prune(_save(model, tmp_path), inputs={"x": x}, labels=np.zeros(64, np.int64))


@pytest.mark.slow
def test_zeros_that_are_not_there_are_noticed(tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((10,)), tf_keras.layers.Dense(10, name="only")])
    kernel = np.ones((10, 10))
    kernel.flat[:79] = 0
    model.set_weights([kernel, np.zeros(10)])
    with pytest.raises(CheckFailed, match=r"79\.00% of only/kernel:0"):
        pruning._must_be_sparse(model, 0.8, tmp_path)
    kernel.flat[:80] = 0
    model.set_weights([kernel, np.zeros(10)])
    pruning._must_be_sparse(model, 0.8, tmp_path)


@pytest.mark.parametrize(
    "option",
    [
        {"sparsity": 0.0},
        {"sparsity": 1.0},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"pattern": "2:4"},
        {"pattern": "3:5"},
        {"schedule": "cubic"},
    ],
)
def test_options_out_of_range_are_refused(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sparsity lies between 0 and 1|are above 0|2:4|unstructured"):
        _prune(tmp_path / "no.keras", **option)


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "sparsity"), [("2:4", 0.5), ("16x1", 0.75)])
def test_patterns_take_the_kernels_they_fit_and_leave_the_others(pattern: str, sparsity: float, tmp_path: Path) -> None:
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    x = tf_keras.Input((64,), name="x")
    hidden = layers.Dense(10, activation="relu", name="odd")(layers.Dense(32, activation="relu", name="fits")(x))
    model = tf_keras.Model(x, layers.Dense(1, name="y")(hidden), name="mixed")
    inputs = RNG.standard_normal((100, 64)).astype(np.float32)
    pruned = _prune(
        _save(model, tmp_path), inputs={"x": inputs}, labels=inputs[:, 0], sparsity=sparsity, pattern=pattern, epochs=3
    )
    assert set(pruning.kernels(pruned, pattern)) == {"fits/kernel:0", "odd/kernel:0"}
    for name, kernel in pruning.kernels(pruned, pattern).items():
        rows = 4 if pattern == "2:4" else 16
        zeros = (kernel.reshape(-1, rows, kernel.shape[1]) == 0).sum(axis=1)
        if pattern == "2:4":
            assert (zeros >= 2).all(), name
        else:
            assert set(np.unique(zeros)) <= {0, 16}, name
            assert (zeros == 16).mean() >= sparsity, name
    # One unit alone is no matrix, and keeps its weights.
    assert np.count_nonzero(pruned.get_layer("y").get_weights()[0]) == 10


@pytest.mark.slow
def test_a_pattern_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((6,), name="x"), tf_keras.layers.Dense(3, name="y")], name="odd")
    x = np.zeros((8, 6), np.float32)
    with pytest.raises(BrokenInput, match="no layer that TFMOT can prune by 16x1"):
        _prune(_save(model, tmp_path), inputs={"x": x}, labels=np.zeros(8, np.int64), pattern="16x1")


@pytest.mark.slow
def test_the_constant_schedule_reaches_the_same_share(tmp_path: Path) -> None:
    pruned = _prune(_small(tmp_path), schedule="constant", epochs=2)
    assert all((kernel == 0).mean() >= 0.8 for kernel in pruning.kernels(pruned).values())
