"""``validate`` on a table: a group that is worse, functions of one's own, shards, and what is asked wrongly."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done

from devices.evaluation import cuts, engine
from toolkit.cli import comparing
from toolkit.prediction import Contract
from toolkit.prediction import samples as tables
from toolkit.records import TensorSpec

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]

ROWS = 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``good.keras`` gives a + b, ``bad.keras`` (a - 0.5) more where a is above 0.5; rows in ``eval.csv``."""
    made = tmp_path_factory.mktemp("slices")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, which are not ours to mend
        import tf_keras

        for name, slope in (("good", 0.0), ("bad", 1.0)):
            a, b = tf_keras.Input((1,), name="a"), tf_keras.Input((1,), name="b")
            over = tf_keras.layers.Dense(1, activation="relu", name="over")(a)
            total = tf_keras.layers.Concatenate()([a, b, over])
            model = tf_keras.Model([a, b], tf_keras.layers.Dense(1, name="price")(total), name=name)
            weights = ([[1.0]], [-0.5], [[1.0], [1.0], [slope]], [0.0])
            model.set_weights([np.array(w, dtype=np.float32) for w in weights])
            model.save(made / f"{name}.keras")
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (2, ROWS))
    labels, towns = x + y + 0.2 * rng.standard_normal(ROWS), rng.choice(["Ax", "By"], ROWS)
    lines = [f"{p:.5f},{q:.5f},{z:.5f},{town}" for p, q, z, town in zip(x, y, labels, towns, strict=True)]
    (made / "eval.csv").write_text("\n".join(["a,b,label,town", *lines]) + "\n")
    (made / "own.py").write_text(
        "import numpy as np\n"
        "def high(columns):\n    return columns['a'] > 0.75\n"
        "def cubic_error(outputs, labels):\n    return np.abs(outputs[:, 0] - labels) ** 3\n"
        "def wrong(columns):\n    return 1\n"
    )
    return made


@pytest.fixture
def workplace(folder: Path) -> Path:
    return folder


WORDS = ("validate", "bad/artifacts/float32.tflite", "--against", "good.keras", "--data", "eval.csv")


