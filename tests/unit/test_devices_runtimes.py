"""Isolated runtime environments: what counts as one, what is redone, what cannot be had."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from devices import runtimes
from toolkit.errors import MissingError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path))
    return tmp_path


def _environment(cache: Path, *, complete: bool) -> Path:
    folder = cache / "runtimes" / "tflite-runtime-2.14.0-py3.11"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    if complete:
        (folder / "complete.json").write_text("{}")
    return folder / "bin" / "python"


def _pythons(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """A PATH with these pythons on it, and an own Python that is too new."""
    folder.mkdir()
    for name, script in scripts.items():
        path = folder / name.replace("_", ".")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))


def test_only_a_complete_environment_counts(cache: Path) -> None:
    python = _environment(cache, complete=False)
    assert runtimes.locate(*runtimes.OLDEST) is None
    (python.parent.parent / "complete.json").write_text("{}")
    assert runtimes.locate(*runtimes.OLDEST) == python
    assert runtimes.locate("tflite-runtime", "2.13.0") is None
    assert "tflite-runtime==2.14.0" in runtimes.available()
    assert runtimes.python_of("tflite-runtime", None) == python


def test_our_own_runtime_comes_first() -> None:
    own = runtimes.installed("ai-edge-litert")
    assert own is not None
    assert runtimes.available() == [f"ai-edge-litert=={own}"]
    assert runtimes.python_of("ai-edge-litert", own) == Path(sys.executable)
    assert runtimes.installed("no-such-package") is None


def test_an_absent_runtime_names_the_remedy() -> None:
    with pytest.raises(MissingError, match=r"tflite-runtime==2\.14\.0: is not here; run scripts/bootstrap"):
        runtimes.python_of("tflite-runtime", None)


def test_a_name_on_the_path_that_does_not_start_is_no_python(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pythons(cache / "bin", monkeypatch, python3_11="echo 'command not found' >&2; exit 127", python3_10="echo 3 10")
    assert runtimes._interpreter("tflite-runtime") == cache / "bin" / "python3.10"
    assert runtimes.why_not() is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no wheels at all")
def test_without_an_old_python_it_cannot_be_had(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "exit 127"
    _pythons(cache / "bin", monkeypatch, python3_11=broken, python3_10=broken, python3_9="echo 3 8")
    why = runtimes.why_not()
    assert why is not None
    assert "needs a Python of 3.11, 3.10, 3.9" in why
    with pytest.raises(MissingError, match="needs a Python of"):
        runtimes.create()
    with pytest.raises(MissingError, match="use ai-edge-litert instead"):
        runtimes.python_of("tflite-runtime", None)


def test_other_systems_have_no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Darwin", *tuple(real)[1:])))
    assert runtimes.why_not() == "tflite-runtime has no wheels for Darwin"


def test_creation_redoes_what_was_killed_and_keeps_what_is_complete(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A Python and a pip that only leave traces: what is tested is what create() makes of them.
    fake = 'if [ "$1" = -c ]; then echo 3 11; else mkdir -p "$4/bin" && touch "$4/bin/python"; fi'
    _pythons(cache / "bin", monkeypatch, python3_11=fake)
    pip = cache / "pip"
    pip.write_text(f'#!/bin/sh\necho "$@" >> {cache}/pip.log\n')
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    killed = _environment(cache, complete=False).parent / "half-written"
    killed.write_text("")
    python = runtimes.create()
    assert not killed.exists()
    assert runtimes.locate(*runtimes.OLDEST) == python
    log = (cache / "pip.log").read_text()
    assert "install" in log
    assert "tflite-runtime==2.14.0 numpy==1.26.4" in log
    assert runtimes.create() == python
    assert (cache / "pip.log").read_text() == log


def test_a_failing_pip_is_one_line_and_leaves_nothing_complete(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = 'if [ "$1" = -c ]; then echo 3 11; else mkdir -p "$4/bin" && touch "$4/bin/python"; fi'
    _pythons(cache / "bin", monkeypatch, python3_11=fake)
    pip = cache / "pip"
    pip.write_text("#!/bin/sh\necho 'ERROR: no matching distribution' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(MissingError, match="no matching distribution"):
        runtimes.create()
    assert runtimes.locate(*runtimes.OLDEST) is None


def test_probing_runs_an_inference() -> None:
    found = runtimes.probe("ai-edge-litert")
    assert found == {
        "runtime": "ai-edge-litert",
        "version": runtimes.installed("ai-edge-litert"),
        "works": True,
        "why": None,
    }


def test_a_python_without_the_runtime_does_not_pass_the_probe(cache: Path) -> None:
    # It is there and complete by its files, and this Python has no tflite_runtime to import.
    _environment(cache, complete=True)
    found = runtimes.probe("tflite-runtime")
    assert found["works"] is False
    assert "tflite_runtime" in found["why"]
