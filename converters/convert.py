"""Bundle and recipe in, gated artifact out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from converters import bundle as bundles
from converters import contract, gate, labels, metadata, recipes, snippets, tflite
from converters.job import Conversion, signatures
from converters.parents import Parents, steps_of
from converters.recipes import RecipeModule
from devices import runtimes
from toolkit.errors import BrokenInput, CheckFailed, EdgeExportError, UsageError
from toolkit.records import Artifact, from_json, to_json
from toolkit.store import Run, gzip_size, key_of, read_json, remove, replacing, sha256_file, sha256_tree, write_json

__all__ = ["Conversion", "convert", "load", "warn_of_calibration", "why_not"]


def why_not(job: Conversion, recipe: RecipeModule) -> str | None:
    """Why ``recipe`` cannot be made of this bundle with this data; ``None`` if it can."""
    needs = recipe.RECIPE.needs
    # What no data can change comes first: nobody should fetch calibration data for a recipe that stays impossible.
    refuse = getattr(recipe, "refuse", None)
    refused: str | None = refuse(job.bundle) if refuse is not None else None
    if refused:
        return refused
    if "fine-tuning" in needs and job.bundle.keras_version != 2:
        found = "a SavedModel" if job.bundle.keras_version is None else f"Keras {job.bundle.keras_version}"
        return f"fine-tunes the model, which TFMOT does for Keras 2 (tf_keras) models only, and this is {found}"
    if "calibration" in needs and job.calibration is None:
        return "needs calibration data: give --calibration data.npz"
    if "fine-tuning" in needs and (job.training is None or job.training.labels is None):
        return "fine-tunes the model: give labelled samples with --train-data data.npz"
    return None


def convert(
    job: Conversion, names: Sequence[str], *, optional: bool = False, named: Sequence[str] = ()
) -> list[Artifact]:
    """Converts the bundle by every recipe in ``names`` and gates each; what is done already stays.

    An artifact whose gate failed lies under ``artifacts/quarantine/`` and says so in its record.

    Args:
        job: bundle and data.
        names: recipes.
        optional: recipes that turn out impossible for this model are left out with a warning, if others succeed.
        named: recipes that are not optional, because somebody asked for them by name.

    Raises:
        UsageError: a recipe is unknown or cannot be made of this bundle; nothing has been converted then.
        BrokenInput: the converter cannot express the model.
    """
    modules = {name: recipes.load(name) for name in dict.fromkeys(names)}
    for name, module in modules.items():
        reason = why_not(job, module)
        if reason:
            raise UsageError(f"recipe {name} {reason}")
    warn_of_calibration(job)
    parents = Parents(job)
    made: list[Artifact] = []
    errors: list[EdgeExportError] = []
    for name, module in modules.items():
        try:
            artifact = _convert_one(job, module, parents)
        except (BrokenInput, UsageError, CheckFailed) as error:
            if not optional or name in named:
                raise
            errors.append(error)
            job.progress.warn(f"recipe {name} left out: {error}")
            continue
        unchanged = next((c.detail for c in artifact.gate.checks if c.detail.startswith(labels.UNCHANGED)), None)
        if unchanged and optional and name not in named:
            job.progress.warn(f"recipe {name} left out: {unchanged}")
            for path in (job.run.path(artifact.path), job.run.path(artifact.path).with_suffix(".json")):
                remove(path)
            job.run.forget(f"convert-{name}")
            continue
        made.append(artifact)
    if errors and not made:
        raise errors[0]
    return made


FEW_SAMPLES = 100
"""Below this many calibration samples the ranges are a matter of luck; TensorFlow's guide says 100 to 500."""


