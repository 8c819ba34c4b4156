"""Environments for runtimes, made by pip: which Python, what is redone, and one line where it cannot be.

Fakes stand in for programs, Python and pip, which leave traces; the last test asks the real ones.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from devices import environments, pythons, runtimes
from toolkit.errors import BrokenInput, MissingError, UsageError

REAL = sys.executable

RUNNER = """
import json, numpy, os
numpy.savez("outputs.npz", o0=numpy.array([[2.0, -1.0, 4.5, 1.0]], dtype=numpy.float32) + {wrong})
with open("result.json", "w") as stream:
    json.dump({{"status": "done", "runtime": "fake", "runtime_version": "1", "seconds": 0.1, "batch": 1,
               "not_batched": None, "delegated_ops": [0, 1], "partitions": 0,
               "outputs": [{{"name": "y", "key": "o0", "scale": 0.0, "zero_point": 0}}]}}, stream)
"""
"""What an interpreter in a new environment answers to the probe."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path))
    for manager in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.setenv(manager, str(tmp_path / "none"))
    return tmp_path


class Machine:
    """A machine with these Pythons on its PATH, whose pip offers these versions by series."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.log = folder / "pip.log"
        (folder / "bin").mkdir()
        self.offers(folder / "nothing")
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
        monkeypatch.setattr(sys, "executable", str(folder / "pip"))

    def python(self, series: str, *, starts: bool = True, wrong: int = 0) -> None:
        """A Python that makes environments whose interpreters answer the probe, ``wrong`` beside it."""
        answer = self.folder / f"answer-{series}.py"
        answer.write_text(RUNNER.format(wrong=wrong))
        makes = f'printf \'#!/bin/sh\\nexec {REAL} {answer}\\n\' > "$4/bin/python"; chmod +x "$4/bin/python"'
        lines = f'if [ "$1" = -c ]; then echo {series.replace(".", " ")}; else mkdir -p "$4/bin"; {makes}; fi'
        self._script(f"bin/python{series}", lines if starts else "echo 'command not found' >&2; exit 127")

    def offers(self, *said: Path | str, fails: str = "") -> None:
        """pip's answers: ``3.11: 2.14.0, 2.13.0`` lines for its versions, else that there are none."""
        cases = "".join(
            f"*--python-version\\ {line.split(':')[0]}*) echo 'Available versions:{line.split(':')[1]}'; exit 0 ;;\n"
            for line in map(str, said)
            if ":" in line
        )
        install = f"echo '{fails}' >&2; exit 1" if fails else "exit 0"
        self._script(
            "pip",
            f'echo "$@" >> {self.log}\ncase "$*" in\n*install*) {install} ;;\n{cases}'
            "*) echo 'ERROR: No matching distribution found for it' >&2; exit 1 ;;\nesac",
        )

    def asked(self, word: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if word in line] if self.log.exists() else []

    def _script(self, name: str, lines: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)


@pytest.fixture
def machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(cache, monkeypatch)


def test_a_name_on_the_path_that_does_not_start_is_no_python(machine: Machine) -> None:
    machine.python("3.11", starts=False)
    machine.python("3.10")
    assert pythons.of((3, 11)) is None
    assert pythons.of((3, 10)) == machine.folder / "bin" / "python3.10"
    assert runtimes.why_not() is None


