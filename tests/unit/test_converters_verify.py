"""``verify``: one changed byte anywhere is found and named; files that do not belong together are too."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from converters import verify
from toolkit import manifest
from toolkit.errors import UsageError
from toolkit.store import Run, read_json, sha256_file, write_bytes, write_json

pytestmark = pytest.mark.slow


@pytest.fixture
def run(converted: Any, tmp_path: Path) -> Path:
    """A copy of a run with one model and every recipe."""
    shutil.copytree(converted.job.run.root, tmp_path / "run")
    return tmp_path / "run"


def found(run: Path) -> dict[str, str]:
    return {wrong.path: wrong.what for wrong in verify.verify(run).mismatches}


def files(run: Path) -> list[str]:
    every = (p.relative_to(run).as_posix() for p in sorted(run.rglob("*")) if p.is_file())
    return [name for name in every if name.split("/")[0] not in ("logs", ".lock")]


def test_an_untouched_run_is_what_it_was(run: Path, converted: Any) -> None:
    whole = verify.verify(run)
    assert whole.mismatches == ()
    assert whole.files == len(files(run)) - 1  # the manifest
    lineage = whole.lineage
    assert lineage["weights"]["sha256"] == sha256_file(run / "bundle" / "model.keras")
    assert {a["recipe"] for a in lineage["artifacts"]} == set(converted.artifacts)
    assert all(a["parent_sha256"] == lineage["weights"]["sha256"] for a in lineage["artifacts"])
    parents = {a["recipe"]: a["saved_model"]["path"] for a in lineage["artifacts"]}
    assert parents["int8"] == lineage["weights"]["saved_model"]
    assert parents["pqat_int8"] == "parents/prune-80+qat-zeros/saved_model"


def test_one_byte_changed_anywhere_is_found_and_named(run: Path) -> None:
    chance = random.Random(3)
    for name in files(run):
        path = run / name
        whole = path.read_bytes()
        at = chance.randrange(len(whole)) if whole else 0
        path.write_bytes(
            whole[:at] + bytes([(whole[at] if whole else 0) ^ (1 << chance.randrange(8))]) + whole[at + 1 :]
        )
        named = found(run)
        # Of a folder that was digested as one, such as a SavedModel, the folder is named.
        assert any(name == other or name.startswith(f"{other}/") for other in named), (name, at, named)
        path.write_bytes(whole)
    assert found(run) == {}


def test_missing_and_added_files_are_named(run: Path) -> None:
    (run / "artifacts" / "int8.tflite").unlink()
    (run / "artifacts" / "smuggled.tflite").write_bytes(b"x")
    named = found(run)
    assert named["artifacts/int8.tflite"] == "is missing"
    assert named["artifacts/smuggled.tflite"] == "is in no stage's record"
    assert set(named) == {"artifacts/int8.tflite", "artifacts/smuggled.tflite"}


def test_a_file_swapped_together_with_all_its_digests_still_breaks_the_lineage(run: Path) -> None:
    opened = Run(run)
    shutil.copyfile(run / "artifacts" / "float32.tflite", run / "artifacts" / "int8.tflite")
    record = read_json(run / "artifacts" / "int8.json")
    record["sha256"] = sha256_file(run / "artifacts" / "int8.tflite")
    record["parent_sha256"] = "0" * 64
    write_json(run / "artifacts" / "int8.json", record)
    key = read_json(run / "stages" / "convert-int8.json")["key"]
    opened.finish("convert-int8", key, [run / "artifacts" / "int8.tflite", run / "artifacts" / "int8.json"])
    assert manifest.mismatches(run) == []
    named = found(run)
    assert "was made from another model" in named["artifacts/int8.json"]
    assert "is not what its label says" in named["artifacts/int8.tflite"]


def test_a_manifest_that_was_tampered_with_says_so(run: Path) -> None:
    content = json.loads((run / "manifest.json").read_bytes())
    content["files"]["run.json"] = "0" * 64
    write_bytes(run / "manifest.json", (json.dumps(content, indent=1) + "\n").encode())
    assert "its own digest differs" in found(run)["manifest.json"]


def test_a_stage_done_again_replaces_its_entry(run: Path) -> None:
    opened = Run(run)
    (run / "extra.txt").write_text("one")
    opened.finish("extra", "a", [run / "extra.txt"])
    assert found(run) == {}
    (run / "extra.txt").write_text("two")
    assert set(found(run)) == {"extra.txt"}
    assert not opened.done("extra", "a")
    opened.stage("extra", "a", lambda: [run / "extra.txt"])
    assert found(run) == {}
    opened.forget("extra")
    assert found(run) == {"extra.txt": "is in no stage's record"}


def test_what_is_no_run_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run directory"):
        verify.verify(tmp_path)
    Run(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(UsageError, match="has no manifest"):
        verify.verify(tmp_path)
