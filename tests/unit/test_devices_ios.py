"""iPhones by way of a Mac: what the bundle holds, the app's sources, the script's commands, and results taken back."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import iphone
from fakes.command import Done

import devices.targets
from devices import harness, runtimes
from devices.ios import bundle, importing
from toolkit.errors import BrokenInput, MissingError, UsageError

APP = bundle.APP


def made(folder: Path, *delegates: str, name: str = "probe") -> Path:
    bundle.write(folder, [(name, runtimes.PROBE)], delegates or ("cpu", "metal"), harness.QUICK, threads=2, seed=0)
    return folder


def test_the_bundle_is_whole(tmp_path: Path) -> None:
    folder = made(tmp_path / "iphone")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [(j["job"], j["delegate"], j["round"]) for j in manifest["jobs"]][-2:] == [
        ("answer", "cpu", 0),
        ("answer", "metal", 0),
    ]
    order = [j["delegate"] for j in manifest["jobs"] if j["job"] == "time"]
    assert order[:2] == order[2:][::-1]  # A B B A
    plan = json.loads((folder / "jobs" / "000" / "plan.json").read_text())
    assert plan["inputs"] == [{"tensor": "x", "bytes": 16}]
    assert (plan["threads"], plan["min_samples"]) == (2, 32)
    assert (folder / "jobs" / "000" / "inputs.bin").stat().st_size == 8 * 16
    assert os.access(folder / "run.sh", os.X_OK)
    assert (folder / "project" / "EdgeExportRunner.xcodeproj" / "project.pbxproj").is_file()


def test_the_same_bundle_is_the_same_bytes(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files)


@pytest.mark.parametrize("source", sorted(p.name for p in (APP / "Sources").glob("*.swift")))
def test_the_sources_are_swift(source: str) -> None:
    """Their syntax: types and the SDK are for Xcode to know."""
    tree_sitter = pytest.importorskip("tree_sitter")
    swift = pytest.importorskip("tree_sitter_swift")
    parser = tree_sitter.Parser(tree_sitter.Language(swift.language()))
    data = (APP / "Sources" / source).read_bytes()
    wrong: list[str] = []

    def walk(node: Any) -> None:
        if node.type == "ERROR" or node.is_missing:
            wrong.append(f"{source}:{node.start_point[0] + 1}: {node.text.decode()[:60]!r}")
        for child in node.children:
            walk(child)

    walk(parser.parse(data).root_node)
    assert wrong == []


def test_the_project_refers_to_what_is_there() -> None:
    text = (APP / "EdgeExportRunner.xcodeproj" / "project.pbxproj").read_text()
    defined = set(re.findall(r"^\t\t(EE[0-9A-F]{22}) = \{", text, re.M))
    used = set(re.findall(r"EE[0-9A-F]{22}", text))
    assert used == defined
    listed = set(re.findall(r'path = "?([\w-]+\.(?:swift|h))"?;', text))
    assert listed == {p.name for p in (APP / "Sources").iterdir()}
    compiled = re.findall(r"isa = PBXBuildFile; fileRef = (EE\w+)", text)
    assert len(compiled) == len(list((APP / "Sources").glob("*.swift")))
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")


def test_the_script_is_one() -> None:
    subprocess.run(["bash", "-n", str(bundle.SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(bundle.SCRIPT)], check=True)


XCRUN = """#!/bin/bash
printf '%s\\n' "$*" >>"$NOTES"
[ "$1 $2" = "devicectl --version" ] && exit 0
if [ "$2 $3 $4" = "device copy from" ]; then
    while [ $# -gt 0 ]; do [ "$1" = --destination ] && out="$2"; [ "$1" = --source ] && in="$2"; shift; done
    [ "${in##*/}" = 001 ] && [ ! -e "$NOTES.second" ] && exit 1
    mkdir -p "$out"; echo '{}' >"$out/result.json"
fi
exit 0
"""


def test_the_script_does_every_job_once(tmp_path: Path) -> None:
    """Against a stand-in for xcrun that notes its words; a job whose result is lost is done again by the second run."""
    folder = made(tmp_path / "it's $(an) iphone", "cpu")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (
        ("xcrun", XCRUN),
        ("uname", "#!/bin/sh\necho Darwin\n"),
        ("pod", "#!/bin/sh\n"),
        ("xcodebuild", "#!/bin/sh\n"),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "NOTES": str(tmp_path / "notes"), "DEVELOPMENT_TEAM": "T"}
    run = [str(folder / "run.sh"), "00008110-000123"]
    first = subprocess.run(run, env=env, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "job 001 left no result" in first.stderr
    words = (tmp_path / "notes").read_text().splitlines()
    launched = [w.rsplit(" ", 1)[1] for w in words if "process launch" in w]
    assert launched == ["000", "001", "002"]
    assert all("--device 00008110-000123" in w for w in words if " device " in w and "--version" not in w)
    assert (folder / "results" / "device").read_text() == "00008110-000123\n"
    (tmp_path / "notes.second").touch()
    (tmp_path / "notes").unlink()
    subprocess.run(run, env=env, check=True, capture_output=True)
    again = [w.rsplit(" ", 1)[1] for w in (tmp_path / "notes").read_text().splitlines() if "process launch" in w]
    assert again == ["001"]


@pytest.mark.parametrize(
    ("env", "words", "said"),
    [
        ({}, [], "this needs a Mac"),
        ({"MAC": "1"}, [], "Xcode is not installed"),
        ({"MAC": "1", "X": "1"}, [], "DEVELOPMENT_TEAM"),
    ],
)
def test_the_script_says_what_is_missing(tmp_path: Path, env: dict[str, str], words: list[str], said: str) -> None:
    folder = made(tmp_path / "iphone", "cpu")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "basename", "cat", "mkdir"):
        (tools / name).symlink_to(shutil.which(name) or "/bin/sh")
    (tools / "uname").write_text(f"#!/bin/bash\necho {'Darwin' if env.get('MAC') else 'Linux'}\n")
    for name in ("xcrun", "pod") if env.get("X") else ():
        (tools / name).write_text("#!/bin/bash\n")
    for tool in tools.iterdir():
        if not tool.is_symlink():
            tool.chmod(stat.S_IRWXU)
    done = subprocess.run(
        ["/bin/bash", str(folder / "run.sh"), *words], env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.returncode in (2, 3)
    assert said in done.stderr


def test_results_are_measurements_like_any_other(tmp_path: Path, edge_export: Callable[..., Done]) -> None:
    written = edge_export("ios", "bundle", runtimes.PROBE, "--out", "iphone", "--json")
    assert written.code == 0, written.err
    iphone.run(tmp_path / "iphone")
    done = edge_export("ios", "import", "iphone", "--json")
    assert done.code == 0, done.err
    cpu, metal = json.loads(done.out)["measurements"]
    assert (cpu["target"], metal["target"]) == ("ios:00008110-000123", "ios:00008110-000123/metal")
    assert cpu["verdict"] == "valid", cpu["reasons"]
    assert cpu["median_us"] == pytest.approx(50, rel=0.02)
    assert (cpu["processes"], cpu["memory"]["kind"], cpu["emulated"]) == (2, "phys_footprint", False)
    assert cpu["fidelity"]["kernels"]["passed"]
    assert cpu["conditions"]["before"]["machine"] == "iPhone14,2"
    assert metal["runtime"]["accelerator"] == "GPU"


def test_a_hot_phone_is_throttled(tmp_path: Path) -> None:
    folder = made(tmp_path / "iphone", "cpu")
    iphone.run(folder, thermal="serious")
    (found,) = importing.measurements(folder)
    assert found.verdict == "throttled"
    assert "the device says: thermal state serious after a job" in found.reasons


def test_a_debugger_makes_it_worthless(tmp_path: Path) -> None:
    folder = made(tmp_path / "iphone", "cpu")
    iphone.run(folder, debugger=True)
    (found,) = importing.measurements(folder)
    assert found.verdict == "failed"
    assert "debugger" in found.reasons[0]


@pytest.mark.parametrize("add", [0.5, float("nan")])
def test_wrong_answers_fail(tmp_path: Path, add: float) -> None:
    folder = made(tmp_path / "iphone", "cpu")
    iphone.run(folder, add=add)
    (found,) = importing.measurements(folder)
    assert (found.verdict, found.failure.stage if found.failure else "") == ("failed", "answers")


def test_what_is_missing_or_cut_is_a_record(tmp_path: Path) -> None:
    folder = made(tmp_path / "iphone", "cpu", "coreml")
    iphone.run(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    names = {(j["job"], j["delegate"], j["round"]): j["name"] for j in manifest["jobs"]}
    shutil.rmtree(folder / "results" / names["time", "cpu", 0])
    outputs = folder / "results" / names["answer", "coreml", 0] / "outputs.bin"
    outputs.write_bytes(outputs.read_bytes()[:-1])
    cpu, coreml = importing.measurements(folder)
    assert cpu.verdict == "failed"
    assert len(cpu.runs) == 1  # what came back is kept
    assert coreml.verdict == "failed"
    assert "a sample takes 16" in coreml.reasons[0]


def test_only_what_was_bundled_is_taken_back(tmp_path: Path) -> None:
    folder = made(tmp_path / "iphone", "cpu")
    with pytest.raises(BrokenInput, match="holds no results"):
        importing.measurements(folder)
    iphone.run(folder)
    plan = folder / "jobs" / "000" / "plan.json"
    text = plan.read_text()
    plan.write_text(text.replace('"threads": 2', '"threads": 6'))
    with pytest.raises(BrokenInput, match="job 000 is not the one that was bundled"):
        importing.measurements(folder)
    plan.write_text(text)
    model = next((folder / "models").iterdir())
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(BrokenInput, match="model probe is not the one"):
        importing.measurements(folder)
    with pytest.raises(BrokenInput, match="is no bundle"):
        importing.measurements(tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = made(tmp_path / "iphone", "cpu")
    with pytest.raises(UsageError, match="is there and not empty"):
        made(folder)
    with pytest.raises(UsageError, match="each delegate once"):
        made(tmp_path / "other", "cpu", "cpu")


def test_the_target_says_the_way() -> None:
    row = next(row for row in devices.targets.describe_all() if row["name"] == "ios")
    assert row["reachable"] is False
    with pytest.raises(MissingError, match="only a Mac") as caught:
        devices.targets.open("ios:00008110-000123")
    assert "ios bundle" in caught.value.remedy
