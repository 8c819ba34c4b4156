"""The JSON document: its contract, its order, and what it says of damaged or missing records."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.report_records import (
    LONG,
    QUARANTINED,
    artifact,
    bundle,
    codes,
    comparison,
    make_run,
    measurement,
    process,
    records,
)

from toolkit.errors import BrokenInput
from toolkit.report import document
from toolkit.store import Run

GOLDEN = Path(__file__).parent.parent / "golden" / "report_document.json"

CONTRACT = {
    "": {"schema_version": int, "run_dir": str, "model": str, "bundle": dict, "artifacts": list, "measurements": list,
         "comparisons": list, "warnings": list, "embeddings": list, "sparsity": list},
    "bundle": {"saved_model": str, "sha256": str, "metrics": dict},
    "artifacts": {"recipe": str, "path": str, "sha256": str, "size_bytes": int, "gzip_bytes": int, "ops": dict,
                  "runtime_floor": dict, "gate": dict},
    "measurements": {"recipe": str, "target": str, "median_us": float, "p90_us": float, "interval_us": list,
                     "init_us": float, "first_us": float, "samples": int, "processes": int, "delegated_ops": list,
                     "verdict": str, "reasons": list, "emulated": bool},
    "comparisons": {"recipe": str, "target": str, "against": str, "metric": str, "cloud": float, "edge": float,
                    "difference": float, "interval": list, "budget": float, "passed": bool, "agreement": float,
                    "max_abs_error": float, "psnr_db": float, "n": int},
    "embeddings": {"name": str, "kind": str, "n": int, "explained": list},
    "sparsity": {"name": str, "shape": list, "zeros": float, "inputs": int, "dead_inputs": int, "units": int,
                 "dead_units": int, "bytes": int, "gzip_bytes": int},
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


def rounded(value: Any) -> Any:
    """Floats to 9 digits: the last bits of a bootstrap may differ between builds of numpy."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_the_document_is_the_golden_one(run: Run) -> None:
    found = document.collect(run)
    assert found["run_dir"] == str(run.root)
    found["run_dir"] = "RUN"
    assert rounded(found) == rounded(json.loads(GOLDEN.read_text(encoding="utf-8")))


def test_every_field_of_the_contract_is_there_with_its_type(run: Run) -> None:
    found = document.collect(run)
    for part, fields in CONTRACT.items():
        rows = [found] if not part else [found[part]] if part == "bundle" else found[part]
        assert rows
        for row in rows:
            for name, kind in fields.items():
                assert name in row, (part, name)
                unknown = row.get("verdict") == "failed" or row.get("identical")
                assert isinstance(row[name], kind) or (row[name] is None and unknown), (part, name)


def test_it_is_json_without_nan(run: Run) -> None:
    text = json.dumps(document.collect(run), allow_nan=False)
    assert json.loads(text) == document.collect(run)


def test_reference_first_then_by_size_and_quarantine_last(run: Run) -> None:
    recipes = [a["recipe"] for a in document.collect(run)["artifacts"]]
    assert recipes[:2] == ["float32", "float16"]
    assert recipes[-2:] == [LONG, QUARANTINED]
    assert [m["recipe"] for m in document.collect(run)["measurements"]] == recipes[:-1]


def test_identical_outputs_have_no_psnr() -> None:
    rows = document.build(comparisons=[comparison("float32"), comparison("int8")])["comparisons"]
    assert [(r["psnr_db"], r["identical"]) for r in rows] == [(None, True), (38.4, False)]


def test_pictures_stay_out_of_the_document() -> None:
    (row,) = document.build(comparisons=[comparison("int8")])["comparisons"]
    assert row["worst"][0]["label"] == 0
    assert "image" not in row["worst"][0]


def test_embeddings_are_told_but_not_drawn(run: Run) -> None:
    assert document.collect(run)["embeddings"] == [
        {"name": "hidden_2", "kind": "codes", "n": 300, "explained": [0.41, 0.1925]},
        {"name": "payment", "kind": "column", "n": 4, "explained": [0.75, 0.125]},
    ]
    (equal,) = document.build(embeddings=[replace(codes(), explained=None)])["embeddings"]
    assert equal["explained"] is None


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("labels", ["Cash"], "1 labels of 4 points"),
        ("counts", [1, 2, 3, 4, 5], "5 counts of 4 points"),
        ("points", [[0, 0], [0, 0], [0, 0], [0, "inf"]], "a point that is nowhere"),
    ],
)
def test_an_embedding_whose_parts_do_not_fit_is_damaged(run: Run, part: str, value: list[Any], said: str) -> None:
    path = run.path("embeddings", "payment.json")
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**whole, part: value}), encoding="utf-8")
    with pytest.raises(BrokenInput, match=f"payment.json: holds {said}"):
        document.collect(run)


@pytest.mark.parametrize("content", ['{"sparsity": [{"name": "hidden_1/kernel"}]}', '{"sparsity": 3}', "[]"])
def test_a_damaged_record_of_zeros_is_named(run: Run, content: str) -> None:
    run.path("bundle", "training.json").write_text(content, encoding="utf-8")
    with pytest.raises(BrokenInput, match=r"training\.json"):
        document.collect(run)


