"""``inspect --runtimes``, ``doctor --runtime`` and ``recipes list --legality``: what they say and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.command import Done

from converters.kinds import Kind
from devices import runtimes
from devices.targets import cpu
from toolkit import flatbuffer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TensorFlow's own

OWN = f"ai-edge-litert=={runtimes.installed('ai-edge-litert')}"
ROW: dict[str, tuple[type, ...]] = {
    "runtime": (str,),
    "xnnpack": (bool,),
    "loads": (bool,),
    "runs": (bool,),
    "agree": (bool, type(None)),
    "max_abs_error": (int, float, type(None)),
    "why": (str, type(None)),
}
SILENT = Kind("dense", "blocks", "dynamic int8, per channel")
REFUSED = Kind("dense", "unstructured", "int8, per tensor")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own runtime and the last tflite-runtime, if it is here: an older one in the cache would rightly disagree."""
    python = runtimes.locate(*runtimes.OLDEST)
    folder = tmp_path / "cache" / "runtimes"
    folder.mkdir(parents=True)
    if python is not None:
        (folder / python.parents[1].name).symlink_to(python.parents[1])
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path / "cache"))


def agreement(done: Done) -> tuple[dict[str, Any], dict[tuple[str, bool], dict[str, Any]]]:
    """The document, and its rows by runtime and XNNPACK, in the promised form."""
    found = json.loads(done.out)
    for row in found["runtimes"]:
        assert all(isinstance(row[field], types) for field, types in ROW.items()), row
        assert row["loads"] or not row["runs"]
        assert row["agree"] or row["why"], "whoever does not agree says why"
    return found, {(row["runtime"], row["xnnpack"]): row for row in found["runtimes"]}


def test_a_file_of_a_run_is_held_against_its_float_parent(edge_export: Callable[..., Done], converted: Any) -> None:
    done = edge_export("inspect", converted.file("int8"), "--runtimes", "--json")
    assert done.code == 0, done.err
    found, rows = agreement(done)
    assert found["reference"].startswith("the float parent ")
    assert "PSNR 30 dB" in found["tolerance"]
    assert {text for text, _ in rows} == set(runtimes.available())
    assert all(row["agree"] and row["why"] is None for row in rows.values())
    assert rows[OWN, True]["max_abs_error"] > 0, "8 bits are not exact"
    assert rows[OWN, True]["delegated_ops"][0] > 0
    assert rows[OWN, False]["delegated_ops"][0] == 0
    assert found["ops"]["FULLY_CONNECTED"] == 2, "the rest of inspect is still there"


