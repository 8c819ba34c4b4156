"""The devices on real converted models: both sides answer alike, batches keep every bit, a quick run is sound."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices import harness, roofline, runtimes, targets, validate
from devices.runners import portable
from toolkit.errors import BrokenInput
from toolkit.records import Plan

pytestmark = pytest.mark.slow
P = "probabilities"
IMAGES = np.random.default_rng(5).random((200, 28, 28), dtype=np.float32)


def one_by_one(model: Path) -> np.ndarray:
    """What a bare interpreter says to one sample after the other."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    given, asked = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for image in IMAGES:
        interpreter.set_tensor(given["index"], portable.fit(image[None], given, "image"))
        interpreter.invoke()
        found.append(interpreter.get_tensor(asked["index"])[0])
    return np.array(found)


@pytest.mark.parametrize("name", ["dense", "conv"])
@pytest.mark.parametrize("form", ["float32", "int8"])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_answer_bit_for_bit_like_a_bare_interpreter(
    tiny_models: dict[str, Any], name: str, form: str, batch: int
) -> None:
    model = getattr(tiny_models[name], form)
    found = targets.open("cpu").answer(model, {"image": IMAGES}, batch=batch)
    expected = one_by_one(model)
    assert found.raw[P].dtype == expected.dtype
    assert found.raw[P].tobytes() == expected.tobytes()
    if form == "int8":
        assert found.provenance["batch"] == batch
        scaled = (expected.astype(np.float64) + 128) / 256
        assert np.allclose(found.outputs[P], scaled, atol=1e-7)


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_cloud_and_edge_agree(tiny_models: dict[str, Any], name: str) -> None:
    models = tiny_models[name]
    cloud = targets.open("saved-model").answer(models.saved_model, {"image": IMAGES})
    assert cloud.outputs[P].shape == (200, 10)
    assert cloud.delegated_ops is None
    assert cloud.provenance["delegation_unknown"]
    labels = cloud.outputs[P].argmax(axis=1)
    for form, near in (("float32", 1e-5), ("int8", 0.1)):
        edge = targets.open("cpu").answer(getattr(models, form), {"image": IMAGES})
        found = validate.compare(
            recipe=form, target="cpu", against="saved-model", edge=edge, cloud=cloud, labels=labels,
            inputs={"image": IMAGES}, budget=1.0,
        )  # fmt: skip
        assert found.cloud == 1.0
        assert found.passed
        assert found.max_abs_error is not None
        assert found.max_abs_error < near
        assert found.agreement == found.edge
    assert len(found.worst) == validate.WORST
    assert found.worst[0]["image"]["shape"] == [28, 28]


def test_integer_inputs_pass_as_they_are(tiny_models: dict[str, Any]) -> None:
    device, model = targets.open("cpu"), tiny_models["dense"].int8
    real = device.answer(model, {"image": IMAGES})
    levels = np.rint(IMAGES / np.float32(1 / 255)).astype(np.int16) - 128
    # The calibrated scale need not be 1/255 to the last bit: a level may differ by one, the answer hardly.
    given = device.answer(model, {"image": levels.clip(-128, 127).astype(np.int8)})
    assert np.abs(real.outputs[P] - given.outputs[P]).max() <= 2 / 256


def test_threads_and_xnnpack_change_no_class(tiny_models: dict[str, Any]) -> None:
    model = tiny_models["conv"].int8
    answers = [
        targets.open(spec).answer(model, {"image": IMAGES}) for spec in ("cpu", "cpu:threads=2", "cpu:xnnpack=off")
    ]
    assert all(np.abs(a.outputs[P] - answers[0].outputs[P]).max() <= 2 / 256 for a in answers)
    taken, total = answers[0].delegated_ops
    assert 0 < taken <= total
    assert answers[2].delegated_ops == (0, total)


def test_a_quick_run_is_plausible_and_quick(tiny_models: dict[str, Any]) -> None:
    models = [("float32", tiny_models["dense"].float32), ("int8", tiny_models["dense"].int8)]
    began = time.monotonic()
    measured = harness.measure(models, targets.open("cpu"), harness.QUICK)
    assert time.monotonic() - began < 30
    for measurement in measured:
        row = harness.row(measurement)
        assert row["processes"] == 2
        assert row["samples"] >= 64
        assert sum(sum(run.samples_ns) * run.batch_k for run in measurement.runs) >= 0.9e9
        assert measurement.verdict in ("valid", "unstable", "throttled"), measurement.reasons
        assert 0 < row["median_us"] < 1000
        assert row["median_us"] > measurement.provenance["floor_us"]
    assert measured[0].provenance["aa_control"]["ratio"] == pytest.approx(1, abs=0.3)


def test_the_roofline_counts_the_arithmetic(tiny_models: dict[str, Any], tmp_path: Path) -> None:
    macs = 784 * 32 + 32 * 10
    assert roofline.floor_us(tiny_models["dense"].float32, 1) == pytest.approx(macs / (64 * 6.5e3))
    assert roofline.floor_us(tiny_models["dense"].int8, 2) == pytest.approx(macs / (1024 * 6.5e3 * 2))
    assert roofline.floor_us(tiny_models["dense"].saved_model, 1) is None
    assert roofline.floor_us(tmp_path / "none.tflite", 1) is None