def test_a_model_from_elsewhere_tells_no_zeros(run: Run) -> None:
    run.path("bundle", "training.json").unlink()
    assert document.collect(run)["sparsity"] == []


def test_what_was_not_done_is_an_empty_list() -> None:
    found = document.build()
    assert (found["bundle"], found["run_dir"], found["model"]) == (None, None, None)
    lists = ("artifacts", "measurements", "comparisons", "speed", "warnings", "embeddings", "sparsity")
    assert [found[k] for k in lists] == [[]] * 7


def test_a_number_that_is_none_becomes_null() -> None:
    odd = replace(comparison("int8"), max_abs_error=math.nan, passed=False, verdict="broken: NaN")
    trained = replace(bundle(), metrics={"loss": math.inf})
    found = document.build(bundle=trained, comparisons=[odd])
    assert found["comparisons"][0]["max_abs_error"] is None
    assert found["bundle"]["metrics"] == {"loss": None}


def test_sizes_and_times_are_compared_with_float32(run: Run) -> None:
    found = document.collect(run)
    sizes = {a["recipe"]: a["size_ratio"] for a in found["artifacts"]}
    assert sizes["float32"] == 1
    assert sizes["int8"] == pytest.approx(127_904 / 481_012)
    speed = {s["recipe"]: s for s in found["speed"]}
    assert "float32" not in speed
    assert speed["dynamic_range"]["verdict"] == "faster"
    assert speed["dynamic_range"]["ratio"] == pytest.approx(0.444, abs=0.01)
    assert speed["int16x8"]["verdict"] == "slower"
    assert speed["float16"] == {**speed["float16"], "ratio": None, "verdict": "not compared: float16 is failed"}


def test_an_implausible_time_is_no_win() -> None:
    found = document.build(measurements=[measurement("float32"), measurement("int8", verdict="implausible")])
    assert found["speed"][0]["ratio"] is None
    assert found["speed"][0]["verdict"] == "not compared: int8 is implausible"


def test_times_of_different_rounds_or_targets_are_not_compared() -> None:
    apart = replace(measurement("int8"), runs=(process(5, 5.0),))
    elsewhere = measurement("int8", target="phone")
    found = document.build(measurements=[measurement("float32"), apart, elsewhere])
    assert [(s["target"], s["verdict"]) for s in found["speed"]] == [
        ("cpu", "not compared: never measured in the same round")
    ]


def test_differences_must_survive_holm(monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit import statistics

    monkeypatch.setattr(statistics, "ratio_p_value", lambda *_, **__: 0.03)
    one = document.build(measurements=[measurement("float32"), measurement("int8")])["speed"]
    two = document.build(measurements=[measurement(r) for r in ("float32", "int8", "dynamic_range")])["speed"]
    assert [(s["p_holm"], s["verdict"]) for s in one] == [(0.03, "faster")]
    assert [(s["p_holm"], s["verdict"]) for s in two] == [(0.06, "about the same, maybe")] * 2


def test_the_summary_counts_and_judges() -> None:
    made = records()
    assert document.build(**made)["summary"] == {
        "artifacts": 8, "quarantined": 1, "measurements": 7, "measurements_not_valid": 3, "measurements_failed": 1,
        "comparisons": 7, "comparisons_kept": 5, "comparisons_not_passed": 2, "passed": False,
    }  # fmt: skip
    good = {"artifacts": [artifact("int8")], "measurements": [measurement("int8")], "comparisons": [comparison("int8")]}
    assert document.build(**good)["summary"]["passed"] is True
    failed = {**good, "measurements": [measurement("int8", verdict="failed")]}
    assert document.build(**failed)["summary"]["passed"] is False


@pytest.mark.parametrize(
    "name",
    ["bundle/bundle.json", "artifacts/int8.json", f"artifacts/quarantine/{QUARANTINED}.json",
     "measurements/cpu/int8.json", "comparisons/cpu/int8.json", "embeddings/payment.json", "warnings.json"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["truncated", "another record", "a list", "wrong type"])
def test_a_damaged_record_is_named(run: Run, name: str, damage: str) -> None:
    path = run.path(*name.split("/"))
    whole = path.read_text(encoding="utf-8")
    wrong = {"truncated": whole[: len(whole) // 2], "another record": '{"schema_version": 1}', "a list": "[1]"}
    key = next(k for k in json.loads(whole) if k != "schema_version")
    path.write_text(wrong.get(damage, json.dumps({**json.loads(whole), key: 7})), encoding="utf-8")
    with pytest.raises(BrokenInput) as caught:
        document.collect(run)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_what_is_not_a_record_is_left_alone(run: Run) -> None:
    run.path("artifacts", "int8.tflite").write_bytes(b"TFL3")
    run.path("measurements", "notes.txt").write_text("mine", encoding="utf-8")
    assert len(document.collect(run)["artifacts"]) == 8
