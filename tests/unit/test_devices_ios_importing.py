"""Results that come back: good ones, and every way in which they can be less than that."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import phone
from fakes.sent import PLAN, PROBE, Sent
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import targets
from devices.ios import archive, bundle, importing
from toolkit import store
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Measurement, from_json, to_json


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    return Sent(tmp_path)


def test_good_results(sent: Sent) -> None:
    found = sent.take(host=targets.open("cpu"))
    assert [m.target.name for m in found] == [f"ios:{phone.UDID}", f"ios:{phone.UDID}/metal"]
    assert [(m.verdict, m.reasons, m.failure) for m in found] == [("valid", (), None)] * 2
    cpu, metal = (m.target for m in found)
    assert (cpu.platform, cpu.runtime, cpu.runtime_version) == ("ios-arm64", "tensorflow-lite-c", "2.17.0")
    assert (cpu.delegate, cpu.accelerator) == ("xnnpack", None)
    assert (metal.delegate, metal.accelerator) == ("metal", "gpu")
    first = found[0]
    assert first.artifact_sha256 == store.sha256_file(PROBE)
    assert [r.round for r in first.runs] == [0, 1]
    assert all(len(r.samples_ns) == 100 and r.init_us == 900 for r in first.runs)
    assert first.runs[0].memory is not None
    assert first.runs[0].memory.kind == "phys_footprint"
    assert (first.delegated_ops, first.partitions) == ((1, 1), 1)
    assert first.conditions.before["thermal_state"] == first.conditions.after["thermal_state"] == "nominal"
    assert first.conditions.before["machine"] == "iPhone16,1"
    assert "temperature_c" in first.conditions.unknown
    compared = first.provenance["fidelity"]["kernels"]
    assert (compared["passed"], compared["processes_agree"]) == (True, True)
    assert compared["outputs"]["y"]["max_abs"] == 0
    assert compared["outputs"]["y"]["n"] == 8
    assert first.provenance["aa_control"]["verdict"]
    assert first.provenance["runner_sha256"] == sent.manifest["runner_sha256"]
    assert from_json(Measurement, to_json(first)) == first
    json.dumps(to_json(first), allow_nan=False)


def test_a_zip_and_a_whole_bundle_say_the_same(sent: Sent) -> None:
    expected = to_json(sent.take())
    assert to_json(importing.take(sent.zip(), sent.bundle)) == expected
    shutil.copytree(sent.results, sent.bundle / "results")
    assert to_json(importing.take(sent.bundle, sent.bundle)) == expected


def test_how_deep_a_copied_folder_lies_does_not_matter(sent: Sent) -> None:
    expected = to_json(sent.take())
    shutil.move(sent.results / "plans", sent.results / "p")
    (sent.results / "plans").mkdir()
    shutil.move(sent.results / "p", sent.results / "plans" / "plans")
    assert to_json(sent.take()) == expected


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("spoil", "stage", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "start", "the job was not run"),
        (lambda folder: (folder / "result.json").unlink(), "start", "the job was not run"),
        (lambda folder: truncated(folder / "result.json"), "result", "cannot be read"),
        (lambda folder: (folder / "result.json").write_bytes(b"\xff\x00"), "result", "cannot be read"),
        (lambda folder: (folder / "result.json").write_text("[1]"), "result", "cannot be read"),
        (lambda folder: (folder / "result.json").write_text("[" * 100_000), "result", "cannot be read"),
        (lambda folder: truncated(folder / "o0.bin"), "result", "holds 108 bytes for 8 samples"),
        (lambda folder: (folder / "o0.bin").unlink(), "result", "FileNotFoundError"),
    ],
)
def test_a_spoilt_job_is_a_failure_and_the_rest_counts(
    spoil: Callable[[Path], Any], stage: str, said: str, sent: Sent
) -> None:
    spoil(sent.job())
    cpu, metal = sent.take(host=targets.open("cpu"))
    assert (cpu.verdict, metal.verdict) == ("failed", "valid")
    assert cpu.failure is not None
    assert cpu.failure.stage == stage
    assert said in cpu.failure.message
    assert len(cpu.runs) == 1, "the other process is kept"


def test_an_app_that_died_is_placed(sent: Sent) -> None:
    (sent.job() / "result.json").unlink()
    (sent.job() / "stage").write_text("warm-up")
    failure = sent.take()[0].failure
    assert failure is not None
    assert (failure.stage, failure.message) == ("warm-up", "the app died in stage 'warm-up'")


@pytest.mark.parametrize("kind", ["input", "missing", "device", "nonsense"])
def test_a_failure_on_the_phone_keeps_its_stage(kind: str, sent: Sent) -> None:
    told = {"status": "failed", "kind": kind, "stage": "load", "message": "the delegate cannot be made"}
    (sent.job("metal") / "result.json").write_text(json.dumps(told))
    _, metal = sent.take()
    assert metal.verdict == "failed"
    assert metal.failure is not None
    assert (metal.failure.stage, metal.failure.message) == ("load", "the delegate cannot be made")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples_ns", []),
        ("samples_ns", [1.0, -2.0]),
        ("samples_ns", ["fast"]),
        ("samples_ns", [10**400]),
        ("init_us", -1.0),
        ("init_us", None),
        ("batch_k", 0),
        ("warmup_inferences", "many"),
        ("doubling_ratio", -2.0),
        ("memory", {"bytes": "all"}),
        ("delegated_ops", [5, 1]),
        ("delegated_ops", [1]),
        ("partitions", -1),
        ("ops_left_codes", "none"),
        ("outputs", []),
        ("outputs", [{"shape": [4]}]),
        ("outputs", [{"shape": [1, "x"]}]),
        ("outputs", [{"shape": [1, 10**12]}]),
        ("delegate", "metal"),
        ("status", "fine"),
    ],
)
def test_a_lie_in_a_result_is_a_failure(field: str, value: Any, sent: Sent) -> None:
    sent.change(lambda document: document.update({field: value}))
    cpu, metal = sent.take()
    assert (cpu.verdict, metal.verdict) == ("failed", "valid")
    json.dumps(to_json(cpu), allow_nan=False)


def test_nan_as_a_number_is_none(sent: Sent) -> None:
    file = sent.job() / "result.json"
    file.write_text(file.read_text().replace('"init_us": 900.0', '"init_us": NaN'))
    failure = sent.take()[0].failure
    assert failure is not None
    assert "NaN is no JSON number" in failure.message


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["before", "after", "device", "process", "memory", "outputs", "samples_ns", "status", "partitions"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_no_result_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, field: str, value: Any) -> None:
    sent = Sent(tmp_path_factory.mktemp("sent"), ("cpu",))
    sent.change(lambda document: document.update({field: value}))
    (found,) = sent.take()
    json.dumps(to_json(found), allow_nan=False)


@pytest.mark.parametrize("digest", ["model_sha256", "plan_sha256"])
def test_results_of_something_else_are_refused(digest: str, sent: Sent) -> None:
    sent.change(lambda document: document.update({digest: "0" * 64}))
    with pytest.raises(BrokenInput, match="is not the bundle's"):
        sent.take()
    sent.change(lambda document: document.pop(digest))
    with pytest.raises(BrokenInput, match="is not the bundle's"):
        sent.take()


def test_what_is_no_result_at_all(sent: Sent, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        importing.take(tmp_path / "nowhere.zip", sent.bundle)
    cut = sent.zip()
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(BrokenInput, match="is no intact zip"):
        importing.take(cut, sent.bundle)
    garbage = tmp_path / "garbage.zip"
    garbage.write_bytes(bytes(range(256)))
    with pytest.raises(BrokenInput, match="is no intact zip"):
        importing.take(garbage, sent.bundle)
    with pytest.raises(BrokenInput, match="cannot be read as JSON"):
        importing.take(sent.results, tmp_path)
    shutil.rmtree(sent.results / "plans")
    with pytest.raises(BrokenInput, match="holds no result of any job"):
        sent.take()
    (sent.results / "manifest.json").unlink()
    with pytest.raises(BrokenInput, match=r"holds no manifest\.json"):
        sent.take()


def test_another_bundle_and_a_changed_one(sent: Sent, tmp_path: Path) -> None:
    other = tmp_path / "other"
    bundle.write_bundle(other, [("a", PROBE)], PLAN, None, ["cpu", "metal"], 7)
    with pytest.raises(BrokenInput, match="their manifests differ"):
        importing.take(sent.results, other)
    (model,) = (sent.bundle / "models").iterdir()
    model.write_bytes(PROBE.read_bytes() + b"\0")
    with pytest.raises(BrokenInput, match="has changed"):
        sent.take()
    model.unlink()
    with pytest.raises(BrokenInput, match="is gone"):
        sent.take()


def test_a_bundle_with_changed_inputs_is_not_compared_with(sent: Sent) -> None:
    (file,) = (sent.bundle / "inputs").iterdir()
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(BrokenInput, match="its inputs are damaged"):
        sent.take(host=targets.open("cpu"))
    assert [m.verdict for m in sent.take()] == ["valid", "valid"]


@pytest.mark.parametrize(
    "spoil",
    [
        *(lambda d, f=f: d.pop(f) for f in ("plan", "models", "jobs", "seed", "delegates", "threads", "runner_sha256")),
        lambda d: d["plan"].pop("processes"),
        lambda d: d.update(models=[]),
        lambda d: d.update(delegates=["gpu"]),
        lambda d: d["models"][0].update(sha256="../secret"),
        lambda d: d["jobs"][0].update(id=".."),
        lambda d: d["jobs"][0].update(model=-1),
        lambda d: d["jobs"][0].update(round="first"),
    ],
)
def test_a_damaged_manifest(spoil: Callable[[dict[str, Any]], Any], sent: Sent) -> None:
    file = sent.bundle / "manifest.json"
    document = json.loads(file.read_text())
    spoil(document)
    file.write_text(json.dumps(document))
    shutil.copyfile(file, sent.results / "manifest.json")
    with pytest.raises(BrokenInput, match="manifest is damaged"):
        sent.take()


def test_names_in_an_archive_lead_nowhere_else(sent: Sent, tmp_path: Path) -> None:
    """A zip with paths out of the folder: a job's file is taken as the job's, all else is left."""
    name = sent.job().name
    made = tmp_path / "evil.zip"
    with zipfile.ZipFile(made, "w") as stream:
        stream.write(sent.bundle / "manifest.json", "manifest.json")
        stream.writestr("../../pwned", "x")
        stream.writestr(f"../../{name}/pwned", "x")
        stream.writestr(f"/../{name}/result.json", "{}")
    before = set(tmp_path.rglob("*"))
    cpu = importing.take(made, sent.bundle)[0]
    assert cpu.verdict == "failed"
    assert set(tmp_path.rglob("*")) == before


def test_links_and_giants_are_not_followed(sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    shutil.copyfile(sent.job() / "result.json", secret)
    (sent.job() / "result.json").unlink()
    os.symlink(secret, sent.job() / "result.json")
    failure = sent.take()[0].failure
    assert failure is not None
    assert failure.message.startswith("the job was not run")
    monkeypatch.setattr(archive, "MAX_RESULT_BYTES", 100)
    for what in (sent.results, sent.zip()):
        with pytest.raises(BrokenInput, match="larger than any result"):
            importing.take(what, sent.bundle)