def test_what_version_managers_keep_is_found(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.python("3.9")
    for variable, below in (("PYENV_ROOT", "versions/3.9.18"), ("UV_PYTHON_INSTALL_DIR", "cpython-3.9.18-linux")):
        kept = machine.folder / variable / below / "bin" / "python3.9"
        kept.parent.mkdir(parents=True)
        (machine.folder / "bin" / "python3.9").rename(kept)
        assert pythons.of((3, 9)) is None
        monkeypatch.setenv(variable, str(machine.folder / variable))
        assert pythons.of((3, 9)) == kept
        monkeypatch.setenv(variable, str(machine.folder / "none"))
        machine.python("3.9")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no wheels at all")
def test_without_an_old_python_tflite_runtime_cannot_be_had(machine: Machine) -> None:
    machine.python("3.11", starts=False)
    machine.python("3.8")
    why = runtimes.why_not()
    assert why is not None
    assert "needs a Python of 3.11, 3.10, 3.9" in why
    with pytest.raises(MissingError, match="needs a Python of"):
        environments.create()
    with pytest.raises(MissingError, match="use ai-edge-litert instead"):
        runtimes.python_of("tflite-runtime", None)
    assert machine.asked("") == [], "nobody need be asked"


def test_creation_redoes_what_was_killed_and_keeps_what_is_complete(machine: Machine) -> None:
    machine.python("3.11")
    machine.offers("3.11: 2.14.0")
    killed = runtimes.home() / "tflite-runtime-2.14.0-py3.11" / "half-written"
    killed.parent.mkdir(parents=True)
    killed.write_text("")
    python = environments.create()
    assert not killed.exists()
    assert runtimes.locate(*runtimes.OLDEST) == python
    (installed,) = machine.asked("install")
    assert installed.endswith("--only-binary=:all: tflite-runtime==2.14.0 numpy==1.26.4")
    before = machine.log.read_text()
    assert environments.create() == python
    assert environments.ready(["tflite-runtime==2.14"]) == ("tflite-runtime==2.14.0",)
    assert machine.log.read_text() == before, "what is there is not asked for again"


def test_the_newest_python_that_pip_has_a_wheel_for_is_taken(machine: Machine) -> None:
    for series in ("3.11", "3.10", "3.9"):
        machine.python(series)
    machine.offers("3.11: 2.14.0", "3.10: 2.14.0, 2.13.0", "3.9: 2.14.0, 2.13.0, 2.9.1")
    assert environments.create("tflite-runtime", "2.13").parents[1].name == "tflite-runtime-2.13.0-py3.10"
    assert environments.create("tflite-runtime", "2.9.1").parents[1].name == "tflite-runtime-2.9.1-py3.9"
    found = ["tflite-runtime==2.9.1", "tflite-runtime==2.13.0"]
    assert [text for text in runtimes.available() if "tflite" in text] == found, "by version, not by letter"
    assert environments.ready(["tflite-runtime==2.9.1", "tflite-runtime==2.9.1"]) == ("tflite-runtime==2.9.1",)


@pytest.mark.parametrize(
    ("version", "pin"), [("1.0.1", ["numpy==1.26.4"]), ("1.1.0", []), ("1.4.0", []), ("2.2.0", [])]
)
def test_native_code_for_numpy_1_gets_it(machine: Machine, version: str, pin: list[str]) -> None:
    machine.python("3.11")
    machine.offers(f"3.11: {version}")
    environments.create("ai-edge-litert", version)
    assert machine.asked("install")[0].split("--only-binary=:all: ")[1].split() == [f"ai-edge-litert=={version}", *pin]


def test_an_unknown_version_names_those_that_pip_knows(machine: Machine) -> None:
    machine.python("3.11")
    machine.offers("3.11: 2.14.0", "3.9: 2.10.0, 2.9.1")
    said = r"tflite-runtime==2\.15\.0: there is no such version; pip knows: 2\.9\.1, 2\.10\.0, 2\.14\.0$"
    with pytest.raises(UsageError, match=said):
        environments.create("tflite-runtime", "2.15.0")


def test_a_version_for_another_python_says_which(machine: Machine) -> None:
    machine.python("3.11")
    machine.offers("3.11: 2.14.0", "3.10: 2.13.0", "3.9: 2.13.0, 2.9.1")
    with pytest.raises(MissingError, match=r"2\.13\.0: needs a Python of 3\.10, 3\.9, and none of them is here"):
        environments.create("tflite-runtime", "2.13.0")
    assert not machine.asked("install")


def test_where_pip_has_no_answer_nothing_is_called_unknown(machine: Machine) -> None:
    machine.python("3.11")
    unreachable = "WARNING: Retrying after connection broken\nERROR: No matching distribution found"
    machine._script("pip", f"echo '{unreachable}' >&2; exit 1")
    with pytest.raises(MissingError, match=r"pip cannot say which versions there are .*connection broken"):
        environments.create()
    machine._script("pip", "echo 'No module named pip' >&2; exit 1")
    with pytest.raises(MissingError, match=r"pip cannot say which versions there are .*No module named pip"):
        environments.create()
    machine.offers()
    with pytest.raises(MissingError, match="pip has no wheel of tflite-runtime for this system"):
        environments.create()


def test_a_failing_pip_is_one_line_and_leaves_nothing_complete(machine: Machine) -> None:
    machine.python("3.11")
    machine.offers("3.11: 2.14.0", fails="ERROR: no space left on device")
    with pytest.raises(MissingError, match=r"could not be made .*no space left on device"):
        environments.create()
    assert runtimes.locate(*runtimes.OLDEST) is None


def test_what_is_installed_and_does_not_run_does_not_stay(machine: Machine) -> None:
    machine.python("3.11", wrong=1)
    machine.offers("3.11: 2.14.0")
    with pytest.raises(MissingError, match=r"is installed and does not run here \(x \+ 1 came out as") as caught:
        environments.create()
    assert isinstance(caught.value.__cause__, BrokenInput)
    assert runtimes.locate(*runtimes.OLDEST) is None
    assert not list(runtimes.home().glob("tflite*"))


def test_all_names_are_read_before_anything_is_made(machine: Machine) -> None:
    machine.python("3.11")
    machine.offers("3.11: 2.14.0")
    with pytest.raises(UsageError, match="did you mean tflite-runtime"):
        environments.ready(["tflite-runtime==2.14.0", "tflit-runtime==2.9.1"])
    assert machine.asked("") == []


@pytest.mark.slow
def test_a_real_environment_is_made_and_runs(cache: Path) -> None:
    try:
        (text,) = environments.ready(["ai-edge-litert==1.2"])
    except MissingError as error:
        pytest.skip(str(error))
    assert text == "ai-edge-litert==1.2.0"
    assert os.fspath(runtimes.python_of("ai-edge-litert", "1.2.0")).startswith(str(cache))
    assert runtimes.probe("ai-edge-litert", "1.2.0") == {
        "runtime": "ai-edge-litert", "version": "1.2.0", "works": True, "why": None,
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"there is no such version; pip knows: .*1\.2\.0.*2\.3\.0"):
        environments.ready(["ai-edge-litert==0.9"])
