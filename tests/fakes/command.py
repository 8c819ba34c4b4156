"""The command as a user calls it: in this process, or in one of its own with a made-up MNIST."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

MARK = "EDGE_EXPORT_TEST_MARK"
"""Environment variable by which a test finds every process that its command started."""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that an error is: last on stderr, and no traceback before it."""
        lines = self.err.strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, self.err
        assert lines[-1] == errors[0], self.err
        assert "Traceback" not in self.err
        return errors[0]


def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: object) -> Done:
    """Runs the command in this process: TensorFlow, if needed, is imported once for all tests."""
    from toolkit import cli

    monkeypatch.setattr(sys, "argv", ["edge-export", *map(str, words)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr()
    assert isinstance(ended.value.code, int)
    return Done(ended.value.code, said.out, said.err)


def start(*words: object, stderr: Path, mark: str, preexec: object = None) -> subprocess.Popen[bytes]:
    """Starts the command as the leader of a process group of its own."""
    with open(stderr, "wb") as errors, open(stderr.with_suffix(".out"), "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", "from toolkit.cli import main; main()", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, MARK: mark},
            preexec_fn=preexec,  # type: ignore[arg-type]
        )


def started_by(mark: str) -> list[int]:
    """Every living process that carries ``mark``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                wanted = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
                zombie = "\nState:\tZ" in (folder / "status").read_text()
            except OSError:
                continue
            if wanted and not zombie:
                found.append(int(folder.name))
    return found


def write_idx(path: Path, array: np.ndarray) -> None:
    """An idx file of unsigned bytes."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def write_mnist(folder: Path, train: int = 600, test: int = 200) -> Path:
    """The four files of an MNIST whose classes a small network tells apart."""
    rng = np.random.default_rng(7)
    prototypes = rng.random((10, 28, 28))
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        labels = np.arange(count) % 10
        images = (0.6 * prototypes[labels] + 0.4 * rng.random((count, 28, 28))) * 255
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels)
    return folder
