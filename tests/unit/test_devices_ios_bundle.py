"""The bundle: what is in it, that it is the same twice, that no name of a model gets out of JSON, and its script."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import phone
from hypothesis import example, given, settings
from hypothesis import strategies as st

import devices.runners
from devices import targets
from devices.ios import bundle, importing, jobs, tensors
from devices.runners import portable
from toolkit import store
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Plan

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
GOLDEN = Path(__file__).parents[1] / "golden" / "ios_bundle.txt"
PLAN = Plan(mode="quick", processes=2, min_samples=8, min_seconds=0.1, max_seconds=1.0)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write(folder: Path, name: str = "a", path: Path = PROBE, **changed: Any) -> dict[str, Any]:
    given = {"plan": PLAN, "inputs": None, "delegates": ["cpu", "metal"], "seed": 3, **changed}
    return bundle.write_bundle(folder, [(name, path)], **given)


def test_the_tree_is_the_golden_one(tmp_path: Path) -> None:
    write(tmp_path / "b")
    names = "".join(f"{name}\n" for name in tree(tmp_path / "b"))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(names)
    assert names == GOLDEN.read_text()


def test_the_same_twice_and_another_seed_another_order(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(tmp_path / name, seed=seed)
    first, second, third = (tree(tmp_path / name) for name in "abc")
    assert first == second
    assert first["jobs.txt"] != third["jobs.txt"] or first["manifest.json"] != third["manifest.json"]


def test_rounds_are_interleaved_and_complete(tmp_path: Path) -> None:
    manifest = write(tmp_path / "b")
    order = [(j["delegate"], j["control"]) for j in manifest["jobs"]]
    assert order[:4] == order[4:][::-1], "A B B A"
    assert [j["round"] for j in manifest["jobs"]] == [0] * 4 + [1] * 4
    assert Counter(order) == {(d, c): 2 for d in ("cpu", "metal") for c in (False, True)}
    listed = [line.split() for line in (tmp_path / "b" / "jobs.txt").read_text().splitlines()]
    assert [name for name, _ in listed] == [j["id"] for j in manifest["jobs"]] == sorted(n for n, _ in listed)
    assert {int(seconds) for _, seconds in listed} == {432}
    for job in manifest["jobs"]:
        assert store.sha256_file(tmp_path / "b" / "plans" / job["id"] / "plan.json") == job["plan_sha256"]


def test_inputs_are_those_of_the_cpu_target(tmp_path: Path) -> None:
    write(tmp_path / "b")
    model = portable.Model({"model": str(PROBE), "threads": 1})
    wanted = np.stack([feed["x"] for feed in portable.seeded(model.inputs, 3)])
    (file,) = (tmp_path / "b" / "inputs").iterdir()
    assert file.read_bytes() == wanted.astype("<f4").tobytes()
    assert file.stem == store.sha256_file(file)


def test_own_inputs_are_cut_to_eight(tmp_path: Path) -> None:
    given = np.arange(48, dtype=np.float32).reshape(12, 4)
    manifest = write(tmp_path / "b", inputs=lambda path: {"x": given})
    assert manifest["models"][0]["samples"] == 8
    (file,) = (tmp_path / "b" / "inputs").iterdir()
    assert file.read_bytes() == given[:8].tobytes()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"y": np.ones((2, 4))}, "the model takes: x"),
        ({"x": np.ones((2, 5), np.float32)}, "samples of shape [1, 5], not [1, 4]"),
        ({"x": np.ones((0, 4), np.float32)}, "at least 1"),
        ({"x": np.array([["a"] * 4])}, "does not fit"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenInput) as caught:
        write(tmp_path / "b", inputs=lambda path: inputs)
    assert said in str(caught.value)
    assert str(PROBE) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


NASTY = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"quoted"',
    "-rf",
    "--help",
    "a\nb",
    "..",
    "é/\\",
]


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=40))
@example("$(touch pwned)")
@example("\ud800")
def test_a_name_changes_json_and_nothing_else(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "plain"), "plain")
        write(Path(folder, "named"), name)
        plain, named = tree(Path(folder, "plain")), tree(Path(folder, "named"))
    assert list(plain) == list(named)
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", path) and not path.startswith("-") for path in named)
    changed = {path for path in plain if plain[path] != named[path]}
    assert all(path == "manifest.json" or path.endswith("/plan.json") for path in changed)
    assert json.loads(named["manifest.json"])["models"][0]["name"] == name


@pytest.mark.parametrize("name", NASTY)
def test_files_with_such_names(name: str, tmp_path: Path) -> None:
    path = tmp_path / "models" / (name.replace("/", "_") + ".tflite")
    path.parent.mkdir()
    shutil.copyfile(PROBE, path)
    manifest = write(tmp_path / "b", name, path)
    assert manifest["models"][0]["file"] == f"{store.sha256_file(PROBE)}.tflite"


def test_what_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(PROBE.read_bytes()[:200])
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(BrokenInput, match="damaged or truncated"):
        write(tmp_path / "b", path=broken)
    with pytest.raises(UsageError, match="is no iOS bundle; choose another --out"):
        write(other)
    with pytest.raises(UsageError, match="unknown delegate 'gpu'"):
        write(tmp_path / "b", delegates=["gpu"])
    with pytest.raises(UsageError, match="nothing to measure"):
        bundle.write_bundle(tmp_path / "b", [], PLAN, None, ["cpu"], 0)
    assert (other / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "b").exists()
    write(tmp_path / "b")
    write(tmp_path / "b", seed=4)
    (tmp_path / "b" / "results").mkdir()
    with pytest.raises(UsageError, match="holds results already"):
        write(tmp_path / "b")


def test_tensors_come_by_position_and_signature_name() -> None:
    found = tensors.read(PROBE)
    assert [(t.name, t.index, t.shape, t.dtype, t.bytes) for t in found.inputs] == [("x", 0, (1, 4), "float32", 16)]
    assert [(t.name, t.index) for t in found.outputs] == [("y", 0)]


def run(folder: Path, bin_: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    environment = {**phone.mac(bin_), "DEVELOPMENT_TEAM": "ABCDE12345", "IOS_DEVICE": phone.UDID, **changed}
    environment = {k: v for k, v in environment.items() if v != "unset"}
    return subprocess.run(["bash", "run.sh"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_script_parses(tmp_path: Path) -> None:
    write(tmp_path / "b")
    assert (tmp_path / "b" / "run.sh").stat().st_mode & 0o111
    done = subprocess.run(["bash", "-n", str(tmp_path / "b" / "run.sh")], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("changed", [{}, {"FAKE_NESTED": "1", "FAKE_NEWER": "1"}], ids=["plain", "nested"])
def test_the_script_measures(changed: dict[str, str], tmp_path: Path) -> None:
    """Against made-up tools of a Mac: the script, the order of its commands, and the way back are real."""
    folder = tmp_path / "it's a $(touch pwned) bundle"
    manifest = write(folder, delegates=["cpu"])
    if "FAKE_NESTED" in changed:
        for part in ("plans", "models", "inputs"):
            (tmp_path / "mac" / "phone" / "container" / "Documents" / part).mkdir(parents=True)
    done = run(folder, tmp_path / "mac", **changed)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    commands = phone.said(tmp_path / "mac")
    verbs = [" ".join(w for w in c[1:5] if not w.startswith("-")) for c in commands if "--help" not in c]
    launched = [c for c in commands if "launch" in c and "--help" not in c]
    assert [c[c.index("--") + 1 :] for c in launched] == [["--job", j["id"]] for j in manifest["jobs"]]
    assert verbs[0].startswith("device info details")
    assert [v for v in verbs if "uninstall" in v or "install" in v] == ["device uninstall app", "device install app"]
    assert sum("copy to" in v for v in verbs) == 3
    assert "copy from" in verbs[-1]
    assert all("org.edge-export.runner.ABCDE12345" in c for c in launched)
    with zipfile.ZipFile(folder / "results.zip") as archive:
        assert archive.testzip() is None
    found = importing.take(folder / "results.zip", folder, host=targets.open("cpu"))
    assert [(m.verdict, m.target.name) for m in found] == [("valid", f"ios:{phone.UDID}")]
    assert found[0].provenance["fidelity"]["kernels"]["passed"] is True
    assert not list(tmp_path.rglob("pwned"))


def test_an_app_that_dies_costs_its_own_job_alone(tmp_path: Path) -> None:
    manifest = write(tmp_path / "b")
    first = next(job for job in manifest["jobs"] if not job["control"])
    done = run(tmp_path / "b", tmp_path / "mac", FAKE_CRASH=first["id"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"warning: job {first['id']} did not end well; see run.log\n"
    found = importing.take(tmp_path / "b", tmp_path / "b")
    assert sorted(m.verdict for m in found) == ["failed", "valid"]
    (failure,) = [m.failure for m in found if m.failure is not None]
    assert (failure.stage, failure.message) == ("load", "the app died in stage 'load'")


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"DEVELOPMENT_TEAM": "unset"}, 2, "DEVELOPMENT_TEAM is not set"),
        ({"DEVELOPMENT_TEAM": "$(id)"}, 2, "is no team id"),
        ({"IOS_DEVICE": "unset"}, 2, "IOS_DEVICE is not set"),
        ({"IOS_DEVICE": "--all"}, 2, "must not begin with a dash"),
        ({"FAKE_XCODE": "Xcode 14.3"}, 3, "Xcode is 14.3, 15 or newer is needed"),
        ({"FAKE_XCODE": "xcode-select: error"}, 3, "Xcode is not set up"),
        ({"FAKE_HELP": "--terminate-existing"}, 3, "install Xcode 16"),
        ({"FAKE_IOS": "16.7"}, 3, "the phone has iOS 16.7"),
        ({"FAKE_FAIL": "devicectl device info"}, 4, "is not reachable"),
        ({"FAKE_FAIL": "devicectl device install"}, 4, "cannot be installed"),
        ({"FAKE_FAIL": "devicectl device copy to"}, 4, "plans cannot be copied"),
        ({"FAKE_FAIL": "devicectl device copy from"}, 4, "results cannot be copied"),
        ({"TFLITE_XCFRAMEWORKS": "/nowhere"}, 3, "/nowhere has no TensorFlowLiteC.xcframework"),
    ],
)
def test_what_is_missing_on_the_mac_is_one_line(changed: dict[str, str], code: int, said: str, tmp_path: Path) -> None:
    write(tmp_path / "b")
    done = run(tmp_path / "b", tmp_path / "mac", **changed)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == code, done.stderr
    assert len(errors) == 1, done.stderr
    assert said in errors[0]
    assert not (tmp_path / "b" / "results.zip").exists()


def test_the_script_asks_for_a_mac(tmp_path: Path) -> None:
    write(tmp_path / "b")
    done = subprocess.run(["bash", "run.sh"], cwd=tmp_path / "b", capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == "error: this needs macOS with Xcode 15 or newer; copy this folder to a Mac\n"


def test_xcframeworks_instead_of_pods(tmp_path: Path) -> None:
    write(tmp_path / "b")
    kept = tmp_path / "my frameworks"
    (kept / "TensorFlowLiteC.xcframework" / "ios-arm64").mkdir(parents=True)
    code = phone.TOOLS["xcodebuild"].replace("else:\n", "else:\n    print(sys.argv[1:])\n")
    environment = phone.mac(tmp_path / "mac")
    tool = tmp_path / "mac" / "bin" / "xcodebuild"
    tool.write_text(tool.read_text().splitlines()[0] + "\n" + code)
    (tmp_path / "mac" / "bin" / "pod").unlink()
    more = {"DEVELOPMENT_TEAM": "A1", "IOS_DEVICE": phone.UDID, "TFLITE_XCFRAMEWORKS": str(kept)}
    done = subprocess.run(
        ["bash", "run.sh"], cwd=tmp_path / "b", env={**environment, **more}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    built = (tmp_path / "b" / "build.log").read_text()
    assert f'FRAMEWORK_SEARCH_PATHS= "{kept}/TensorFlowLiteC.xcframework/ios-arm64"' in built
    assert "OTHER_LDFLAGS=-lc++ -framework TensorFlowLiteC'" in built


def test_the_time_limit_holds_the_cool_down() -> None:
    assert jobs.limit_seconds(bundle.FULL) == 300 + 120 + 10 + 3 * 600 / 5