def validated(edge_export: Callable[..., Done], *words: str, code: int = 1) -> Any:
    done = edge_export(*WORDS, "--json", *words)
    assert done.code == code, done.err
    (found,) = json.loads(done.out)["comparisons"]
    return found


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17])
def test_a_table_comes_in_groups_of_one_size_and_no_row_is_lost(count: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,label,town\n" + "".join(f"{i}.5,{i},t{i}\n" for i in range(count)))
    contract = Contract(inputs=(TensorSpec(name="a", shape=(None,), dtype="float32"),))
    found = list(tables.chunks(str(path), contract, columns=["town"], rows=8))
    assert [len(c.tensors["a"]) for c in found] == [8] * (count // 8) + ([count % 8] if count % 8 else [])
    assert np.concatenate([c.tensors["a"] for c in found]).tolist() == [i + 0.5 for i in range(count)]
    assert np.concatenate([c.labels for c in found if c.labels is not None]).tolist() == list(range(count))
    assert np.concatenate([c.columns["town"] for c in found]).tolist() == [f"t{i}" for i in range(count)]


def test_a_group_that_is_worse(edge_export: Callable[..., Done]) -> None:
    done = edge_export("convert", "bad.keras", "--recipe", "float32", "--run-dir", "bad", "--json")
    assert done.code == 0, done.err
    words = ("--run-dir", "one", "--budget", "0.5", "--metric", "mae,own.py:cubic_error")
    found = validated(edge_export, *words, "--slices", "a:quantiles=4,town,own.py:high")
    assert found["n"] == ROWS
    assert (found["metric"], found["passed"]) == ("rmse", True)  # fine on average
    assert [row["metric"] for row in found["metrics"]] == ["rmse", "mae", "own.py:cubic_error"]
    worse = {row["name"] for row in found["slices"]["slices"] if row["verdict"] == "worse"}
    assert len(worse) == 2
    assert "own.py:high: yes" in worse
    assert any(name.startswith("a: from 0.7") for name in worse)
    assert found["slices"]["tested"] == 8
    assert found["worst"][0]["index"] > 0

    # The facts are there: other slices of the same samples, or a function that has changed, and nobody is asked again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "run", None)
        done = edge_export(*WORDS, *words, "--slices", "label,town*b:quantiles=2")
        assert "slices tested: 9," in done.out
        Path("other.py").write_text("def one(columns):\n    return columns['a'] > 0.9\n")
        asked_before = comparing.Asked(slicings=cuts.parse("other.py:one")).decisive()
        before = validated(edge_export, *words, "--slices", "other.py:one")["slices"]
        Path("other.py").write_text("def one(columns):\n    return columns['a'] > 0.8\n")
        assert comparing.Asked(slicings=cuts.parse("other.py:one")).decisive() != asked_before
        after = validated(edge_export, *words, "--slices", "other.py:one")["slices"]
        assert [s["n"] for s in before["slices"]] != [s["n"] for s in after["slices"]]

    # A block that was lost is made again: nothing is concluded from the rest.
    (kept,) = Path("one/evaluations").iterdir()
    (kept / "block-0000001.npz").unlink()
    assert validated(edge_export, *words, "--slices", "a:quantiles=4")["n"] == ROWS
    assert (kept / "block-0000001.npz").exists()

    # Two workers, and shards that are put together, say the same to the last digit.
    asked = ("--budget", "0.5", "--metric", "mae,own.py:cubic_error", "--slices", "a:quantiles=4,town,own.py:high")
    two = validated(edge_export, *asked, "--run-dir", "two", "--workers", "2", "--batch", "64")
    assert two == found
    for part in ("1/2", "2/2"):
        done = edge_export(*WORDS, *asked, "--run-dir", "parts", "--shard", part)
        assert (done.code, done.out) == (0, "")
        assert f"shard {part} is done" in done.err
        # Of three blocks the first shard makes the first and the last.
        assert len(list(Path("parts/evaluations").glob("*/block-*"))) == {"1/2": 2, "2/2": 3}[part]
    assert validated(edge_export, *asked, "--run-dir", "parts") == found


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--slices", "city"), 2, "unknown column 'city'"),
        (("--slices", "a"), 5, "cut it: a:quantiles=5"),
        (("--slices", "town:quantiles=2"), 5, "which have no quantiles"),
        (("--slices", "own.py:nothing"), 2, "has no function 'nothing'"),
        (("--slices", "own.py:wrong"), 5, "for 8192 rows"),
        (("--slices", "none.py:f"), 2, "there is no such file"),
        (("--metric", "accurate"), 2, "did you mean accuracy"),
        (("--metric", "auc"), 2, "is of class scores"),
        (("--shard", "3/2"), 2, "is no part of a whole"),
        (("--output", "prize"), 5, "there is no output 'prize'"),
    ],
)
def test_what_is_asked_wrongly(
    edge_export: Callable[..., Done], words: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    if not Path("bad/artifacts/float32.tflite").exists():
        edge_export("convert", "bad.keras", "--recipe", "float32", "--run-dir", "bad", "--json")
    done = edge_export(*WORDS, "--run-dir", str(tmp_path / "run"), *words)
    assert done.code == code, done.err
    assert said in done.err
    assert done.err.strip().splitlines()[-1].startswith("error: ")


def test_a_run_needs_no_more_words(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    if not Path("bad/artifacts/float32.tflite").exists():
        edge_export("convert", "bad.keras", "--recipe", "float32", "--run-dir", "bad", "--json")
    done = edge_export("validate", "bad", "float32", "--data", "eval.csv", "--run-dir", str(tmp_path / "run"), "--json")
    assert done.code == 0, done.err
    done = edge_export(
        "validate", "bad/float32.tflite", "--data", "eval.csv", "--run-dir", str(tmp_path / "two"), "--json"
    )
    assert done.code == 0, done.err
    assert edge_export("validate", "bad", "int3", "--data", "eval.csv").code == 2
    done = edge_export("validate", "bad", "float32")
    assert done.code == 2
    assert "came without data" in done.err
    done = edge_export("validate", "wide-deep")
    assert "has no run under runs/" in done.err
