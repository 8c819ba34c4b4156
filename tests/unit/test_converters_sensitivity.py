"""Layer sensitivity: a planted weak layer is found, and the fewest layers that keep the budget stay in float."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import bundle, convert, judging, sensitivity
from converters.parents import Parents
from toolkit import flatbuffer
from toolkit.datasets._dataset import Split
from toolkit.errors import UsageError
from toolkit.progress import Progress
from toolkit.report import sensitivity as shown
from toolkit.store import Run

ITEMS = [f"layer_{i}" for i in range(7)]


@given(st.sets(st.sampled_from(ITEMS), max_size=4), st.permutations(ITEMS))
def test_the_set_found_is_the_smallest_that_fits(needed: set[str], order: list[str]) -> None:
    found, smallest = sensitivity.fewest(order, lambda some: needed <= set(some))
    assert set(found) == needed
    assert smallest == (len(needed) < 3 or all(map(_few, range(1, len(needed)))))


def _few(size: int) -> bool:
    return len(list(itertools.combinations(ITEMS, size))) <= sensitivity.TRIED


@given(st.permutations(ITEMS))
def test_a_smaller_set_out_of_order_is_found_too(order: list[str]) -> None:
    """Any two of the first four do, and so does the last alone: halving alone would miss that."""

    def fits(some: Any) -> bool:
        return order[-1] in some or len(set(some) & set(order[:4])) >= 2

    assert sensitivity.fewest(order, fits) == ([order[-1]], True)


def scores(*tops: int) -> np.ndarray:
    found = np.full((len(tops), 3), 0.1, np.float32)
    found[np.arange(len(tops)), list(tops)] = 0.8
    return found


def test_losses_by_hand() -> None:
    own = {"p": scores(0, 1, 2, 0)}
    edge = {"p": scores(0, 1, 1, 0)}
    labels = np.array([0, 1, 2, 1])
    by_label = judging.Judge(inputs={}, reference=own, labels=labels)
    assert (by_label.metric, by_label.loss(edge), by_label.loss(own)) == ("accuracy", pytest.approx(0.25), 0.0)
    unlabelled = judging.Judge(inputs={}, reference=own)
    assert (unlabelled.metric, unlabelled.loss(edge)) == ("agreement", pytest.approx(0.25))
    values = {"y": np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)}
    truth = np.array([1.0, 2.0, 3.0, 6.0])  # the float model's rmse is 1
    worse = {"y": np.array([[1.0], [2.0], [3.0], [3.0]], np.float32)}  # and this one's 1.5
    regression = judging.Judge(inputs={}, reference=values, labels=truth)
    assert (regression.metric, regression.loss(worse)) == ("rmse", pytest.approx(0.5))
    bare = judging.Judge(inputs={}, reference=values)
    # Mean square of the change 0.25, variance 1.25: a fifth of it, or 7 dB.
    assert bare.metric == "error"
    assert bare.loss(worse) == pytest.approx(0.2**0.5)
    assert bare.sqnr_db(worse) == pytest.approx(6.99, abs=0.01)
    assert bare.sqnr_db({"y": values["y"] + np.nan}) == -np.inf
    assert bare.loss({"y": values["y"] + np.nan}) == np.inf


def test_judging_samples_are_none_that_set_a_range() -> None:
    values = np.arange(100, dtype=np.float32)[:, None]
    training = Split(inputs={"x": values}, labels=np.arange(100), digest="t")
    calibration = Split(inputs={"x": values[::2]}, labels=None, digest="c")
    found = judging.held_out(training, calibration, 30, seed=1)
    assert len(found) == 30
    assert set(found.inputs["x"][:, 0].astype(int) % 2) == {1}
    assert found.labels is not None
    assert found.labels.tolist() == found.inputs["x"][:, 0].tolist()
    assert len(judging.held_out(training, training, 200, seed=1)) == 100


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> convert.Conversion:
    """Three dense layers, of which ``weak`` has one huge unit that nothing reads: its one scale is far too coarse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras
        from tf_keras import layers

        tf_keras.utils.set_random_seed(2)
        x = tf_keras.Input((20,), name="x")
        hidden = layers.Dense(24, activation="relu", name="first")(x)
        hidden = layers.Dense(24, activation="relu", name="weak")(hidden)
        hidden = layers.Dense(24, activation="relu", name="third")(hidden)
        model = tf_keras.Model(x, layers.Dense(5, activation="softmax", name="scores")(hidden), name="net")
        kernel, bias = model.get_layer("weak").get_weights()
        kernel[:, 0] = -500.0  # a unit that is never on
        model.get_layer("weak").set_weights([kernel, bias])
        kernel, bias = model.get_layer("scores").get_weights()
        model.get_layer("scores").set_weights([kernel * 20, bias])
        rng = np.random.default_rng(0)
        drawn = rng.normal(size=(3000, 20)).astype(np.float32)
        answers = np.sort(np.asarray(model(drawn)), axis=1)
        # Clear cases: of samples on the border any rounding changes the class.
        inputs = drawn[answers[:, -1] - answers[:, -2] > 0.3][:900]
        labels = np.asarray(model(inputs)).argmax(axis=1)
        run = Run(tmp_path_factory.mktemp("weak") / "run")
        run.path("bundle").mkdir()
        model.save(run.path("bundle", "model.keras"))
        quiet = Progress(quiet=True)
        keras_file = run.path("bundle", "model.keras")
        made = bundle.create(run, name="weak", keras_file=keras_file, keras_version=2, progress=quiet)
    split = Split(inputs={"x": inputs}, labels=labels, digest="training")
    calibration = Split(inputs={"x": inputs[:200]}, labels=labels[:200], digest="calibration")
    return convert.Conversion(run=run, bundle=made, calibration=calibration, training=split, progress=quiet)


