"""``edge-export ios``: there and back, and every mistake in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import phone
from fakes.command import Done

import devices.runners
from toolkit.store import sha256_file

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"


def back(folder: Path, **changed: Any) -> Path:
    """What run.sh leaves in a bundle, from the phone's stand-in."""
    manifest = json.loads((folder / "manifest.json").read_text())
    documents = folder.parent / "Documents"
    for part in ("plans", "models", "inputs"):
        shutil.copytree(folder / part, documents / part)
    for job in manifest["jobs"]:
        phone.run_job(documents, job["id"], **changed)
    shutil.copytree(documents / "plans", folder / "results" / "plans")
    shutil.copyfile(folder / "manifest.json", folder / "results" / "manifest.json")
    (folder / "results" / "udid.txt").write_text(phone.UDID)
    return folder / "results"


def document(done: Done) -> dict[str, Any]:
    assert done.out.startswith("{"), done.err
    return json.loads(done.out)


def test_there_and_back(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    shutil.copyfile(PROBE, tmp_path / "a b.tflite")
    made = edge_export(
        "ios", "bundle", "a b.tflite", PROBE, "--out", "phone", "--delegate", "cpu", "--delegate", "coreml"
    )
    assert made.code == 0, made.err
    assert made.out == "phone: 2 models, 12 jobs; on a Mac: see phone/README.md\n"
    back(tmp_path / "phone")
    done = edge_export("ios", "import", "phone", "--run-dir", "run", "--json")
    assert done.code == 0, done.err
    found = document(done)
    assert found["summary"]["passed"] is True
    rows = {(m["recipe"], m["target"]): m for m in found["measurements"]}
    assert set(rows) == {(n, f"ios:{phone.UDID}{d}") for n in ("a b", "probe") for d in ("", "/coreml")}
    row = rows["probe", f"ios:{phone.UDID}/coreml"]
    assert (row["verdict"], row["samples"], row["processes"]) == ("valid", 200, 2)
    assert row["median_us"] == pytest.approx(2000, rel=0.01)
    kept = json.loads((tmp_path / "run" / "measurements" / f"ios_{phone.UDID}_coreml" / "probe.json").read_text())
    assert kept["artifact_sha256"] == sha256_file(PROBE)
    assert kept["provenance"]["fidelity"]["kernels"]["passed"] is True
    assert (tmp_path / "run" / "report.html").exists()
    lacks = [line for line in edge_export("verify", "run").out.splitlines() if "bundle/bundle.json" not in line]
    assert lacks == [], "no model was trained here, and nothing else is amiss"
    again = edge_export("ios", "import", "phone/results", "--run-dir", "run")
    assert again.code == 0, again.err
    assert f"ios:{phone.UDID}" in "".join(again.out.split()), "the table may break it over lines"
    assert len(list((tmp_path / "run" / "measurements-earlier").iterdir())) == 2
    assert [x for x in edge_export("verify", "run").out.splitlines() if "bundle/bundle.json" not in x] == []


def test_a_bundle_as_json(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    done = edge_export("ios", "bundle", PROBE, "--out", "phone", "--full", "--threads", 4, "--seed", 5, "--json")
    found = document(done)
    assert (found["schema_version"], found["bundle"], found["seed"], found["threads"]) == (1, "phone", 5, 4)
    assert found["plan"]["mode"] == "full"
    assert len(found["jobs"]) == 10
    plan = json.loads((tmp_path / "phone" / "plans" / found["jobs"][0]["id"] / "plan.json").read_text())
    assert (plan["threads"], plan["min_seconds"]) == (4, 12.0)


def test_a_hot_phone_fails_when_strict(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    edge_export("ios", "bundle", PROBE, "--out", "phone")
    hot = {"thermal_state": "serious"}
    back(tmp_path / "phone", before=hot, after=hot)
    lenient = edge_export("ios", "import", "phone", "--run-dir", "run", "--json")
    assert lenient.code == 0, lenient.err
    assert document(lenient)["measurements"][0]["verdict"] == "throttled"
    strict = edge_export("ios", "import", "phone", "--run-dir", "run", "--strict", "--json")
    assert strict.code == 1
    assert "throttled (the phone's thermal state was serious)" in strict.err


def test_a_phone_that_answers_otherwise_fails(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    edge_export("ios", "bundle", PROBE, "--out", "phone")
    for file in back(tmp_path / "phone").rglob("o0.bin"):
        array = np.frombuffer(file.read_bytes(), dtype="<f4") + np.float32(0.5)
        file.write_bytes(array.astype("<f4").tobytes())
    done = edge_export("ios", "import", "phone", "--json")
    assert done.code == 1
    assert "not as on this machine: y: max-abs 0.5" in done.err
    assert document(done)["summary"]["passed"] is False


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("bundle",), 2, "FILES"),
        (("bundle", "a.tflite"), 2, "--out"),
        (("bundle", "nowhere.tflite", "--out", "phone"), 2, "nowhere.tflite"),
        (("bundle", "broken.tflite", "--out", "phone"), 5, "broken.tflite"),
        (("bundle", "a.tflite", "--out", "phone", "--delegate", "gpu"), 2, "gpu"),
        (("bundle", "a.tflite", "--out", "phone", "--threads", "0"), 2, "threads"),
        (("bundle", "a.tflite", "--out", "thesis"), 2, "choose another --out"),
        (("bundle", "a.tflite", "--out", "a.tflite"), 2, "choose another --out"),
        (("import",), 2, "RESULT"),
        (("import", "nowhere.zip"), 2, "does not exist"),
        (("import", "thesis"), 2, "--bundle"),
        (("import", "thesis", "--bundle", "thesis"), 5, "manifest.json"),
        (("import", "a.tflite", "--bundle", "good"), 5, "is no intact zip"),
        (("import", "good"), 5, "holds no result of any job"),
    ],
)
def test_mistakes(
    words: tuple[str, ...], code: int, said: str, edge_export: Callable[..., Done], tmp_path: Path
) -> None:
    shutil.copyfile(PROBE, tmp_path / "a.tflite")
    (tmp_path / "broken.tflite").write_bytes(PROBE.read_bytes()[:100])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "mine.txt").write_text("mine")
    assert edge_export("ios", "bundle", "a.tflite", "--out", "good").code == 0
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    done = edge_export("ios", *words)
    assert done.code == code, done.err
    assert said in done.error
    assert done.out == ""
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
