"""Bars on a terminal, plain lines elsewhere, native chatter in a log."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from toolkit.progress import Progress, native_output_to


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_when_not_a_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    with progress.task("train", total=2) as task:
        task.advance(note="loss 1")
        task.advance(note="loss 0.5")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train ..."
    assert lines[1].startswith("train: done in ")
    assert lines[1].endswith(", loss 0.5")
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(("total", "shown"), [(2, "2/2"), (None, "done")])
def test_a_bar_on_a_terminal(total: int | None, shown: str) -> None:
    stream = Terminal()
    with Progress(stream=stream).task("train", total=total) as task:
        task.advance(note="loss 1")
        task.advance()
    assert "train" in stream.getvalue()
    assert shown in stream.getvalue()
    assert "loss 1" in stream.getvalue()


def test_quiet_says_nothing_but_warnings_once() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream, quiet=True)
    with progress.task("train") as task:
        task.advance()
    progress.say("hello")
    progress.warn("careful")
    progress.warn("careful")
    assert stream.getvalue() == "warning: careful\n"
    assert progress.warnings == ["careful"]


def test_native_output_goes_to_the_log_and_progress_to_the_user(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "native.log"
    with native_output_to(log):
        os.write(2, b"native chatter\n")
        Progress().say("for the user")
        with native_output_to(tmp_path / "other.log"):
            os.write(2, b"inner\n")
    os.write(2, b"after\n")
    assert log.read_text() == "native chatter\ninner\n"
    assert capfd.readouterr().err == "for the user\nafter\n"


def test_stderr_is_back_after_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        with native_output_to(tmp_path / "native.log"):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        fails()
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"
