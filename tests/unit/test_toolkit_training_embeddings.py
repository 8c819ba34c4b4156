"""Embeddings and codes: the right vectors under the right names, and TensorBoard's own projector serves them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput, CheckFailed, UsageError
from toolkit.features import Bucketized, Crossed, FeatureSpec, HashBucket, Numeric, Vocabulary, encode, transform
from toolkit.records import Embedding
from toolkit.report import loading
from toolkit.store import Run, write_json
from toolkit.training import codes, embeddings

pytestmark = pytest.mark.slow

SPEC = FeatureSpec(
    label="fare",
    columns=(
        Numeric(name="miles", mean=3.0, std=2.0),
        Bucketized(name="pickup-latitude", boundaries=(40.7, 40.75, 40.8), embedding=3),
        Vocabulary(name="payment", vocabulary=("Cash", "Card", "Dispute"), embedding=4),
        HashBucket(name="company", size=6_000, embedding=2),
        Vocabulary(name="plain", input="payment", vocabulary=("Cash",)),
        Crossed(name="cell", of=("pickup-latitude", "payment"), embedding=5),
    ),
)


def rows(n: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    """Raw rows of :data:`SPEC` in which nobody disputes and no latitude is missing."""
    rng = np.random.default_rng(seed)
    return {
        "miles": rng.gamma(2, 2, n).astype(np.float32),
        "pickup-latitude": rng.normal(40.75, 0.05, n).astype(np.float32),
        "payment": np.array(["Cash", "Card", "Barter"], dtype=object)[rng.integers(0, 3, n)],
        "company": np.array([f"Cab {i}" for i in range(40)], dtype=object)[rng.integers(0, 40, n)],
    }


@pytest.fixture(scope="module")
def taxi() -> Any:
    """A model with feature columns and a layer ``hidden`` of 8 outputs, untrained: tables are all different."""
    import tf_keras

    from toolkit.features.layer import feature_layer, keras_inputs

    tf_keras.utils.set_random_seed(3)
    inputs = keras_inputs(SPEC)
    parts = feature_layer(SPEC)(inputs)
    hidden = tf_keras.layers.Dense(8, activation="relu", name="hidden")(parts["deep"])
    return tf_keras.Model(inputs, tf_keras.layers.Dense(1, name="fare")(hidden))


@pytest.fixture(scope="module")
def digits() -> Any:
    """A model of images with layers ``flat``, ``code`` (6 outputs), ``nan`` and ``grid`` (no vectors)."""
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(4)
    image = tf_keras.Input((8, 6), name="image")
    code = layers.Dense(6, activation="tanh", name="code")(layers.Flatten(name="flat")(image))
    nan = layers.Dense(3, kernel_initializer=tf_keras.initializers.Constant(np.nan), name="nan")(code)
    grid = layers.Reshape((2, 3), name="grid")(code)
    return tf_keras.Model(image, [layers.Dense(10, name="digit")(code), nan, grid])


def images(n: int = 50, seed: int = 0, *, channels: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 8, 6, *channels), dtype=np.float32)


def split(inputs: Mapping[str, np.ndarray], labels: np.ndarray | None = None) -> Split:
    return Split(inputs=dict(inputs), labels=labels, digest="d")


def export(model: Any, folder: Path, **options: Any) -> list[Path]:
    given: dict[str, Any] = {"codes": None, "samples": None, "classes": None, **options}
    return embeddings.export(model, folder=folder / "embeddings", logs=folder / "logs" / "projector", **given)


def record(folder: Path, name: str) -> Embedding:
    """As the report reads it."""
    run = Run(folder)
    return next(e for e in loading.embeddings(run) if e.name == name)


class Projector:
    """TensorBoard's plugin over a log directory, asked as its page does."""

    def __init__(self, logdir: Path) -> None:
        from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
        from tensorboard.plugins.base_plugin import TBContext
        from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin

        multiplexer = EventMultiplexer()
        multiplexer.AddRunsFromDirectory(str(logdir))
        multiplexer.Reload()
        provider = MultiplexerDataProvider(multiplexer, str(logdir))
        self._apps = ProjectorPlugin(TBContext(logdir=str(logdir), data_provider=provider)).get_plugin_apps()

    def get(self, route: str, **query: str) -> bytes:
        from werkzeug.test import Client
        from werkzeug.wrappers import Response

        answer = Client(self._apps[route], Response).get(route, query_string=query)
        assert answer.status_code == 200, answer.data
        return answer.data

    def tensor(self, run: str, info: Mapping[str, Any]) -> np.ndarray:
        data = self.get("/tensor", run=run, name=info["tensorName"])
        return np.frombuffer(data, dtype=np.float32).reshape(info["tensorShape"])

    def words(self, run: str, name: str) -> list[list[str]]:
        text = self.get("/metadata", run=run, name=name).decode()
        return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


