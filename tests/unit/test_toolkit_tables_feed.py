"""Tables as tf.data: the rows of batches(), an order of its own for every pass, our errors through TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import tables
from toolkit.errors import BrokenInput, UsageError
from toolkit.tables import Tally, feed

pytestmark = pytest.mark.slow


def table(n: int = 1000) -> tables.Table:
    x = np.arange(n, dtype=np.float32)
    arrays = {"x": x, "i": x.astype(np.int64), "s": [f"{v:g}é" for v in x], "y": -x}
    return tables.of_arrays(arrays, label="y")


def order(dataset: Any) -> list[int]:
    """The rows in their order; every row is checked to have stayed together."""
    found: list[int] = []
    for inputs, labels in dataset:
        x = inputs["x"].numpy()
        assert (inputs["i"].numpy() == x).all()
        assert (labels.numpy() == -x).all()
        assert [s.decode() for s in inputs["s"].numpy()] == [f"{v:g}é" for v in x]
        found += [int(v) for v in x]
    return found


@pytest.mark.parametrize("batch_size", [1, 7, 250, 999, 1000, 5000])
def test_all_rows_in_their_order(monkeypatch: pytest.MonkeyPatch, batch_size: int) -> None:
    monkeypatch.setattr(feed, "CHUNK", 100)
    dataset = table().as_tf_dataset(batch_size)
    assert order(dataset) == list(range(1000))
    sizes = [len(y) for _, y in dataset]
    assert sizes == [batch_size] * (1000 // batch_size) + ([1000 % batch_size] if 1000 % batch_size else [])


def test_types_and_shapes() -> None:
    inputs, label = table().as_tf_dataset(8).element_spec
    assert {n: (s.dtype.name, s.shape.as_list()) for n, s in inputs.items()} == {
        "x": ("float32", [None]),
        "i": ("int64", [None]),
        "s": ("string", [None]),
    }
    assert (label.dtype.name, label.shape.as_list()) == ("float32", [None])
    _, label = table().as_tf_dataset(8, drop_remainder=True).element_spec
    assert label.shape.as_list() == [8]
    assert set(tables.of_arrays({"x": [1.0]}).as_tf_dataset(1).element_spec) == {"x"}


def test_drop_remainder() -> None:
    assert order(table().as_tf_dataset(300, drop_remainder=True)) == list(range(900))


@pytest.mark.parametrize("cache", [False, True])
def test_every_pass_has_its_own_order_and_a_seed_repeats_them(cache: bool) -> None:
    def passes(seed: int) -> list[list[int]]:
        rows = order(table().as_tf_dataset(64, shuffle=300, seed=seed, repeat=3, cache=cache))
        return [rows[i : i + 1000] for i in (0, 1000, 2000)]

    first = passes(1)
    assert all(sorted(p) == list(range(1000)) for p in first)
    assert first[0] != first[1] != first[2]
    assert passes(1) == first
    assert passes(2)[0] != first[0]
    dataset = table().as_tf_dataset(64, shuffle=300, seed=1, cache=cache)
    assert [order(dataset), order(dataset)] == first[:2], "as repeated, so iterated anew"


def test_the_cache_saves_the_second_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{i},{-i}\n" for i in range(100)))
    dataset = tables.open_table(path, label="y").as_tf_dataset(10, cache=True)
    first = [y.numpy().tolist() for _, y in dataset]
    path.unlink()
    assert [y.numpy().tolist() for _, y in dataset] == first


def test_without_end() -> None:
    dataset = table(10).as_tf_dataset(5, repeat=None)
    assert order(dataset.take(7)) == [*range(10)] * 3 + [*range(5)]


def test_split_filter_and_map() -> None:
    even = table().as_tf_dataset(16, split="train", where=lambda c: c["i"] % 2 == 0, map=lambda x, y: (x, y * 2))
    wanted = [int(v) for b in table().batches(split="train") for v in b["i"] if v % 2 == 0]
    assert [int(v) for x, _ in even for v in x["i"]] == wanted
    assert [float(v) for _, y in even for v in y] == [-2.0 * v for v in wanted]
    assert 300 < len(wanted) < 500


def test_text_labels_are_class_numbers() -> None:
    text = tables.of_arrays({"x": [1, 2, 3], "y": ["b", "a", "b"]}, label="y")
    with pytest.raises(UsageError, match="with_classes"):
        text.as_tf_dataset(2)
    assert [int(v) for _, y in text.with_classes().as_tf_dataset(2) for v in y] == [1, 0, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "batch size 0"),
        ({"batch_size": 1, "repeat": 0}, "repeat 0"),
        ({"batch_size": 1, "shuffle": -1}, "shuffle -1"),
        ({"batch_size": 1, "split": "test"}, "unknown split"),
    ],
)
def test_wrong_calls(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        table().as_tf_dataset(**options)


def test_a_malformed_row_is_one_line_even_through_fit(tmp_path: Path) -> None:
    import tf_keras

    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "1,2\n" * 99 + "1,oops\n" + "1,2\n" * 99)
    schema = tables.Schema(columns=(tables.Column(name="x"), tables.Column(name="y")), label="y")
    model = tf_keras.Sequential([tf_keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    def features(x: Any, y: Any) -> Any:
        return x["x"][:, None], y

    dataset = tables.open_table(path, schema=schema).as_tf_dataset(10, map=features)
    with pytest.raises(BrokenInput) as caught, feed.original_errors():
        model.fit(dataset, verbose=0)
    assert str(caught.value).startswith(f"{path}:101: column 'y' is 'oops', not a number; ")

    tally = Tally("skip")
    good = tables.open_table(path, schema=schema, bad_rows="skip").as_tf_dataset(
        10, map=features, tally=tally, repeat=2
    )
    with feed.original_errors():
        model.fit(good, verbose=0)
    assert (tally.rows, tally.left_out) == (396, 2)


def test_errors_of_others_pass_unchanged() -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError), feed.original_errors():
        tf.reshape([1, 2, 3], [2])
    with pytest.raises(ZeroDivisionError), feed.original_errors():
        1 / 0  # noqa: B018
