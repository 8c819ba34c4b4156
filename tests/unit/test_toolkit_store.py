"""The run directory: whole files or none, and stages that know whether they are done."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from toolkit.errors import BrokenInput, MissingError, UsageError
from toolkit.store import Run, disk_errors, key_of, read_json, replacing, sha256_tree, write_bytes, write_json


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_write_is_whole_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")

    def half_way() -> None:
        with replacing(target) as beside:
            beside.write_bytes(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        half_way()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("1", "2"):
        with replacing(target) as beside:
            beside.mkdir()
            (beside / f"file{content}").write_text(content)
    assert names(target) == ["file2"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EFBIG, "disk is full"), (errno.EROFS, "cannot write")]
)
def test_disk_errors_are_one_line_with_exit_code_3(tmp_path: Path, number: int, said: str) -> None:
    with pytest.raises(MissingError, match=said) as caught, disk_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_real_full_disk(tmp_path: Path) -> None:
    """/dev/full is a disk that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(MissingError, match="disk is full"), disk_errors(tmp_path):
        Path("/dev/full").write_bytes(b"x")


def test_a_device_or_a_pipe_is_not_renamed_over_and_a_link_is_followed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "to-pipe").symlink_to(pipe)
    for path in (pipe, tmp_path / "to-pipe"):
        with pytest.raises(UsageError, match="neither a file nor a folder"), replacing(path):
            pytest.fail("nothing may be made")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    real, link = tmp_path / "real.txt", tmp_path / "to-real"
    real.write_text("old")
    link.symlink_to(real)
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_json_carries_the_schema_version_and_refuses_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"schema_version": 1, "a": 1}
    path.write_text('{"schema_version": 2}')
    with pytest.raises(BrokenInput, match="schema version 2"):
        read_json(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "nonsense"])
def test_damaged_json_is_broken_input(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(BrokenInput):
        read_json(path)


def test_tree_digest_sees_names_and_contents_but_not_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = sha256_tree(tmp_path)
    (tmp_path / "fingerprint.pb").write_text("random")
    assert sha256_tree(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert sha256_tree(tmp_path) != first


def test_key_ignores_the_order_of_a_mapping() -> None:
    assert key_of({"a": 1, "b": (2, 3)}) == key_of({"b": [2, 3], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})


class Counted:
    """A stage that writes one file and counts its runs."""

    def __init__(self, run: Run) -> None:
        self.file = run.path("out.bin")
        self.runs = 0

    def __call__(self) -> list[Path]:
        self.runs += 1
        write_bytes(self.file, b"result")
        return [self.file]


def test_a_finished_stage_is_not_redone(tmp_path: Path) -> None:
    run = Run(tmp_path)
    work = Counted(run)
    assert run.stage("s", "key", work)
    assert not run.stage("s", "key", work)
    assert work.runs == 1


@pytest.mark.parametrize("damage", ["other key", "changed file", "file gone", "record cut"])
def test_a_stage_is_redone_when_anything_is_off(tmp_path: Path, damage: str) -> None:
    run = Run(tmp_path)
    work = Counted(run)
    run.stage("s", "key", work)
    if damage == "changed file":
        work.file.write_bytes(b"resulT")
    elif damage == "file gone":
        work.file.unlink()
    elif damage == "record cut":
        record = run.path("stages", "s.json")
        record.write_text(record.read_text()[:20])
    assert run.stage("s", "other" if damage == "other key" else "key", work)
    assert work.file.read_bytes() == b"result"


def test_a_stage_that_fails_is_not_done(tmp_path: Path) -> None:
    run = Run(tmp_path)
    work = Counted(run)
    run.stage("s", "key", work)

    def fails() -> list[Path]:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run.stage("s", "new key", fails)
    assert not run.done("s", "key")


def test_opening_a_run_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    Run(tmp_path)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / ".tmp-12345678-int8.tflite").write_bytes(b"half")
    Run(tmp_path)
    assert names(tmp_path / "artifacts") == []


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"something": "else"}')
    with pytest.raises(BrokenInput, match="not a run directory"):
        Run(tmp_path)


@pytest.mark.parametrize("damage", ["", "null", "{"])
def test_a_damaged_mark_is_made_again_where_our_stages_lie(tmp_path: Path, damage: str) -> None:
    Counted(Run(tmp_path / "ours"))
    (tmp_path / "ours" / "stages").mkdir()
    for name in ("ours", "foreign"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "run.json").write_text(damage)
    Run(tmp_path / "ours")
    assert read_json(tmp_path / "ours" / "run.json")["kind"] == "edge-export run directory"
    with pytest.raises(BrokenInput, match=r"run\.json"):
        Run(tmp_path / "foreign")


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="--run-dir"):
        Run(tmp_path / "file" / "run")


def _open(path: Path, answer: multiprocessing.Queue) -> None:
    try:
        Run(path)
        answer.put("opened")
    except MissingError as error:
        answer.put(str(error))


def test_two_processes_cannot_hold_one_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    Run(tmp_path)
    other = context.Process(target=_open, args=(tmp_path, answer))
    other.start()
    said = answer.get(timeout=60)
    other.join(timeout=60)
    assert "another edge-export" in said
