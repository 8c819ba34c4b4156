"""The runner app, as far as it can be looked at away from a Mac: Swift's syntax, the project's, and the contract."""

from __future__ import annotations

import ctypes
import json
import plistlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tree_sitter
import tree_sitter_swift

import devices.runners
from devices.ios import bundle, project

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
FAKES = Path(__file__).parents[1] / "fakes"
SWIFT = sorted(project.SOURCES.glob("*.swift"))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "app"
    project.write(folder)
    return folder


def parsed(source: bytes) -> tree_sitter.Node:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language())).parse(source).root_node


def faults(node: tree_sitter.Node) -> Iterator[str]:
    if node.type == "ERROR" or node.is_missing:
        yield f"{node.start_point}: {node.type} {node.text!r:.60}"
    for child in node.children:
        yield from faults(child)


@pytest.mark.parametrize("path", SWIFT, ids=lambda p: p.name)
def test_swift_parses(path: Path) -> None:
    assert list(faults(parsed(path.read_bytes()))) == []


def test_a_fault_in_swift_is_found() -> None:
    assert list(faults(parsed(b"func f( { return 1 }"))) != []
    assert list(faults(parsed(SWIFT[0].read_bytes().replace(b"{", b"", 1)))) != []


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), name)


def fields(struct: str) -> tuple[set[str], set[str]]:
    """The properties of a Swift struct as JSON names them: all, and those that may be absent."""
    text = (project.SOURCES / "Plan.swift").read_text(encoding="utf-8")
    body = text[text.index(f"struct {struct}: Decodable") :]
    found = re.findall(r"^    let (\w+): ([\w\[\]?]+)$", body[: body.index("\n}")], re.MULTILINE)
    return {snake(n) for n, _ in found}, {snake(n) for n, kind in found if kind.endswith("?")}


def test_the_app_reads_what_plans_hold(tmp_path: Path) -> None:
    """A field that the app needs and a plan does not have would fail every job on the phone, and only there."""
    manifest = bundle.write_bundle(tmp_path / "b", [("a", PROBE)], bundle.QUICK, None, ["cpu"], 0)
    plan = json.loads((tmp_path / "b" / "plans" / manifest["jobs"][0]["id"] / "plan.json").read_text())
    wanted, _ = fields("Plan")
    assert wanted <= set(plan)
    assert set(plan) - wanted <= {"schema_version", "seed"}
    assert fields("InputSpec")[0] == set(plan["inputs"][0])
    assert fields("OutputSpec")[0] <= set(plan["outputs"][0])


def test_the_app_writes_what_results_are_read_for() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SWIFT)
    written = set(re.findall(r'"([a-z][a-z0-9_]*)":', text)) | set(re.findall(r'result\["(\w+)"\]', text))
    needed = {
        *("status", "kind", "stage", "message", "samples_ns", "batch_k", "init_us", "first_us", "warmup_inferences"),
        *("warmup_steady", "doubling_ratio", "memory", "memory_before", "delegated_ops", "partitions", "seconds"),
        *("ops_left_codes", "delegation_unknown", "outputs", "process", "device", "before", "after", "shape"),
        *("model_sha256", "plan_sha256", "delegate", "runtime", "runtime_version", "thermal_state", "debugger"),
        *("metal_validation", "low_power_mode", "machine"),
    }
    assert needed <= written


class OpenStep:
    """A parser of OpenStep property lists: dictionaries, arrays, quoted and plain strings, comments."""

    def __init__(self, text: str) -> None:
        self.tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[{}()=;,]|[\w./$:<>-]+|\S', re.sub(r"//.*|/\*.*?\*/", "", text))
        self.position = 0

    def next(self, expected: str = "") -> str:
        token = self.tokens[self.position]
        self.position += 1
        if expected and token != expected:
            raise ValueError(f"{token!r} where {expected!r} belongs (token {self.position})")
        return token

    def value(self) -> Any:
        token = self.next()
        if token == "{":
            found: dict[str, Any] = {}
            while self.tokens[self.position] != "}":
                key = self.value()
                self.next("=")
                assert key not in found, key
                found[key] = self.value()
                self.next(";")
            self.next("}")
            return found
        if token == "(":
            rows = []
            while self.tokens[self.position] != ")":
                rows.append(self.value())
                self.next(",")
            self.next(")")
            return rows
        if token.startswith('"'):
            return token[1:-1]
        if not re.fullmatch(r"[\w./$]+", token):
            raise ValueError(f"{token!r} needs quotes")
        return token


