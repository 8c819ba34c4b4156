"""One artifact on its way: converted, judged beside the conversion of the next, recorded."""

from __future__ import annotations

import os
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from converters import bundle as bundles
from converters import contract, gate, metadata, snippets, tflite
from converters.job import Conversion, named, signatures
from converters.parents import Parents, steps_of
from converters.recipes import RecipeModule
from devices import runtimes
from toolkit.records import Artifact, from_json, to_json
from toolkit.store import gzip_size, key_of, read_json, remove, replacing, sha256_file, sha256_tree, write_json


class Making:
    """Converts a bundle by one recipe, unless that is done, and hands the file to its gate.

    Args:
        job: bundle and data.
        module: the recipe.
        parents: where the recipe's float parent comes from.
        pool: runs the gate.

    Raises:
        BrokenInput: the model cannot be converted, or cannot be changed as a step asks.
        CheckFailed: a step's fine-tuning failed.
    """

    def __init__(self, job: Conversion, module: RecipeModule, parents: Parents, pool: Executor) -> None:
        self.name = module.RECIPE.name
        self._job, self._module = job, module
        self._final = job.run.path("artifacts", f"{self.name}.tflite")
        self._quarantine = job.run.path("artifacts", "quarantine", self._final.name)
        self._calibration = job.calibration if "calibration" in module.RECIPE.needs else None
        self._parent = self._source = parents.saved_model(module)
        self._notes = parents.notes(module)
        self._key = self._key_of()
        self._verdict: Future[gate.Verdict] | None = None
        if job.run.done(self._stage, self._key):
            return
        job.run.forget(self._stage)
        with job.progress.task(f"convert {self.name}"):
            self._contract = self._converted(parents)
        self._verdict = pool.submit(
            gate.judge, self._quarantine, self._module, parents.evidence(self._parent), job.fleet
        )

    def settle(self) -> Artifact:
        """Waits for the gate, gives the file its final name if it passed, and records what it is."""
        run = self._job.run
        if self._verdict is not None:
            verdict = self._verdict.result()
            self._job.progress.say(f"gate {self.name}: {'passed' if verdict.gate.passed else 'FAILED'}")
            run.finish(self._stage, self._key, self._recorded(verdict))
        record = self._final.with_suffix(".json")
        return from_json(Artifact, read_json(record if record.exists() else self._quarantine.with_suffix(".json")))

    @property
    def _stage(self) -> str:
        return f"convert-{self.name}"

    def _key_of(self) -> str:
        job, recipe = self._job, self._module.RECIPE
        return key_of(
            {
                "recipe": recipe,
                "steps": [step.describe() for step in steps_of(self._module)],
                "parent": job.bundle.sha256,
                "calibration": self._calibration.digest if self._calibration else None,
                "evidence": job.calibration.digest if job.calibration else job.seed,
                "training": job.training.digest if job.training and "fine-tuning" in recipe.needs else None,
                # Once the oldest runtime is installed, the floor is worth asking for again.
                "floor": runtimes.locate(*runtimes.OLDEST) is not None,
                "versions": bundles.versions(),
                **signatures(job.bundle),
                **named(job),
                **self._deciding(),
            }
        )

    def _deciding(self) -> dict[str, Any]:
        """Part of the key of a recipe that decides something by the data, and none of that of others."""
        if not hasattr(self._module, "decide"):
            return {}
        job = self._job
        training = job.training.digest if job.training else None
        return {"decides": {"keep_float": job.keep_float, "budget": job.budget, "training": training, "seed": job.seed}}

    def _converted(self, parents: Parents) -> dict[str, Any]:
        """Writes the file into quarantine and returns its contract."""
        bundle = self._job.bundle
        if self._calibration is not None:
            parents.must_have_ranges(f"recipe {self.name}")
        decide = getattr(self._module, "decide", None)
        if decide is not None:
            changed, notes = decide(self._job, parents)
            made: Any = SimpleNamespace(**{**vars(self._module), **changed})
            self._module = made
            self._notes = {**self._notes, **notes}
        samples = self._calibration.inputs if self._calibration else None
        try:
            data = tflite.convert(self._source, bundle.signature.key, self._module, samples, bundle.signatures)
        except tflite.NeedsFixedBatch:
            fixed = parents.for_one_sample(self._module)
            if fixed is None:
                raise
            self._source = fixed
            data = tflite.convert(self._source, bundle.signature.key, self._module, samples, bundle.signatures)
        known = metadata.contract(data, bundle, self.name)
        with replacing(self._quarantine) as beside:
            beside.write_bytes(metadata.embed(data, known))
        return known

    def _recorded(self, verdict: gate.Verdict) -> list[Path]:
        """The file under its name and its record beside it."""
        job, run, quarantine, final = self._job, self._job.run, self._quarantine, self._final
        place = final if verdict.gate.passed else quarantine
        artifact = Artifact(
            recipe=self.name,
            path=run.relative(place.parent) + "/" + place.name,
            sha256=sha256_file(quarantine),
            size_bytes=quarantine.stat().st_size,
            gzip_bytes=gzip_size(quarantine),
            ops=verdict.ops,
            parent_sha256=job.bundle.sha256,
            calibration_digest=self._calibration.digest if self._calibration else None,
            signature=verdict.signature,
            signatures=verdict.signatures,
            runtime_floor=verdict.runtime_floor,
            gate=verdict.gate,
            contract={**self._contract, "snippets": snippets.snippets(self._contract, final.name)},
            data={
                "label": to_json(self._module.RECIPE),
                "saved_model": {"path": run.relative(self._source), "sha256": sha256_tree(self._source)},
                # Who taught, calibrated and will judge it; None for a model whose data is not known.
                "splits": job.bundle.data.get("splits") or job.bundle.data.get("digests"),
                "partitions": verdict.partitions,
                **contract.kept(job.bundle),
                **self._notes,
            },
            versions=bundles.versions(),
        )
        # What an earlier run left under either name goes: one recipe, one file.
        for stale in (final, final.with_suffix(".json"), quarantine.with_suffix(".json")):
            remove(stale)
        if verdict.gate.passed:
            os.replace(quarantine, final)
        write_json(place.with_suffix(".json"), artifact)
        return [place, place.with_suffix(".json")]