def test_tensorboard_serves_tables_with_the_names_of_their_ids(taxi: Any, tmp_path: Path) -> None:
    export(taxi, tmp_path, samples=split(rows()))
    projected = Projector(tmp_path / "logs")
    assert json.loads(projected.get("/runs")) == ["projector"]
    infos = {i["tensorName"]: i for i in json.loads(projected.get("/info", run="projector"))["embeddings"]}
    assert list(infos) == ["pickup_latitude", "payment", "company", "cell"]
    layer, ids = taxi.get_layer("features"), transform(SPEC, rows()).ids
    for column, variable in zip(layer.embedded, layer.tables, strict=True):
        name, table = column.replace("-", "_"), variable.numpy()
        header, *words = projected.words("projector", name)
        assert header == ["name", "id", "count", "seen"]
        shown = [int(w[1]) for w in words]
        assert np.array_equal(projected.tensor("projector", infos[name]), table[shown])  # to the bit
        assert [int(w[2]) for w in words] == [int((ids[column] == i).sum()) for i in shown]
        assert [w[3] for w in words] == ["yes" if (ids[column] == i).any() else "no" for i in shown]
        # All ids of a small table; of a large one those that occur.
        assert shown == (sorted(set(ids[column].tolist())) if column == "company" else list(range(len(table))))
    names = {row[0]: row for row in projected.words("projector", "payment")[1:]}
    assert list(names) == ["(unknown)", "Cash", "Card", "Dispute"]
    assert names["Dispute"][2:] == ["0", "no"]
    assert [w[0] for w in projected.words("projector", "pickup_latitude")[1:]] == [
        "< 40.7", "[40.7, 40.75)", "[40.75, 40.8)", "≥ 40.8", "missing",
    ]  # fmt: skip
    assert projected.words("projector", "cell")[7][0] == "[40.7, 40.75) × Card"
    assert all(w[0].startswith("Cab ") for w in projected.words("projector", "company")[1:])