def warn_of_calibration(job: Conversion) -> None:
    """Warns of calibration data that cannot set ranges, which the gate, judging by the same samples, cannot see.

    Raises:
        BrokenInput: all samples are the same.
    """
    if job.calibration is None:
        return
    n = len(job.calibration)
    if n > 1 and all((values == values[:1]).all() for values in job.calibration.inputs.values()):
        raise BrokenInput(
            f"all {n} samples are the same",
            where="calibration data",
            remedy="give samples as varied as the training data",
        )
    if n < FEW_SAMPLES:
        job.progress.warn(f"only {n} calibration samples: {FEW_SAMPLES} or more set the ranges more safely")


def load(run: Run) -> list[Artifact]:
    """The run's artifacts, passed ones first, in the recipes' order."""
    found = []
    for folder in (run.path("artifacts"), run.path("artifacts", "quarantine")):
        known = recipes.names()
        records = sorted(
            folder.glob("*.json"), key=lambda p: (known.index(p.stem) if p.stem in known else len(known), p.stem)
        )
        for path in records:
            try:
                found.append(from_json(Artifact, read_json(path)))
            except ValueError as error:
                raise BrokenInput(f"is damaged ({error})", where=str(path), remedy="convert again") from error
    return found


def _convert_one(job: Conversion, module: RecipeModule, parents: Parents) -> Artifact:
    recipe, run = module.RECIPE, job.run
    final = run.path("artifacts", f"{recipe.name}.tflite")
    quarantine = run.path("artifacts", "quarantine", final.name)
    calibration = job.calibration if "calibration" in recipe.needs else None
    parent = parents.saved_model(module)
    key = key_of(
        {
            "recipe": recipe,
            "steps": [step.describe() for step in steps_of(module)],
            "parent": job.bundle.sha256,
            "calibration": calibration.digest if calibration else None,
            "evidence": job.calibration.digest if job.calibration else job.seed,
            "training": job.training.digest if job.training and "fine-tuning" in recipe.needs else None,
            # Once the oldest runtime is installed, the floor is worth asking for again.
            "floor": runtimes.locate(*runtimes.OLDEST) is not None,
            "versions": bundles.versions(),
            **signatures(job.bundle),
        }
    )

    def work() -> Iterable[Path]:
        with job.progress.task(f"convert {recipe.name}", total=2) as task:
            samples = calibration.inputs if calibration else None
            data = tflite.convert(parent, job.bundle.signature.key, module, samples, job.bundle.signatures)
            known = metadata.contract(data, job.bundle, recipe.name)
            data = metadata.embed(data, known)
            with replacing(quarantine) as beside:
                beside.write_bytes(data)
            task.advance(note="gate")
            verdict = gate.judge(quarantine, module, parents.evidence(parent))
            task.advance(note="passed" if verdict.gate.passed else "FAILED")
        place = final if verdict.gate.passed else quarantine
        artifact = Artifact(
            recipe=recipe.name,
            path=run.relative(place.parent) + "/" + place.name,
            sha256=sha256_file(quarantine),
            size_bytes=quarantine.stat().st_size,
            gzip_bytes=gzip_size(quarantine),
            ops=verdict.ops,
            parent_sha256=job.bundle.sha256,
            calibration_digest=calibration.digest if calibration else None,
            signature=verdict.signature,
            signatures=verdict.signatures,
            runtime_floor=verdict.runtime_floor,
            gate=verdict.gate,
            contract={**known, "snippets": snippets.snippets(known, final.name)},
            data={
                "label": to_json(recipe),
                "saved_model": {"path": run.relative(parent), "sha256": sha256_tree(parent)},
                **_split_digests(job),
                **contract.kept(job.bundle),
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

    run.stage(f"convert-{recipe.name}", key, work)
    record = final.with_suffix(".json")
    return from_json(Artifact, read_json(record if record.exists() else quarantine.with_suffix(".json")))


def _split_digests(job: Conversion) -> dict[str, Any]:
    """Who taught, calibrated and will judge this artifact; ``None`` for a model whose data is not known."""
    return {"splits": job.bundle.data.get("splits") or job.bundle.data.get("digests")}
