"""Bundle and recipe in, gated artifact out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from converters import adjusting, audit, labels, legality, recipes
from converters.job import Conversion
from converters.making import Making
from converters.parents import Parents
from converters.recipes import RecipeModule
from toolkit.errors import BrokenInput, CheckFailed, EdgeExportError, UsageError
from toolkit.records import Artifact, from_json
from toolkit.store import Run, read_json, remove

__all__ = ["Conversion", "convert", "load", "why_not"]


def why_not(job: Conversion, recipe: RecipeModule) -> str | None:
    """Why ``recipe`` cannot be made of this bundle with this data; ``None`` if it can."""
    needs = recipe.RECIPE.needs
    recipe = adjusting.adjusted(recipe, job.fleet)
    # What no data can change comes first: nobody should fetch calibration data for a recipe that stays impossible.
    refuse = getattr(recipe, "refuse", None)
    refused: str | None = refuse(job.bundle) if refuse is not None else None
    refused = refused or legality.rounded(recipe, job.bundle) or legality.refusal(recipe, job.bundle, job.fleet)
    if refused:
        return refused
    if "fine-tuning" in needs and job.bundle.keras_version is None:
        return "fine-tunes the model, which needs its Keras file, and this is a SavedModel"
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
        job: bundle, data, and the runtimes that every artifact must run on.
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
    for name, module in modules.items():
        asking = adjusting.asking(module, job.fleet)
        if asking:
            job.progress.say(f"recipe {name}: one scale per dense kernel, for {', '.join(asking)}")
        modules[name] = adjusting.adjusted(module, job.fleet)
    parents = Parents(job)
    if job.calibration is not None and any("calibration" in module.RECIPE.needs for module in modules.values()):
        audit.audit(job, parents)
    made: list[Artifact] = []
    errors: list[EdgeExportError] = []
    waiting: deque[Making] = deque()

    def settle() -> None:
        making = waiting.popleft()
        artifact = making.settle()
        if not (optional and making.name not in named and _unchanged(job, artifact)):
            made.append(artifact)

    # A gate is a few processes that we wait for: meanwhile the next file is converted.
    with ThreadPoolExecutor(max_workers=GATES) as pool:
        try:
            for name, module in modules.items():
                try:
                    waiting.append(Making(job, module, parents, pool))
                except (BrokenInput, UsageError, CheckFailed) as error:
                    if not optional or name in named:
                        raise
                    errors.append(error)
                    said = str(error).removeprefix(f"recipe {name}: ")
                    job.progress.warn(f"recipe {name} left out: {said}")
                while len(waiting) > GATES:
                    settle()
        finally:
            # Also where a recipe failed: what was converted before it is not lost.
            while waiting:
                settle()
    if errors and not made:
        raise errors[0]
    _warn_of_partitions(job, made)
    return made


def _warn_of_partitions(job: Conversion, made: Sequence[Artifact]) -> None:
    """Says which artifacts XNNPACK takes in more pieces than the float model: every piece is a hand-over and back."""
    usual = next((a.data.get("partitions") for a in made if a.recipe == "float32"), None)
    for artifact in made:
        found = artifact.data.get("partitions")
        if usual is not None and found is not None and found > usual and artifact.gate.passed:
            parts = f"{found} delegate partitions, float32 has {usual}"
            job.progress.warn(f"recipe {artifact.recipe} will be slow: {parts}")


GATES = 2
"""So many artifacts are judged beside the conversion of the next; a gate's processes use one core at a time."""


def _unchanged(job: Conversion, artifact: Artifact) -> bool:
    """Whether the recipe changed nothing, which is said; then what it left is removed."""
    reason = next((c.detail for c in artifact.gate.checks if c.detail.startswith(labels.UNCHANGED)), None)
    if reason is None:
        return False
    job.progress.warn(f"recipe {artifact.recipe} left out: {reason}")
    for path in (job.run.path(artifact.path), job.run.path(artifact.path).with_suffix(".json")):
        remove(path)
    job.run.forget(f"convert-{artifact.recipe}")
    return True


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