def test_tensorboard_serves_codes_with_classes_and_sprite(digits: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    given, labels = images(), np.arange(50) % 3
    export(digits, tmp_path, codes="code", samples=split({"image": given}, labels), classes=["nil", "one", "two"])
    for logdir, run in ((tmp_path / "logs", "projector"), (tmp_path / "logs" / "projector", ".")):
        projected = Projector(logdir)
        (info,) = json.loads(projected.get("/info", run=run))["embeddings"]
        dense = digits.get_layer("code").get_weights()
        expected = np.tanh(given.reshape(50, -1) @ dense[0] + dense[1])
        assert np.allclose(projected.tensor(run, info), expected, atol=1e-5)
        header, *words = projected.words(run, "code")
        assert header == ["class", "sample"]
        assert words == [[("nil", "one", "two")[i % 3], str(i)] for i in range(50)]
        sheet = tf.io.decode_png(projected.get("/sprite_image", run=run, name="code")).numpy()
        width, height = info["sprite"]["singleImageDim"]
        assert (width, height) == (6, 8)
        assert sheet.shape == (8 * 8, 8 * 6, 1)  # 50 images: a grid of 8 by 8
        for i in (0, 7, 8, 49):
            y, x = divmod(i, 8)
            cell = sheet[8 * y : 8 * y + 8, 6 * x : 6 * x + 6, 0]
            assert np.array_equal(cell, np.round(255 * given[i]))
        assert not sheet[56:, 12:].any()


def test_words_without_classes_have_no_header(digits: Any, tmp_path: Path) -> None:
    export(digits, tmp_path, codes="code", samples=split({"image": images(4)}))
    assert Projector(tmp_path / "logs").words("projector", "code") == [["0"], ["1"], ["2"], ["3"]]
    assert record(tmp_path, "code").labels == ()


def test_class_names_stay_on_their_line(digits: Any, tmp_path: Path) -> None:
    options = {"samples": split({"image": images(3)}, np.arange(3)), "classes": ["a\tb\nc", "", "d"]}
    export(digits, tmp_path, codes="code", **options)
    assert [w[0] for w in Projector(tmp_path / "logs").words("projector", "code")] == ["class", "a b c", "(none)", "d"]


def test_the_record_of_codes_is_their_principal_plane(digits: Any, tmp_path: Path) -> None:
    export(digits, tmp_path, codes="code", samples=split({"image": images()}, np.arange(50) % 3 + 7))
    found = record(tmp_path, "code")
    assert (found.kind, found.method, found.size, found.total) == ("codes", "PCA", 6, 50)
    assert found.classes == ("7", "8", "9")
    assert found.labels == tuple(str(i % 3 + 7) for i in range(50))
    vectors = np.loadtxt(tmp_path / "logs" / "projector" / "code.tsv")
    # The other way to the same plane: eigenvectors of the covariance.
    powers, axes = np.linalg.eigh(np.cov(vectors.T))
    expected = (vectors - vectors.mean(axis=0)) @ axes[:, :-3:-1]
    assert np.allclose(np.abs(found.points), np.abs(expected), rtol=1e-3, atol=1e-4)
    assert found.explained == pytest.approx((powers[-1] / powers.sum(), powers[-2] / powers.sum()))


def test_at_most_so_many_samples_are_shown(digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "POINTS", 20)
    given, seen = split({"image": images(100)}, np.arange(100)), []
    for seed in (1, 1, 2):
        export(digits, tmp_path, codes="code", samples=given, seed=seed)
        found = record(tmp_path, "code")
        assert (len(found.points), found.total) == (20, 100)
        assert found.labels == tuple(sorted(found.labels, key=int))
        seen.append(found.labels)
        words = Projector(tmp_path / "logs").words("projector", "code")[1:]
        assert [w[0] for w in words] == list(found.labels) == [w[1] for w in words]  # labels are the samples' numbers
    assert seen[0] == seen[1] != seen[2]


def test_quantities_are_shown_in_ranges(taxi: Any, tmp_path: Path) -> None:
    fares = np.random.default_rng(1).gamma(2, 5, 300).astype(np.float32)
    export(taxi, tmp_path, codes="hidden", samples=split(rows(), fares))
    found = record(tmp_path, "hidden")
    assert found.ordered
    assert len(found.classes) == 5
    assert found.classes[0].startswith("< ")
    lows = [float(name.strip("[≥ ").split(",")[0]) for name in found.classes[1:]]
    assert lows == sorted(lows)
    expected = [found.classes[int((np.array(lows, dtype=np.float32) <= fare).sum())] for fare in fares]
    assert list(found.labels) == expected
    assert all(30 < found.labels.count(name) < 90 for name in found.classes)


def test_equal_quantities_are_one_range(taxi: Any, tmp_path: Path) -> None:
    export(taxi, tmp_path, codes="hidden", samples=split(rows(20), np.full(20, 7.0)))
    assert set(record(tmp_path, "hidden").labels) == {"≥ 7"}


def test_raw_and_encoded_samples_are_the_same(taxi: Any, tmp_path: Path) -> None:
    for name, given in (("raw", rows()), ("encoded", encode(SPEC, rows()))):
        export(taxi, tmp_path / name, codes="hidden", samples=split(given))
    files = {p.relative_to(tmp_path / "raw") for p in (tmp_path / "raw").rglob("*") if p.is_file()}
    assert len(files) == 5 + 2 * 5 + 2
    for path in files:
        assert (tmp_path / "raw" / path).read_bytes() == (tmp_path / "encoded" / path).read_bytes(), path


def test_the_axes_of_a_column_are_those_of_ids_that_occur(taxi: Any, tmp_path: Path) -> None:
    export(taxi, tmp_path, samples=split(rows()))
    found, table = record(tmp_path, "payment"), taxi.get_layer("features").tables[1].numpy()
    assert found.labels == ("(unknown)", "Cash", "Card", "Dispute")
    assert found.counts[3] == 0 < min(found.counts[:3])
    # Three points lie in their plane: it shows their distances, and explains all.
    points, first = np.array(found.points[:3]), table[:3]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(points[a] - points[b]) == pytest.approx(np.linalg.norm(first[a] - first[b]), rel=1e-2)
    assert sum(found.explained or ()) == pytest.approx(1)


def test_without_samples_ids_are_not_counted(taxi: Any, tmp_path: Path) -> None:
    export(taxi, tmp_path)
    projected = Projector(tmp_path / "logs")
    assert projected.words("projector", "payment")[:2] == [["name", "id"], ["(unknown)", "0"]]
    assert record(tmp_path, "payment").counts == ()
    company = record(tmp_path, "company")
    assert (len(company.points), company.total) == (2_000, 6_000)
    assert len(projected.words("projector", "company")) == 1 + embeddings.IDS


def test_of_a_large_table_the_commonest_ids_are_taken(
    taxi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "IDS", 5)
    given = rows()
    given["company"] = np.array(["Rare"] + [f"Cab {i % 5}" for i in range(299)], dtype=object)
    ids = transform(SPEC, given).ids["company"]
    monkeypatch.setattr(embeddings, "POINTS", 4)
    export(taxi, tmp_path, samples=split(given))
    words = Projector(tmp_path / "logs").words("projector", "company")[1:]
    assert sorted(int(w[1]) for w in words) == sorted(set(ids[1:].tolist()))  # the sixth occurs once
    found = record(tmp_path, "company")
    assert len(found.points) == 4
    assert not any(label.startswith("Rare") for label in found.labels)


def test_what_was_there_before_is_replaced(taxi: Any, digits: Any, tmp_path: Path) -> None:
    first = export(taxi, tmp_path, codes="hidden", samples=split(rows()))
    assert sorted(first) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    second = export(digits, tmp_path, codes="code", samples=split({"image": images()}))
    assert sorted(second) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert {p.stem for p in second if p.suffix == ".json"} == {"code"}
    assert export(digits, tmp_path) == []
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_equal_models_leave_equal_files(taxi: Any, tmp_path: Path) -> None:
    both = [export(taxi, tmp_path / name, codes="hidden", samples=split(rows())) for name in "ab"]
    for a, b in zip(*both, strict=True):
        assert a.name == b.name
        assert a.read_bytes() == b.read_bytes()


def test_a_layer_named_like_a_column_has_files_of_its_own(tmp_path: Path) -> None:
    import tf_keras

    from toolkit.features.layer import feature_layer, keras_inputs

    words = Vocabulary(name="code", input="word", vocabulary=("a", "b"), embedding=2)
    spec = FeatureSpec(label="y", columns=(words,))
    inputs = keras_inputs(spec)
    out = tf_keras.layers.Dense(3, name="code")(feature_layer(spec, wide_units=0)(inputs)["deep"])
    given = split({"word": np.array(["a", "b", "c"], dtype=object)})
    files = export(tf_keras.Model(inputs, out), tmp_path, codes="code", samples=given)
    assert {p.name for p in files if p.suffix == ".json"} == {"code.json", "code_codes.json"}
    (info, other) = json.loads(Projector(tmp_path / "logs").get("/info", run="projector"))["embeddings"]
    assert (info["tensorShape"], other["tensorShape"]) == ([3, 2], [3, 3])


def test_the_report_shows_what_was_exported(taxi: Any, tmp_path: Path) -> None:
    from toolkit.report import document, html

    run = Run(tmp_path)
    write_json(run.path("warnings.json"), {"warnings": []})
    export(taxi, tmp_path, codes="hidden", samples=split(rows(), np.arange(300) % 2), classes=["few", "many"])
    told = document.collect(run)["embeddings"]
    assert [(e["name"], e["kind"], e["n"]) for e in told[:2]] == [("hidden", "codes", 300), ("cell", "column", 20)]
    page = html.write(run).read_text(encoding="utf-8")
    for words in ("Codes at layer hidden", "Column pickup-latitude", "≥ 40.8", "Dispute", "few", "many"):
        assert words in page


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"codes": "coed"}, UsageError, r"unknown layer 'coed'; did you mean code"),
        ({"codes": "grid"}, UsageError, r"layer 'grid': puts out \[None, 2, 3\]; name one"),
        ({"codes": "code", "samples": None}, UsageError, "layer 'code': there are no samples"),
        ({"codes": "code", "samples": split({"image": images(0)})}, UsageError, "there are no samples"),
        ({"codes": "code", "samples": split({"picture": images(3)})}, BrokenInput, "input 'image' is missing"),
        ({"codes": "nan"}, CheckFailed, "layer 'nan': its vectors hold NaN"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    digits: Any, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        export(digits, tmp_path, **{"samples": split({"image": images(3)}), **options})
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
