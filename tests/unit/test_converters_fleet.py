"""Runtimes that somebody named: what is made for them, what is refused, and what the gate says of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import fleet
from fakes import kinds as fakes

from converters import bundle, convert, gate, kinds, legality, recipes
from converters.parents import Parents
from devices import runtimes
from toolkit import flatbuffer
from toolkit.cli import stages
from toolkit.datasets._dataset import Split
from toolkit.errors import MissingError, UsageError
from toolkit.progress import Progress
from toolkit.store import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TensorFlow's own

OLDEST = "==".join(runtimes.OLDEST)
OWN = f"ai-edge-litert=={runtimes.installed('ai-edge-litert')}"
OLDER = "tflite-runtime==2.9.1"


def need(text: str) -> None:
    why = fleet.absent(text)
    if why:
        pytest.skip(why)


@pytest.fixture
def job(tmp_path: Path) -> convert.Conversion:
    """A network of dense layers whose channels differ in scale, with calibration data."""
    run, quiet = Run(tmp_path / "run"), Progress(quiet=True)
    kept = run.path("bundle", "model.keras")
    kept.parent.mkdir()
    fakes.pruned("dense", "dense").save(kept)
    made = bundle.create(run, name="dense", keras_file=kept, keras_version=2, progress=quiet)
    inputs = {"x": np.random.default_rng(5).random((100, 128), dtype=np.float32)}
    # Labels that are no classes: of a network that learned nothing the largest output is none either.
    calibration = Split(inputs=inputs, labels=np.zeros(100), digest="calibration")
    return convert.Conversion(run=run, bundle=made, calibration=calibration, progress=quiet)


def test_every_named_runtime_is_a_check_of_its_own(job: convert.Conversion) -> None:
    need(OLDEST)
    named = (OLDEST, OWN)
    (artifact,) = convert.convert(dataclasses.replace(job, fleet=named), ["int8"])
    assert artifact.gate.passed
    checks = {c.name: c.detail for c in artifact.gate.checks}
    assert [name for name in checks if name.startswith("runtime ")] == [f"runtime {text}" for text in named]
    assert "without XNNPACK" in checks[f"runtime {OWN}"]
    assert "without XNNPACK" not in checks[f"runtime {OLDEST}"], "its wheels delegate nothing: one run tells all"
    assert artifact.runtime_floor == dict([runtimes.OLDEST])
    assert artifact.data["label"]["granularity"] == "per-channel", "2.14 knows a scale per channel"
    assert kinds.Kind("dense", "dense", "int8, per channel") in kinds.of_file(
        flatbuffer.read(job.run.path(artifact.path))
    )


def test_a_runtime_that_does_not_load_the_file_fails_the_gate(
    job: convert.Conversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(OLDEST)

    def configure(converter: Any, representative: Any) -> None:
        import tensorflow as tf

        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    # A scale per channel under the name of dynamic_range, which says that it has one: nobody can refuse it beforehand.
    plain = recipes.load("dynamic_range")
    made = SimpleNamespace(RECIPE=plain.RECIPE, configure=configure, expect=plain.expect)
    monkeypatch.setattr(recipes, "load", lambda name: made)
    (artifact,) = convert.convert(dataclasses.replace(job, fleet=(OLDEST,)), ["dynamic_range"])
    assert [c.name for c in artifact.gate.checks if not c.passed] == [f"runtime {OLDEST}"]
    (line,) = stages.failures([artifact], [], [], False)
    assert line.startswith(f"dynamic_range: gate check runtime {OLDEST} failed: ")
    assert "'FULLY_CONNECTED' version '12'" in line
    assert line.endswith("take a recipe that leaves it in float, such as float16 or dynamic_range")
    assert artifact.path.startswith("artifacts/quarantine/")
    # The same without the runtime: another stage, which passes, and only its floor is newer.
    (fine,) = convert.convert(job, ["dynamic_range"])
    assert fine.gate.passed
    assert fine.runtime_floor == {"ai-edge-litert": runtimes.installed("ai-edge-litert")}


def test_a_recipe_is_made_so_that_the_older_runtime_is_right(job: convert.Conversion) -> None:
    need(OLDER)
    names = ["int8", "int8_float_io", "int16x8"]
    found = convert.convert(dataclasses.replace(job, fleet=(OLDER,)), names)
    for artifact in found:
        assert [c.detail for c in artifact.gate.checks if not c.passed] == []
        assert artifact.runtime_floor == {"tflite-runtime": "2.9.1"}
        assert artifact.data["label"]["granularity"] == "per-tensor in dense layers, per-channel in convolutions"
        dtypes = {kind.dtype for kind in kinds.of_file(flatbuffer.read(job.run.path(artifact.path)))}
        assert all("per tensor" in dtype for dtype in dtypes), dtypes


def test_unadjusted_the_older_runtime_is_wrong_in_silence(job: convert.Conversion) -> None:
    need(OLDER)
    (artifact,) = convert.convert(job, ["int8"])
    assert artifact.gate.passed
    evidence = Parents(job).evidence(job.run.path(job.bundle.saved_model))
    verdict = gate.judge(job.run.path(artifact.path), recipes.load("int8"), evidence, [OLDER])
    (failed,) = [c for c in verdict.gate.checks if not c.passed]
    assert failed.name == f"runtime {OLDER}"
    assert failed.detail.startswith("PSNR 1")


def test_what_is_known_not_to_run_there_is_refused_with_reason_and_alternative(job: convert.Conversion) -> None:
    there = dataclasses.replace(job, fleet=(OLDER,))
    with pytest.raises(UsageError) as refused:
        convert.convert(there, ["float32", "dynamic_int4"])
    assert str(refused.value) == (
        "recipe dynamic_int4 makes dense layers in dynamic int4, per channel (every value stored), "
        "which tflite-runtime==2.9.1 refuses (Unsupported data type 17): use dynamic_range"
    )
    assert not job.run.path("artifacts").exists(), "nothing was converted"
    # With --all it is left out with the same words.
    chosen = stages.choose_recipes(there, [], True)
    assert "dynamic_int4" not in chosen
    assert {"float32", "dynamic_range", "int8", "weight_only_int8"} <= set(chosen)
    assert any("dynamic_int4 left out: it makes dense layers" in line for line in there.progress.warnings)
    assert legality.refusal(recipes.load("dynamic_int4"), job.bundle, (OLDEST,)) is None


def test_a_runtime_that_is_gone_is_said(job: convert.Conversion, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "ai-edge-litert==0.0.1"
    (artifact,) = convert.convert(dataclasses.replace(job, fleet=(text,)), ["float32"])
    (failed,) = [c for c in artifact.gate.checks if not c.passed]
    assert failed.name == f"runtime {text}"
    assert "is not here" in failed.detail
    with pytest.raises(MissingError):
        runtimes.python_of(*runtimes.parse(text))
