"""Results that come back: good ones, and every way in which they can be less than that."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import phone
from hypothesis import given, settings
from hypothesis import strategies as st

import devices.runners
from devices import targets
from devices.ios import archive, bundle, fidelity, importing, judging, results, tensors
from toolkit import store
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Measurement, Plan, from_json, to_json

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
PLAN = Plan(mode="quick", processes=2, min_samples=8, min_seconds=0.1, max_seconds=1.0)


class Sent:
    """A bundle and what a phone made of it, in a folder as run.sh leaves it."""

    def __init__(self, folder: Path, delegates: tuple[str, ...] = ("cpu", "metal"), **changed: Any) -> None:
        self.bundle = folder / "bundle"
        self.manifest = bundle.write_bundle(self.bundle, [("a", PROBE)], PLAN, None, delegates, 0)
        documents = folder / "Documents"
        for part in ("plans", "models", "inputs"):
            shutil.copytree(self.bundle / part, documents / part)
        for job in self.manifest["jobs"]:
            phone.run_job(documents, job["id"], **changed)
        self.results = folder / "results"
        self.results.mkdir()
        shutil.copytree(documents / "plans", self.results / "plans")
        shutil.copyfile(self.bundle / "manifest.json", self.results / "manifest.json")
        (self.results / "udid.txt").write_text(phone.UDID + "\n")

    def job(self, delegate: str = "cpu", round_: int = 0) -> Path:
        wanted = (delegate, round_, False)
        found = next(j for j in self.manifest["jobs"] if (j["delegate"], j["round"], j["control"]) == wanted)
        return self.results / "plans" / found["id"]

    def change(self, change: Callable[[dict[str, Any]], Any], **which: Any) -> None:
        file = self.job(**which) / "result.json"
        document = json.loads(file.read_text())
        change(document)
        file.write_text(json.dumps(document))

    def change_all(self, change: Callable[[dict[str, Any]], Any]) -> None:
        for file in sorted(self.results.rglob("result.json")):
            document = json.loads(file.read_text())
            change(document)
            file.write_text(json.dumps(document))

    def take(self, **options: Any) -> list[Measurement]:
        return importing.take(self.results, self.bundle, **options)

    def zip(self) -> Path:
        made = self.results.with_suffix(".zip")
        with zipfile.ZipFile(made, "w") as stream:
            for path in sorted(self.results.rglob("*")):
                stream.write(path, path.relative_to(self.results))
        return made


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
    compared = first.provenance["fidelity"]
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


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_fail(bad: float, sent: Sent) -> None:
    file = sent.job() / "o0.bin"
    array = np.frombuffer(file.read_bytes(), dtype="<f4").copy()
    array[5] = bad
    file.write_bytes(array.tobytes())
    cpu, metal = sent.take(host=targets.open("cpu"))
    assert (cpu.verdict, metal.verdict) == ("failed", "valid")
    assert cpu.failure is not None
    assert (cpu.failure.stage, cpu.failure.message) == ("outputs", "NaN or infinity in output 'y'")
    assert cpu.provenance["fidelity"]["passed"] is False
    assert cpu.provenance["fidelity"]["processes_agree"] is False
    json.dumps(to_json(cpu), allow_nan=False)


def test_outputs_that_differ_are_measured(sent: Sent) -> None:
    for delegate in ("cpu", "metal"):
        file = sent.job(delegate) / "o0.bin"
        array = np.frombuffer(file.read_bytes(), dtype="<f4").copy()
        array[3] += 0.002
        file.write_bytes(array.tobytes())
    cpu, metal = (m.provenance["fidelity"] for m in sent.take(host=targets.open("cpu")))
    assert cpu["outputs"]["y"]["max_abs"] == pytest.approx(0.002, rel=1e-3)
    assert cpu["passed"] is False, "1e-4 for the same float kernels"
    assert "max-abs 0.002" in cpu["why"][0]
    assert metal["passed"] is True, "40 dB for what may compute in float16"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("nominal", "fair", "rose from nominal to fair"),
        ("serious", "serious", "thermal state was serious"),
        ("nominal", "critical", "thermal state was critical"),
    ],
)
def test_a_phone_that_says_it_is_hot_was_throttled(before: str, after: str, said: str, sent: Sent) -> None:
    sent.change(lambda d: (d["before"].update(thermal_state=before), d["after"].update(thermal_state=after)))
    cpu, metal = sent.take()
    assert (cpu.verdict, metal.verdict) == ("throttled", "valid")
    assert any(said in reason for reason in cpu.reasons)


def test_cooling_down_is_no_throttling(sent: Sent) -> None:
    sent.change(lambda d: d["before"].update(thermal_state="fair"))
    assert sent.take()[0].verdict == "valid"


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        (lambda d: d["before"].update(low_power_mode=True), "throttled", "Low Power Mode"),
        (lambda d: d["device"].update(debugger=True), "implausible", "a debugger"),
        (lambda d: d["device"].update(metal_validation=True), "implausible", "Metal's validation"),
        (lambda d: d.update(process="one"), "unstable", "shared a process"),
        (lambda d: d.pop("process"), "unstable", "shared a process"),
        (lambda d: d.update(doubling_ratio=1.0), "implausible", "twice the inferences"),
        (lambda d: d.update(samples_ns=[s * (1 + i) for i, s in enumerate([1e6] * 50)]), "throttled", "last fifth"),
    ],
)
def test_what_makes_a_timing_worth_less(
    change: Callable[[dict[str, Any]], Any], verdict: str, said: str, sent: Sent
) -> None:
    sent.change_all(change)
    for measurement in sent.take():
        assert measurement.verdict == verdict
        assert any(said in reason for reason in measurement.reasons)


def test_an_accelerator_that_took_nothing_is_invalid(sent: Sent) -> None:
    sent.change_all(lambda d: d.update(delegated_ops=[0, 1], partitions=0, ops_left_codes=[0]))
    cpu, metal = sent.take()
    assert (cpu.verdict, metal.verdict) == ("valid", "implausible")
    assert metal.reasons == ("nothing was delegated to metal: it ran on the CPU",)
    assert metal.provenance["ops_left"] == ["ADD"]
    sent.change_all(lambda d: d.update(delegated_ops=None, partitions=None, delegation_unknown="no plan"))
    _, metal = sent.take()
    assert metal.verdict == "implausible"
    assert "whether metal took anything is not known (no plan)" in metal.reasons[0]


def test_a_device_without_a_udid_goes_by_its_model(sent: Sent) -> None:
    (sent.results / "udid.txt").write_text("../../../etc/passwd\n")
    assert sent.take()[0].target.name == "ios:iPhone16,1"
    sent.change_all(lambda d: d.pop("device"))
    assert sent.take()[0].target.name == "ios:unknown"


def test_readings_of_the_wrong_type_are_left_out() -> None:
    kept = results._known({"cores": True, "machine": 5, "os": "x" * 500, "debugger": 1, "more": 1}, results._DEVICE)
    assert kept == {"os": "x" * 200}
    assert results._known({"thermal_state": "hot", "uptime_s": 3}, results._MOMENT) == {"uptime_s": 3.0}


@pytest.mark.parametrize(("delegate", "reason"), [("cpu", fidelity.FLOAT), ("metal", fidelity.HALF)])
def test_tolerances(delegate: str, reason: Any) -> None:
    assert fidelity.tolerance(PROBE, delegate) == reason


def test_the_floor_of_a_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judging.floor_us(PROBE, "cpu", 1) is None, "an addition has no kernel"
    assert judging.floor_us(PROBE, "metal", 1) is None
    monkeypatch.setattr(judging.roofline, "_counted", lambda model: (1_000_000_000, True))
    assert judging.floor_us(PROBE, "cpu", 2) == pytest.approx(1e9 / (1024 * 6.5e9 * 2) * 1e6)
    assert judging.floor_us(PROBE, "coreml", 2) == pytest.approx(10.0)


def test_a_time_below_the_floor_is_implausible(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging.roofline, "_counted", lambda model: (10**12, True))
    cpu, metal = sent.take()
    assert (cpu.verdict, metal.verdict) == ("implausible", "implausible")
    assert "the arithmetic alone takes" in metal.reasons[0]


def test_a_job_that_answers(tmp_path: Path) -> None:
    sent = Sent(tmp_path, ("cpu",))
    folder = sent.job()
    document = json.loads((folder / "result.json").read_text())
    job = {"job": "answer", "delegate": "cpu", "plan_sha256": document["plan_sha256"]}
    model = {"sha256": document["model_sha256"], "samples": 8}
    found = results.read(folder, job, model, tensors.read(PROBE), where="x")
    assert found.answer is not None
    assert found.answer.outputs["y"].shape == (8, 1, 4)
    assert (found.answer.delegated_ops, found.answer.seconds) == ((1, 1), 0.01)