@pytest.mark.slow
def test_the_weak_layer_is_the_most_damaging_one(weak: convert.Conversion, tmp_path: Path) -> None:
    found = sensitivity.measured(weak, Parents(weak))
    assert found["layers"][0]["label"] == "weak"
    assert {layer["label"] for layer in found["layers"] if layer["op"] == "FULLY_CONNECTED"} == {
        *("first", "weak", "third", "scores")
    }
    assert found["metric"] == "accuracy"
    assert found["samples"] == 700
    assert found["layers"][0]["loss"] > 0.1
    assert all(layer["loss"] < 0.05 for layer in found["layers"][1:])
    lines = shown.lines(found)
    assert lines[2].startswith("weak ")
    assert len({len(line) for line in lines[:-1]}) == 1
    for ending in shown.FORMATS:
        shown.draw(found, tmp_path / f"x{ending}")
        assert (tmp_path / f"x{ending}").stat().st_size > 1000


@pytest.mark.slow
def test_exactly_the_weak_layer_stays_in_float(weak: convert.Conversion) -> None:
    (artifact,) = convert.convert(dataclasses.replace(weak, budget=0.02), ["int8_mixed"])
    assert [c.detail for c in artifact.gate.checks if not c.passed] == []
    kept = artifact.data["kept_float"]
    assert [sensitivity.label(name) for name in kept["names"]] == ["weak"]
    assert kept["smallest"] is True
    assert kept["loss"] <= 0.02
    model = flatbuffer.read(weak.run.path(artifact.path))
    assert sorted(k.dtype for k in model.weights()) == ["FLOAT32", "INT8", "INT8", "INT8"]


@pytest.mark.slow
def test_layers_can_be_named_and_none_be_kept(weak: convert.Conversion) -> None:
    (artifact,) = convert.convert(dataclasses.replace(weak, keep_float=("weak", "third")), ["int8_mixed"])
    model = flatbuffer.read(weak.run.path(artifact.path))
    assert sorted(k.dtype for k in model.weights()) == ["FLOAT32", "FLOAT32", "INT8", "INT8"]
    (artifact,) = convert.convert(dataclasses.replace(weak, keep_float=()), ["int8_mixed"])
    # Wholly in integers it is wrong, and the gate says so.
    assert not artifact.gate.passed
    with pytest.raises(UsageError, match=r"--keep-float 'wea.k' is no layer; name one of: "):
        convert.convert(dataclasses.replace(weak, keep_float=("wea.k",)), ["int8_mixed"])
    with pytest.raises(UsageError, match=r"fits \d layers"):
        convert.convert(dataclasses.replace(weak, keep_float=("net/",)), ["int8_mixed"])