def test_a_copy_without_its_record_is_held_against_the_newest(
    edge_export: Callable[..., Done], converted: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "alone.tflite"
    copy.write_bytes(converted.file("float32").read_bytes())
    done = edge_export("inspect", copy, "--runtimes")
    assert done.code == 0, done.err
    assert f"runtimes, against {OWN} without XNNPACK (no float parent is known), within max-abs 0.0001" in done.out
    assert done.out.count("agrees") == 2 * len(runtimes.available())


def test_a_record_of_another_file_leads_nowhere(
    edge_export: Callable[..., Done], converted: Any, tmp_path: Path
) -> None:
    for name, source in (("x.tflite", "int8"), ("x.json", "float32")):
        (tmp_path / name).write_bytes(converted.file(source).with_suffix(Path(name).suffix).read_bytes())
    found, _ = agreement(edge_export("inspect", tmp_path / "x.tflite", "--runtimes", "--json"))
    assert found["reference"].startswith(OWN)


def test_what_is_wrong_in_silence_ends_with_1(edge_export: Callable[..., Done], zoo: Any) -> None:
    done = edge_export("inspect", zoo.file(SILENT, "TFLiteConverter"), "--runtimes", "--json")
    found, rows = agreement(done)
    assert done.code == 1
    assert found["reference"].startswith(f"{OWN} without XNNPACK")
    wrong = rows[OWN, True]
    assert (wrong["loads"], wrong["runs"], wrong["agree"]) == (True, True, False)
    assert wrong["why"].startswith("PSNR -")
    assert wrong["max_abs_error"] > 1
    assert "gets wrong with XNNPACK" in wrong["known"]
    assert rows[OWN, False]["agree"] is True
    assert f"failed: {OWN}: PSNR -" in done.err


def test_what_does_not_load_is_no_disagreement(edge_export: Callable[..., Done], zoo: Any) -> None:
    done = edge_export("inspect", zoo.file(REFUSED, "TFLiteConverter"), "--runtimes", "--json")
    assert done.code == 0, done.err
    _, rows = agreement(done)
    refused = rows[OWN, True]
    assert (refused["loads"], refused["runs"], refused["agree"]) == (False, False, None)
    assert "failed to delegate FULLY_CONNECTED" in refused["why"]
    assert rows[OWN, False]["agree"] is True
    plain = edge_export("inspect", zoo.file(REFUSED, "TFLiteConverter"), "--runtimes")
    assert "does not load: RuntimeError: failed to delegate" in plain.out
    assert "known: refuses with XNNPACK" in plain.out


@pytest.mark.parametrize(("stage", "loads", "code"), [("infer", True, 1), ("allocate", False, 0)])
def test_a_crash_in_native_code_is_a_reason(
    edge_export: Callable[..., Done],
    tiny_models: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    loads: bool,
    code: int,
) -> None:
    crash = tmp_path / "portable.py"
    crash.write_text(f"import os\nopen('stage', 'w').write('{stage}')\nos.abort()\n")
    monkeypatch.setattr(cpu, "RUNNER_FILES", (crash,))
    done = edge_export("inspect", tiny_models["dense"].float32, "--runtimes", "--json")
    assert done.code == code
    found, rows = agreement(done)
    assert found["reference"] == "none: it runs on no runtime without XNNPACK"
    assert all(row["loads"] is loads and row["runs"] is False for row in rows.values())
    assert all(f"SIGABRT in stage '{stage}'" in row["why"] for row in rows.values())


def test_samples_of_ones_own(edge_export: Callable[..., Done], tiny_models: dict[str, Any], tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 28, 28), dtype=np.float32)
    np.savez(tmp_path / "good.npz", image=images)
    np.savez(tmp_path / "wrong.npz", pixels=images)
    words = ("inspect", tiny_models["conv"].int8, "--json", "--data")
    assert edge_export(*words, "good.npz", "--runtimes").code == 0
    wrong = edge_export(*words, "wrong.npz", "--runtimes")
    assert (wrong.code, "'image'" in wrong.error) == (5, True)
    alone = edge_export(*words, "good.npz")
    assert (alone.code, "--runtimes" in alone.error) == (2, True)


def test_inputs_that_cannot_be_made_up_ask_for_samples(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(tiny_models["dense"].float32.read_bytes(), 0)
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = schema.TensorType.STRING
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "words.tflite").write_bytes(bytes(builder.Output()))
    assert flatbuffer.read(tmp_path / "words.tflite").signature().inputs[0].dtype == "string"
    done = edge_export("inspect", "words.tflite", "--runtimes")
    assert done.code == 5
    assert "give samples with --data data.npz" in done.error


def test_a_damaged_file_is_one_line(
    edge_export: Callable[..., Done], tiny_models: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "cut.tflite").write_bytes(tiny_models["dense"].float32.read_bytes()[:3000])
    done = edge_export("inspect", "cut.tflite", "--runtimes")
    assert (done.code, "damaged or truncated" in done.error) == (5, True)


def test_doctor_says_how_to_get_a_runtime(edge_export: Callable[..., Done]) -> None:
    done = edge_export("doctor", "--runtime", "ai-edge-litert==0.0.1", "--json")
    assert done.code == 3
    rows = {f"{row['runtime']}=={row['version']}": row for row in json.loads(done.out)["runtimes"]}
    assert set(runtimes.available()) < set(rows)
    assert rows[OWN]["works"] is True
    absent = rows["ai-edge-litert==0.0.1"]
    assert (absent["works"], absent["why"]) == (False, "its environment is not installed")
    assert absent["remedy"] == "edge-export doctor --fix --runtime ai-edge-litert==0.0.1 makes it"


def test_the_legality_table_as_text_and_for_programs(edge_export: Callable[..., Done]) -> None:
    done = edge_export("recipes", "list", "--legality", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["legality"]
    found = next(
        row for row in rows if (row["layer"], row["pattern"], row["dtype"]) == tuple(SILENT) and row["xnnpack"] is True
    )
    assert (found["runtime"], found["verdict"]) == ("ai-edge-litert==2.3.0", "wrong")
    assert "-21 dB" in found["evidence"]
    assert found["instead"].startswith("dynamic_range")
    assert found["reproduce"].endswith("--only 'dense/blocks/dynamic int8, per channel'")
    plain = edge_export("recipes", "list", "--legality").out
    line = next(x for x in plain.splitlines() if x.startswith("dense/blocks/dynamic int8, per channel "))
    assert "WRONG, -21 dB" in line
    assert "legality" not in json.loads(edge_export("recipes", "list", "--json").out)
