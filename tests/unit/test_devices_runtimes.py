"""Isolated runtime environments: what counts as one, what is redone, what cannot be had."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from devices import runtimes
from toolkit.errors import MissingError, UsageError


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


def test_only_a_complete_environment_counts(cache: Path) -> None:
    python = _environment(cache, complete=False)
    assert runtimes.locate(*runtimes.OLDEST) is None
    (python.parent.parent / "complete.json").write_text("{}")
    assert runtimes.locate(*runtimes.OLDEST) == python
    assert runtimes.locate("tflite-runtime", "2.13.0") is None
    assert "tflite-runtime==2.14.0" in runtimes.available()
    assert runtimes.python_of("tflite-runtime", None) == python


def test_a_runtime_is_found_however_its_version_is_written(cache: Path) -> None:
    python = _environment(cache, complete=True)
    assert runtimes.locate("tflite-runtime", "2.14") == python
    assert runtimes.exact("tflite-runtime", "2.14") == "tflite-runtime==2.14.0"
    assert runtimes.exact("tflite-runtime", "2.14.1") is None
    own = runtimes.installed("ai-edge-litert")
    assert runtimes.exact("ai-edge-litert", f"{own}.0") == f"ai-edge-litert=={own}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tflite-runtime", "'tflite-runtime' names no version; write NAME==VERSION, e.g. tflite-runtime==2.14.0"),
        ("tflite-runtime==", "names no version"),
        ("tflite-runtime==latest", "'latest' is no version"),
        ("tflite-runtime==https://example.org/x.whl", "is no version"),
        ("tflite-runtime==2.14.0 --index-url x", "is no version"),
        ("tflite-runtime>=2", "unknown runtime 'tflite-runtime>=2'; did you mean tflite-runtime?"),
        ("tflite==2.14.0", "did you mean tflite-runtime?"),
        ("", "unknown runtime ''"),
    ],
)
def test_what_names_no_runtime(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        runtimes.parse(text)
    assert said in str(caught.value)


RELEASES = strategies.lists(strategies.integers(0, 99), min_size=1, max_size=4)


@hypothesis.given(RELEASES, RELEASES)
def test_versions_are_ordered_by_their_numbers(left: list[int], right: list[int]) -> None:
    def written(numbers: list[int]) -> str:
        return ".".join(map(str, numbers))

    width = max(len(left), len(right))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (left, right)]
    assert (runtimes.order(written(left)) < runtimes.order(written(right))) == (padded[0] < padded[1])
    assert runtimes.order(written(left)) == runtimes.order(written([*left, 0]))
    assert runtimes.order(written(left) + "rc1") < runtimes.order(written(left))
    assert runtimes.parse(f"ai-edge-litert=={written(left)}rc1") == ("ai-edge-litert", f"{written(left)}rc1")


def test_our_own_runtime_comes_first() -> None:
    own = runtimes.installed("ai-edge-litert")
    assert own is not None
    assert runtimes.available() == [f"ai-edge-litert=={own}"]
    assert runtimes.python_of("ai-edge-litert", own) == Path(sys.executable)
    assert runtimes.installed("no-such-package") is None


def test_an_absent_runtime_names_the_remedy() -> None:
    with pytest.raises(MissingError, match=r"tflite-runtime==2\.14\.0: is not here; run scripts/bootstrap"):
        runtimes.python_of("tflite-runtime", None)
    makes = r"is not here; edge-export doctor --fix --runtime ai-edge-litert==1\.4\.0 makes it"
    with pytest.raises(MissingError, match=makes):
        runtimes.python_of("ai-edge-litert", "1.4.0")


def test_other_systems_have_no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Darwin", *tuple(real)[1:])))
    assert runtimes.why_not() == "tflite-runtime has no wheels for Darwin"


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