def test_a_saved_model_is_timed(tiny_models: dict[str, Any]) -> None:
    plan = Plan(
        mode="quick", processes=1, min_samples=8, min_seconds=0.05, max_seconds=5.0, warmup_min_seconds=0.05,
        warmup_max_seconds=0.5,
    )  # fmt: skip
    found = targets.open("saved-model").time(tiny_models["dense"].saved_model, None, plan, round=0)
    assert len(found.run.samples_ns) >= 8
    assert found.run.init_us > 0
    assert found.provenance["runtime"] == "tensorflow"


def test_the_cloud_refuses_what_does_not_fit(tiny_models: dict[str, Any], tmp_path: Path) -> None:
    device = targets.open("saved-model")
    with pytest.raises(BrokenInput, match="missing image, unknown pixels"):
        device.answer(tiny_models["dense"].saved_model, {"pixels": IMAGES})
    with pytest.raises(BrokenInput, match="no signature 'train'"):
        device.answer(tiny_models["dense"].saved_model, {"image": IMAGES}, signature="train")
    (tmp_path / "saved_model.pb").write_bytes(b"rubbish")
    with pytest.raises(BrokenInput, match="does not load"):
        device.answer(tmp_path, {"image": IMAGES})


def test_tflite_runtime_answers_bit_for_bit_in_batches(tiny_models: dict[str, Any]) -> None:
    if runtimes.locate(*runtimes.OLDEST) is None:
        pytest.skip(runtimes.why_not() or "its environment is not installed; scripts/bootstrap makes it")
    device = targets.open("cpu:runtime=tflite-runtime==2.14.0")
    for model in (tiny_models["dense"].float32, tiny_models["conv"].int8):
        batched, single = (device.answer(model, {"image": IMAGES}, batch=b) for b in (64, 1))
        assert batched.raw[P].tobytes() == single.raw[P].tobytes()


@pytest.fixture(scope="module")
def odd_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models whose batch is not the plain one."""
    import tensorflow as tf

    def spec(name: str, *shape: int | None) -> Any:
        return tf.TensorSpec(shape, tf.float32, name=name)

    class Odd(tf.Module):
        @tf.function(input_signature=[spec("x", None, 3)])
        def first(self, x: Any) -> dict[str, Any]:
            return {"y": x * 2}

        @tf.function(input_signature=[spec("z", None, 3)])
        def second(self, z: Any) -> dict[str, Any]:
            return {"w": z + 1.0, "v": tf.reduce_sum(z, axis=1)}

        @tf.function(input_signature=[spec("x", 3)])
        def unbatched(self, x: Any) -> dict[str, Any]:
            return {"y": x * 2}

        @tf.function(input_signature=[spec("x", 8, 3)])
        def eights(self, x: Any) -> dict[str, Any]:
            return {"y": x * 2}

        @tf.function(input_signature=[spec("x", None, 3)])
        def mixing(self, x: Any) -> dict[str, Any]:
            return {"y": x + tf.reduce_mean(x)}

    made, odd = {}, Odd()
    wanted = {name: {"serving_default": getattr(odd, name)} for name in ("unbatched", "eights", "mixing")}
    for name, signatures in {**wanted, "two": {"first": odd.first, "second": odd.second}}.items():
        folder = tmp_path_factory.mktemp(name)
        tf.saved_model.save(odd, str(folder), signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=list(signatures))
        made[name] = folder / "model.tflite"
        made[name].write_bytes(converter.convert())
    return made


def test_odd_batches_answer_like_batch_1(odd_models: dict[str, Path]) -> None:
    x, device = IMAGES[:, 0, :3], targets.open("cpu")
    found = device.answer(odd_models["unbatched"], {"x": x})
    assert np.array_equal(found.outputs["y"], x * 2)
    assert found.provenance["not_batched"] == "the model's inputs have no batch dimension"
    found = device.answer(odd_models["eights"], {"x": x[:30]})
    assert np.array_equal(found.outputs["y"], x[:30] * 2)
    assert found.provenance["batch"] == 8
    found = device.answer(odd_models["mixing"], {"x": x})
    assert np.allclose(found.outputs["y"], x + x.mean(axis=1, keepdims=True))
    assert found.provenance["not_batched"] == "batches of 64 do not answer bit for bit like batch 1"


def test_every_signature_can_be_asked(odd_models: dict[str, Path]) -> None:
    x, device = IMAGES[:, 0, :3], targets.open("cpu")
    assert np.array_equal(device.answer(odd_models["two"], {"x": x}, signature="first").outputs["y"], x * 2)
    second = device.answer(odd_models["two"], {"z": x}, signature="second")
    assert np.array_equal(second.outputs["w"], x + 1)
    assert second.outputs["v"].shape == (200,)
    assert second.delegated_ops is None
    assert second.provenance["delegation_unknown"]
    with pytest.raises(BrokenInput, match="it has: first, second"):
        device.answer(odd_models["two"], {"x": x}, signature="third")