def test_the_project_parses_and_every_reference_leads_somewhere(app: Path) -> None:
    parser = OpenStep((app / "EdgeExportRunner.xcodeproj" / "project.pbxproj").read_text(encoding="utf-8"))
    root = parser.value()
    assert parser.position == len(parser.tokens)
    objects = root["objects"]
    assert objects[root["rootObject"]]["isa"] == "PBXProject"

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)
        elif re.fullmatch(r"[0-9A-F]{24}", value):
            yield value

    used = {r for value in objects.values() for r in references(value)} | {root["rootObject"]}
    assert used == set(objects)
    named = {o["path"] for o in objects.values() if o["isa"] == "PBXFileReference"}
    assert named == {p.name for p in (app / "EdgeExportRunner").iterdir()} | {"EdgeExportRunner.app"}
    compiled = [objects[o["fileRef"]]["path"] for o in objects.values() if o["isa"] == "PBXBuildFile"]
    assert sorted(compiled) == sorted(p.name for p in project.sources() if p.suffix in (".swift", ".c"))
    settings = {
        k: v for o in objects.values() if o["isa"] == "XCBuildConfiguration" for k, v in o["buildSettings"].items()
    }
    assert (app / settings["INFOPLIST_FILE"]).is_file()
    assert (app / settings["SWIFT_OBJC_BRIDGING_HEADER"]).is_file()


def test_a_fault_in_a_project_is_found() -> None:
    for broken in ("{a = 1}", "{a = b c;}", "{a = (1, 2);}", "{a = x-y;}"):
        with pytest.raises((ValueError, IndexError)):
            OpenStep(broken).value()


def test_the_scheme_and_the_plist_parse(app: Path) -> None:
    scheme = app / "EdgeExportRunner.xcodeproj" / "xcshareddata" / "xcschemes" / "EdgeExportRunner.xcscheme"
    found = ElementTree.fromstring(scheme.read_bytes())
    targets = {r.get("BlueprintIdentifier") for r in found.iter("BuildableReference")}
    assert len(targets) == 1
    assert f"{targets.pop()} /* EdgeExportRunner */ = {{" in (scheme.parents[2] / "project.pbxproj").read_text()
    # A debugger makes a timing worthless.
    launch = found.find("LaunchAction")
    assert launch is not None
    assert (launch.get("selectedDebuggerIdentifier"), launch.get("buildConfiguration")) == ("", "Release")
    info = plistlib.loads((app / "EdgeExportRunner" / "Info.plist").read_bytes())
    assert info["CFBundleIdentifier"] == "$(PRODUCT_BUNDLE_IDENTIFIER)"
    assert "UILaunchScreen" in info


@pytest.fixture(scope="module")
def observer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("observer") / "observer.so"
    sources = [str(project.SOURCES / "Delegation.c"), str(FAKES / "tflite_c" / "graph.c")]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I", str(FAKES / "tflite_c")]
    subprocess.run([compiler, *flags, "-o", str(library), *sources], check=True, capture_output=True)
    return ctypes.CDLL(str(library))


def count(observer: Any, nodes: list[int], graphs: int = 1, broken: int = -1) -> tuple[bool, int, int, list[int]]:
    """What the observer counts: ``nodes`` holds a builtin code, or -1 for a node of a delegate."""
    row = (ctypes.c_int32 * len(nodes))(*nodes)
    found = (ctypes.c_int32 * 259)()
    observer.count_graph(row, len(nodes), graphs, broken, found)
    return bool(found[0]), found[1], found[2], list(found[3 : 3 + min(found[1], 256)])


def test_the_observer_counts_what_a_delegate_left(observer: Any) -> None:
    assert count(observer, [3, 9, 25]) == (True, 3, 0, [3, 9, 25])
    assert count(observer, [-1, 22, -1]) == (True, 1, 2, [22])
    assert count(observer, []) == (True, 0, 0, [])
    many = count(observer, [9] * 300)
    assert many[:3] == (True, 300, 0)
    assert len(many[3]) == 256


def test_the_observer_counts_the_first_graph_only_and_owns_up(observer: Any) -> None:
    assert count(observer, [3, -1], graphs=3) == (True, 1, 1, [3])
    assert count(observer, [3, 4, 5], broken=1)[0] is False
    assert count(observer, [3, 4, 5], graphs=2, broken=0)[0] is False
