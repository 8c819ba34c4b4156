"""Every bad input ends in one line with the right exit code, and leaves nothing under a final name."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done, start, started_by, write_idx, write_mnist

import devices.runners
from toolkit.store import Run

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
GARBAGE = {"empty": b"", "png": PNG, "bytes": bytes(range(256)) * 8, "truncated": b"PK\x03\x04" + bytes(40)}


def results(root: Path) -> list[str]:
    """Files under their final names that a run leaves when it went well."""
    wanted = (
        "*.tflite",
        "bundle.json",
        "report.html",
        "measurements/*/*.json",
        "comparisons/*/*.json",
        "stages/*.json",
    )
    return [str(p) for pattern in wanted for p in root.rglob(pattern)]


IMAGES, LABELS = np.zeros((20, 28, 28), np.uint8), np.arange(20) % 10
IMAGES[:, 0, 0] = np.arange(20)


def nothing(folder: Path) -> None:
    folder.mkdir()


def no_digits(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("no digits here")


def truncated_idx(folder: Path) -> None:
    path = write_mnist(folder, 40, 20) / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])


def swapped_idx(folder: Path) -> None:
    write_mnist(folder, 40, 20)
    (folder / "train-labels-idx1-ubyte").replace(folder / "x")
    (folder / "train-images-idx3-ubyte").replace(folder / "train-labels-idx1-ubyte")
    (folder / "x").replace(folder / "train-images-idx3-ubyte")


def unequal_idx(folder: Path) -> None:
    write_mnist(folder, 40, 20)
    write_idx(folder / "train-labels-idx1-ubyte", LABELS)


def npz(folder: Path, **changed: Any) -> None:
    folder.mkdir()
    good = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES + 100, "y_test": LABELS}
    np.savez(folder / "mnist.npz", **{**good, **changed})


NAN = np.where(np.arange(784).reshape(28, 28) == 5, np.nan, IMAGES.astype(np.float32))
FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty folder": (nothing, "mnist.npz"),
    "no digits": (no_digits, "mnist.npz"),
    "truncated idx": (truncated_idx, "truncated"),
    "images and labels swapped": (swapped_idx, "idx"),
    "unequal counts": (unequal_idx, "20"),
    "npz of wrong shape": (lambda f: npz(f, x_train=np.zeros((20, 27, 28), np.uint8)), "27"),
    "npz without labels": (lambda f: npz(f, y_train=np.zeros((0,), np.int64)), "y_train"),
    "labels outside 0-9": (lambda f: npz(f, y_train=LABELS + 3), "label 10"),
    "negative labels": (lambda f: npz(f, y_test=LABELS - 1), "label -1"),
    "NaN pixels": (lambda f: npz(f, x_train=NAN), "NaN"),
    "npz that is none": (lambda f: (f.mkdir(), (f / "mnist.npz").write_bytes(PNG))[0], "mnist.npz"),
    "Python objects": (lambda f: npz(f, x_train=np.array([{}] * 20)), "mnist.npz"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_digits_that_cannot_be_used(edge_export: Callable[..., Done], tmp_path: Path, kind: str) -> None:
    make, said = FOLDERS[kind]
    make(tmp_path / "data")
    done = edge_export("export", "mnist", "--data-dir", tmp_path / "data", "--run-dir", tmp_path / "run")
    assert done.code == 5, done.err
    assert "data" in done.error
    assert said in done.error
    assert done.out == ""
    assert not (tmp_path / "run").exists()


def test_a_data_folder_that_is_not_there(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    done = edge_export("train", "mnist", "--data-dir", tmp_path / "none", "--run-dir", tmp_path / "run")
    assert done.code in (2, 5)
    assert str(tmp_path / "none") in done.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", GARBAGE)
@pytest.mark.parametrize(
    "words",
    [
        ("convert", "bad.keras", "--recipe", "float32"),
        ("convert", "bad.h5", "--recipe", "float32", "--json"),
        ("inspect", "bad.tflite"),
        ("inspect", "bad.tflite", "--json"),
        ("bench", "bad.tflite"),
        ("bench", "good.tflite", "bad.tflite", "--json"),
        ("validate", "bad.tflite", "--against", "good.tflite", "--data", "x.npz"),
        ("validate", "good.tflite", "--against", "bad.keras", "--data", "x.npz"),
        ("recipes", "list", "--model", "bad.keras"),
    ],
    ids=" ".join,
)
def test_garbage_in_place_of_a_model(
    edge_export: Callable[..., Done], tmp_path: Path, words: tuple[str, ...], content: str
) -> None:
    bad = next(word for word in words if word.startswith("bad."))
    (tmp_path / bad).write_bytes(GARBAGE[content])
    (tmp_path / "good.tflite").write_bytes(PROBE.read_bytes())
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 4), np.float32))
    done = edge_export(*words)
    assert done.code == 5, done.err
    assert bad in done.error
    assert done.out == ""
    assert results(tmp_path / "runs") == []


@pytest.mark.parametrize("size", [200, 400])
@pytest.mark.parametrize("command", ["inspect", "bench"])
def test_a_truncated_tflite(edge_export: Callable[..., Done], tmp_path: Path, command: str, size: int) -> None:
    (tmp_path / "cut.tflite").write_bytes(PROBE.read_bytes()[:size])
    done = edge_export(command, "cut.tflite")
    assert done.code == 5
    assert "cut.tflite" in done.error
    assert "truncated" in done.error


@pytest.mark.parametrize(
    ("arrays", "code", "said"),
    [
        ({"y": np.zeros((4, 4), np.float32)}, 5, "'x'"),
        ({"x": np.zeros((4, 5), np.float32)}, 5, "[4, 5]"),
        ({"x": np.full((4, 4), np.nan, np.float32)}, 5, "NaN"),
        ({"x": np.zeros((0, 4), np.float32)}, 5, "no rows"),
        ({"x": np.zeros((4, 4), np.int32)}, 5, "int32"),
        ({"x": np.zeros((4, 4), np.float32), "label": np.zeros(3, int)}, 5, "rows"),
        ({"x": np.zeros((4, 4), np.float32), "label": np.arange(4) + 9}, 5, "classes"),
    ],
)
def test_samples_that_do_not_fit_the_model(
    edge_export: Callable[..., Done], tmp_path: Path, arrays: dict[str, np.ndarray], code: int, said: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    done = edge_export("validate", PROBE, "--against", PROBE, "--data", "x.npz")
    assert done.code == code, done.err
    assert said in done.error
    assert results(tmp_path / "runs") == []


@pytest.mark.slow
@pytest.mark.parametrize("key", ["lambda-k2", "nested_lambda-k3", "lambda-k2-h5"])
def test_a_lambda_layer(
    edge_export: Callable[..., Done], keras_files: dict[str, Any], tmp_path: Path, key: str
) -> None:
    words = ("convert", keras_files[key].path, "--recipe", "float32", "--run-dir", tmp_path / "run")
    refused = edge_export(*words)
    assert refused.code == 5
    assert "Lambda" in refused.error
    assert "--unsafe" in refused.error
    assert not (tmp_path / "run").exists()
    trusted = edge_export(*words, "--unsafe")
    assert trusted.code == 0, trusted.err
    assert (tmp_path / "run/artifacts/float32.tflite").exists()


@pytest.mark.slow
@pytest.mark.parametrize("key", ["single-k2", "single-k3"])
def test_a_keras_file_whose_weights_are_damaged(
    edge_export: Callable[..., Done], keras_files: dict[str, Any], tmp_path: Path, key: str
) -> None:
    with zipfile.ZipFile(keras_files[key].path) as old, zipfile.ZipFile(tmp_path / "bad.keras", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if name.endswith(".h5") else content)
    done = edge_export("convert", "bad.keras", "--recipe", "float32")
    assert done.code == 5, done.err
    assert "bad.keras" in done.error or "model.keras" in done.error
    assert results(tmp_path / "runs") == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "garbage", "no variables", "one variable short"])
def test_a_damaged_saved_model(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any], tmp_path: Path, damage: str
) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(tiny_models["dense"].saved_model, model)
    graph, weights = model / "saved_model.pb", next((model / "variables").glob("*.data*"))
    if damage == "truncated":
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    elif damage == "garbage":
        graph.write_bytes(PNG)
    elif damage == "no variables":
        shutil.rmtree(model / "variables")
    else:
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    np.savez(tmp_path / "x.npz", image=np.zeros((4, 28, 28), np.float32))
    for words in (
        ("convert", "model", "--recipe", "float32"),
        ("validate", tiny_models["dense"].float32, "--against", "model", "--data", "x.npz"),
    ):
        done = edge_export(*words)
        assert done.code == 5, done.err
        assert "model" in done.error
        assert results(tmp_path / "runs") == []


@pytest.mark.slow
def test_a_model_that_needs_flex(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def serve(x: Any) -> dict[str, Any]:
        return {"y": tf.math.erf(x)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), signatures={"serving_default": serve})
    done = edge_export("convert", "model", "--recipe", "float32", "--run-dir", "run")
    assert done.code == 5, done.err
    assert "Erf" in done.error
    assert not list((tmp_path / "run").rglob("*.tflite"))


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own at ``folder``; skips where this user may mount nothing."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_run_directory(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro"):
        done = edge_export("bench", PROBE, "--run-dir", tmp_path / "disk" / "run")
        assert done.code == 3
        assert "Read-only" in done.error
        assert "--run-dir" in done.error


@pytest.mark.parametrize("where", ["/proc/nowhere/run", "/sys/run"])
def test_a_run_directory_that_nobody_can_make(edge_export: Callable[..., Done], where: str) -> None:
    done = edge_export("bench", PROBE, "--run-dir", where)
    assert done.code == 3
    assert "cannot write" in done.error
    assert where.split("/")[1] in done.error


def test_a_run_directory_that_is_a_file(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    done = edge_export("bench", PROBE, "--run-dir", "run")
    assert done.code == 3
    assert done.error
    assert (tmp_path / "run").read_text() == "mine"


def test_a_run_directory_of_someone_else(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"kind": "a marathon"}')
    done = edge_export("bench", PROBE, "--run-dir", "run")
    assert done.code == 5
    assert "not a run directory" in done.error


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended early with {process.returncode}"
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def ended(process: subprocess.Popen[bytes], errors: Path, seconds: float = 60) -> Done:
    code = process.wait(seconds)
    return Done(code, errors.with_suffix(".out").read_text(), errors.read_text())


@pytest.mark.slow
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    data, errors, mark = write_mnist(tmp_path / "data", 200, 100), tmp_path / "err", uuid.uuid4().hex
    words = ("train", "mnist", "--data-dir", data, "--model", "linear", "--epochs", "1", "--run-dir", tmp_path / "run")

    def small_files() -> None:  # less than the model needs; EFBIG stands for ENOSPC, no root needed
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = ended(start(*words, stderr=errors, mark=mark, preexec=small_files), errors, 120)
    assert done.code == 3, done.err
    assert "the disk is full" in done.error
    assert "run the same command again" in done.error
    assert results(tmp_path / "run") == []
    assert not list((tmp_path / "run").rglob(".tmp-*"))
    again = ended(start(*words, stderr=errors, mark=mark), errors, 120)
    assert again.code == 0, again.err
    assert (tmp_path / "run/bundle/bundle.json").exists()


def test_a_full_disk_under_a_measurement(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k"):
        (tmp_path / "disk" / "ballast").write_bytes(bytes(60_000 // 4096 * 4096))
        done = edge_export("bench", PROBE, "--run-dir", tmp_path / "disk" / "run")
        assert done.code == 3, done.err
        assert "the disk is full" in done.error
        assert results(tmp_path / "disk") == []


def interrupted(process: subprocess.Popen[bytes], errors: Path, mark: str) -> Done:
    os.killpg(process.pid, signal.SIGINT)
    done = ended(process, errors, 30)
    assert done.code == 130, done.err
    assert "interrupted; run the same command again" in done.error
    deadline = time.monotonic() + 5
    while started_by(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started_by(mark) == [], "a runner was left behind"
    return done


@pytest.mark.slow
def test_ctrl_c_while_training_and_go_on(tmp_path: Path) -> None:
    data, errors, mark = write_mnist(tmp_path / "data", 200, 100), tmp_path / "err", uuid.uuid4().hex
    run = tmp_path / "run"
    words = ["train", "mnist", "--data-dir", data, "--model", "linear", "--run-dir", run, "--epochs"]
    process = start(*words, "3000", stderr=errors, mark=mark)
    wait_for(lambda: bool(list(run.rglob("events.out.*"))), process)
    interrupted(process, errors, mark)
    assert results(run) == []
    process = start(*words, "2", stderr=errors, mark=mark)  # nothing of the interrupted one is in the way
    assert ended(process, errors, 120).code == 0
    assert Run(run).path("bundle", "bundle.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "importing TensorFlow"])
def test_ctrl_c_at_an_early_moment(tmp_path: Path, moment: str) -> None:
    data, errors, mark = write_mnist(tmp_path / "data", 200, 100), tmp_path / "err", uuid.uuid4().hex
    words = ["train", "mnist", "--data-dir", data, "--model", "linear", "--run-dir", tmp_path / "run"]
    process = start(*words, stderr=errors, mark=mark)
    if moment == "at once":
        wait_for(lambda: "data: mnist" in errors.read_text(), process)
    else:
        maps = Path(f"/proc/{process.pid}/maps")
        wait_for(lambda: "libtensorflow" in maps.read_text(), process)
    interrupted(process, errors, mark)


@pytest.mark.slow
def test_ctrl_c_while_measuring(tmp_path: Path) -> None:
    errors, mark, run = tmp_path / "err", uuid.uuid4().hex, tmp_path / "run"
    process = start("bench", PROBE, "--full", "--run-dir", run, stderr=errors, mark=mark)
    wait_for(lambda: len(started_by(mark)) > 1, process)
    interrupted(process, errors, mark)
    assert results(run) == []
    again = start("bench", PROBE, "--quick", "--run-dir", run, stderr=errors, mark=mark)
    assert ended(again, errors, 120).code == 0
    assert list(run.glob("measurements/cpu/*.json"))