def graph(*ops: tuple[str, tuple[int, ...], tuple[int, ...]]) -> Any:
    """A search over a graph of such operators; tensor 0 goes in, and tensors are called t0, t1, ..."""
    from types import SimpleNamespace

    from toolkit.flatmodel import FlatGraph, FlatOp, FlatTensor

    plain: dict[str, Any] = {"shape": (1,), "dtype": "FLOAT32", "data_bytes": 0, "scales": (), "zero_points": ()}
    rest: dict[str, Any] = {"channel_axis": 0, "sparse": False, "variable": False}
    tensors = tuple(FlatTensor(index=i, name=f"t{i}", **plain, **rest) for i in range(10))
    made = tuple(FlatOp(name=name, version=1, inputs=given, outputs=asked) for name, given, asked in ops)
    search = object.__new__(sensitivity.Search)
    search.model = SimpleNamespace(  # type: ignore[assignment]
        graphs=(FlatGraph(tensors=tensors, ops=made, inputs=(0,), outputs=(9,)),)
    )
    search.impossible = []
    return search


def test_movers_follow_their_neighbours_all_of_a_row_together() -> None:
    search = graph(
        ("RESHAPE", (0,), (1,)),
        ("CONV_2D", (1,), (2,)),
        ("PAD", (2,), (3,)),
        ("TRANSPOSE", (3,), (4,)),
        ("CONV_2D", (4,), (5,)),
        ("RESHAPE", (5,), (6,)),
        ("FULLY_CONNECTED", (6,), (9,)),
    )
    assert search.floats([]) == []
    # The graph's own input is float, so the first mover is where its reader is.
    assert search.floats(["t2"]) == ["t1", "t2"]
    assert search.floats(["t2", "t5"]) == ["t1", "t2", "t3", "t4", "t5"]
    assert search.floats(["t9"]) == ["t9"]
    assert search.floats(["t2", "t5", "t9"]) == [f"t{i}" for i in (1, 2, 3, 4, 5, 6, 9)]
    search.impossible = ["t5"]
    assert search.floats([]) == ["t5"]


def test_a_mover_that_others_read_in_integers_stays_with_them() -> None:
    search = graph(
        ("CONV_2D", (0,), (1,)),
        ("RESHAPE", (1,), (2,)),
        ("CONV_2D", (2,), (3,)),
        ("FULLY_CONNECTED", (2,), (9,)),
    )
    assert search.floats(["t1", "t3"]) == ["t1", "t3"]
    assert search.floats(["t1", "t3", "t9"]) == ["t1", "t2", "t3", "t9"]


def test_a_layer_that_answers_with_nan_is_shown_with_a_dash(tmp_path: Path) -> None:
    bad = sensitivity._finite({"label": "log", "op": "LOG", "bytes": 0, "sqnr_db": "-inf", "loss": float("inf")})
    assert (bad["sqnr_db"], bad["loss"]) == (None, None)
    good = sensitivity._finite({"label": "dense", "op": "FULLY_CONNECTED", "bytes": 8, "sqnr_db": 30.0, "loss": 0.01})
    found = {"metric": "error", "samples": 3, "judged_by": "us", "layers": [bad, good], "all_int8": bad}
    log, dense, *_, whole, _said = shown.lines(found)[2:]
    assert log.split()[-2:] == whole.split()[-2:] == ["–", "–"]
    assert dense.split()[-2:] == ["30.0", "+1.00"]
    shown.draw(found, tmp_path / "picture.svg")
    assert "<svg" in (tmp_path / "picture.svg").read_text()
