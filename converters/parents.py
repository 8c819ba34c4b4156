"""Float parents of artifacts: the bundle's own SavedModel, or what a recipe's steps made of its Keras model.

Steps are a chain, and every prefix of it is a stage of its own: recipes that begin alike share what they have in
common, so that six recipes on a pruned model prune once. ``parents/<prefix>/`` holds the Keras file and, where an
artifact is converted from it, ``saved_model``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from converters import bundle as bundles
from converters import gate, keras_models, rebuild, recipes, saved_model, tflite
from converters.job import Conversion, signatures
from converters.recipes import RecipeModule
from converters.steps import FineTuning, Step
from toolkit import flatbuffer, parity
from toolkit.errors import BrokenInput
from toolkit.records import Signature
from toolkit.store import key_of, read_json, replacing, write_bytes, write_json
from toolkit.training import keras_file

NOTES = "notes.json"
"""Beside the Keras file of a step: what it found out."""


class Parents:
    """The float parents of one conversion, each made and loaded once."""

    def __init__(self, job: Conversion) -> None:
        self._job = job
        self._loaded: dict[str, saved_model.Loaded] = {}
        self.inputs, self.labels = job.evidence()

    def saved_model(self, module: RecipeModule) -> Path:
        """The SavedModel that the recipe's converter reads.

        Raises:
            BrokenInput: a step cannot change this model.
            CheckFailed: a step's fine-tuning failed.
        """
        steps = steps_of(module)
        if not steps:
            return self._job.run.path(self._job.bundle.saved_model)
        keras = self._stepped(steps)
        return self._exported(keras, steps)

    def for_one_sample(self, module: RecipeModule) -> Path | None:
        """The parent for one sample a call, which recurrent layers need; ``None`` for a model without a Keras file.

        Its recurrent layers are loops of plain operators. TFLite's own LSTM keeps its state from one call to the next,
        and whoever does not reset it gets the answer to all samples since: 0.06 off on a made-up network.
        """
        job, steps = self._job, steps_of(module)
        if job.bundle.keras_file is None:
            return None
        keras = self._stepped(steps) if steps else job.run.path(job.bundle.keras_file)
        version = 2 if steps else job.bundle.keras_version or 2
        name = f"{slug(steps)}+one-sample" if steps else "one-sample"
        folder = job.run.path("parents", name, "saved_model")

        def work() -> Iterable[Path]:
            model = keras_models.load(keras, version, unsafe=job.unsafe)
            layers = bundles.layers(job.bundle)
            with keras_models.plain_loops(model), replacing(folder) as beside:
                saved_model.export_to(model, beside, keras_version=version, layers=layers, batch=1)
            return [folder]

        key = key_of({"parent": job.bundle.sha256, "after": self._key(steps) if steps else None})
        job.run.stage(f"parent-{name}", key, work)
        return folder

    def float_file(self) -> Path:
        """The bundle as a plain float ``.tflite`` of its main signature alone, in which tensors are looked at.

        Raises:
            BrokenInput: the converter cannot express the model.
        """
        job = self._job
        made = job.run.path("parents", "float.tflite")
        plain = recipes.load("float32")

        def work() -> Iterable[Path]:
            key = job.bundle.signature.key
            try:
                data = tflite.convert(job.run.path(job.bundle.saved_model), key, plain, None)
            except tflite.NeedsFixedBatch:
                fixed = self.for_one_sample(plain)
                if fixed is None:
                    raise
                data = tflite.convert(fixed, key, plain, None)
            write_bytes(made, data)
            return [made]

        job.run.stage("parent-float", key_of({"parent": job.bundle.sha256, "versions": bundles.versions()}), work)
        return made

    def must_have_ranges(self, where: str) -> None:
        """Refuses a model whose tensors cannot all be looked at.

        TensorFlow's calibrator ends the process on a loop (segmentation fault), and ai-edge-quantizer gives up.

        Raises:
            BrokenInput: it has a loop.
        """
        if "WHILE" in flatbuffer.read(self.float_file()).op_counts():
            raise BrokenInput(
                "the model has a loop, of a recurrent layer, in which no ranges can be measured",
                where=where,
                remedy="take dynamic_range or float16, or build the layer with unroll=True",
            )

    def evidence(self, path: Path) -> gate.Evidence:
        """The float parent's answers for the evidence inputs, by every signature."""
        bundle = self._job.bundle
        if str(path) not in self._loaded:
            self._loaded[str(path)] = saved_model.Loaded(path, bundle.signature.key)
        loaded = self._loaded[str(path)]

        def of(signature: Signature) -> gate.Evidence:
            inputs = {spec.name: self.inputs[spec.name] for spec in signature.inputs}
            called = loaded.also(signature.key)
            reference = called(inputs)
            # The samples' classes are the main signature's answers; nothing says that others answer with scores.
            noise = functools.cache(lambda: parity.change(reference, called(parity.nudged(inputs))))
            return gate.Evidence(inputs=inputs, reference=reference, signature=signature, real=False, noise=noise)

        main, *others = map(of, (bundle.signature, *bundle.signatures))
        real = self._job.calibration is not None
        return dataclasses.replace(main, real=real, labels=self.labels, further=tuple(others))

    def _stepped(self, steps: Sequence[Step]) -> Path:
        """The Keras file after all ``steps``, the last of which is made here if it is not there."""
        job, run = self._job, self._job.run
        assert job.bundle.keras_file is not None
        if not steps:
            return self._rebuilt() if job.bundle.keras_version == 3 else run.path(job.bundle.keras_file)
        source = self._stepped(steps[:-1])
        made = run.path("parents", slug(steps), f"model{steps[-1].suffix}")

        def work() -> Iterable[Path]:
            training = job.training
            assert training is not None
            assert training.labels is not None
            data = FineTuning(inputs=training.inputs, labels=training.labels, seed=job.seed, progress=job.progress)
            # What an earlier model left under this name goes, with the SavedModel made of it.
            with replacing(made.parent) as beside:
                beside.mkdir()
                keras_file.save(steps[-1](source, data), beside / made.name)
                write_json(beside / NOTES, data.notes)
            return [made, made.with_name(NOTES)]

        run.stage(f"parent-{slug(steps)}", self._key(steps), work)
        return made

    def _rebuilt(self) -> Path:
        """A Keras 3 model's twin in Keras 2, which alone TFMOT takes."""
        job = self._job
        made = job.run.path("parents", "keras2", "model.keras")

        def work() -> Iterable[Path]:
            with job.progress.task("rebuild in Keras 2"):
                source = job.run.path(str(job.bundle.keras_file))
                model = rebuild.rebuild(source, job.bundle.signature, unsafe=job.unsafe)
                made.parent.mkdir(parents=True, exist_ok=True)
                keras_file.save(model, made)
            return [made]

        key = key_of({"parent": job.bundle.sha256, "versions": bundles.versions()})
        job.run.stage("parent-keras2", key, work)
        return made

    def notes(self, module: RecipeModule) -> dict[str, Any]:
        """What the recipe's steps found out, once :meth:`saved_model` has made them."""
        found: dict[str, Any] = {}
        steps = steps_of(module)
        for i in range(len(steps)):
            kept = read_json(self._job.run.path("parents", slug(steps[: i + 1]), NOTES))
            found.update({key: value for key, value in kept.items() if key != "schema_version"})
        return found

    def _exported(self, keras: Path, steps: Sequence[Step]) -> Path:
        """The SavedModel beside a Keras file, which is loaded anew: names must not depend on what happened before."""
        folder = keras.parent / "saved_model"

        def work() -> Iterable[Path]:
            layers = bundles.layers(self._job.bundle)
            with replacing(folder) as beside:
                saved_model.export_to(keras_models.load(keras, 2), beside, keras_version=2, layers=layers)
            return [keras, folder]

        self._job.run.stage(f"parent-{slug(steps)}-saved-model", self._key(steps), work)
        return folder

    def _key(self, steps: Sequence[Step]) -> str:
        job = self._job
        assert job.training is not None
        return key_of(
            {
                "steps": [step.describe() for step in steps],
                "parent": job.bundle.sha256,
                "training": job.training.digest,
                "seed": job.seed,
                "versions": bundles.versions(),
                **signatures(job.bundle),
            }
        )


def steps_of(module: RecipeModule) -> tuple[Step, ...]:
    """The recipe's steps, none of most."""
    found: Any = getattr(module, "STEPS", ())
    return tuple(found)


def slug(steps: Sequence[Step]) -> str:
    """A chain of steps as one folder name, e.g. ``prune-80+cluster-16``."""
    return "+".join(step.name for step in steps)
