"""Is a run directory still what it was? Its manifest, and the lineage from the weights to every number, recomputed.

The manifest says that no byte changed. The lineage says that the files belong together: that this artifact was made of
these weights, that it keeps its label, that this measurement is of this artifact. Both are needed, for a file can be
whole and in the wrong place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters import recipes
from toolkit import flatbuffer, manifest
from toolkit.errors import BrokenInput, EdgeExportError, UsageError
from toolkit.records import Artifact, Comparison, Measurement, ModelBundle, from_json
from toolkit.store import read_json, sha256_file, sha256_tree


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One thing that is not as it was written. ``path`` is relative to the run directory."""

    path: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What :func:`verify` found. ``lineage`` is the chain as JSON values: weights, SavedModel, artifacts, numbers."""

    mismatches: tuple[Mismatch, ...]
    files: int
    lineage: dict[str, Any]


def verify(root: Path) -> Verified:
    """Recomputes every digest and every link of the run in ``root``, which is only read.

    Raises:
        UsageError: it is no run directory, or has no manifest.
    """
    if not (root / "run.json").is_file():
        raise UsageError("is not a run directory", where=str(root), remedy="give the folder that export printed")
    if not (root / manifest.NAME).is_file():
        raise UsageError("has no manifest", where=str(root), remedy="convert the run again, which writes one")
    try:
        wrong = [Mismatch(path=path, what=what) for path, what in manifest.mismatches(root)]
    except BrokenInput as error:
        wrong = [Mismatch(path=manifest.NAME, what=error.what)]
    links = _Links(root)
    lineage = links.follow()
    known = {found.path for found in wrong}
    # A file that changed is named once, not again by every link it breaks.
    wrong += [found for found in links.wrong if found.path not in known]
    files = sum(1 for path in root.rglob("*") if path.is_file() and path.parts[len(root.parts)] not in manifest.OUTSIDE)
    return Verified(mismatches=tuple(wrong), files=files, lineage=lineage)


class _Links:
    """The chain of digests through the records of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wrong: list[Mismatch] = []

    def follow(self) -> dict[str, Any]:
        bundle = self._read("bundle/bundle.json", ModelBundle)
        if bundle is None:
            return {}
        artifacts = {}
        found = []
        for path, artifact in self._each("artifacts", Artifact):
            self._artifact(path, artifact, bundle)
            artifacts[artifact.recipe] = artifact.sha256
            found.append(_shown(artifact))
        numbers = {"measurements": 0, "comparisons": 0}
        for folder, kind in (("measurements", Measurement), ("comparisons", Comparison)):
            for path, record in self._each(folder, kind):
                numbers[folder] += 1
                if artifacts.get(record.recipe, record.artifact_sha256) != record.artifact_sha256:
                    self._say(path, f"is of another file than the artifact {record.recipe}")
        return {"weights": self._weights(bundle), "artifacts": found, **numbers}

    def _weights(self, bundle: ModelBundle) -> dict[str, Any]:
        own, saved_model = bundle.keras_file, self.root / bundle.saved_model
        # A bundle without a Keras file is named by its SavedModel.
        source = self.root / own if own else saved_model
        digest = _digest(source)
        if digest != bundle.sha256:
            self._say(own or bundle.saved_model, "is not the model that bundle.json names by its sha256")
        if not saved_model.is_dir():
            self._say(bundle.saved_model, "is missing")
        return {
            "keras_file": own,
            "sha256": bundle.sha256,
            "saved_model": bundle.saved_model,
            "saved_model_sha256": _digest(saved_model),
            "seed": bundle.seed,
            "versions": bundle.versions,
        }

    def _artifact(self, path: str, artifact: Artifact, bundle: ModelBundle) -> None:
        file = self.root / artifact.path
        if _digest(file) != artifact.sha256:
            self._say(artifact.path, "is not the file that its record names by its sha256")
            return
        if artifact.parent_sha256 != bundle.sha256:
            self._say(path, "was made from another model than the run's")
        if artifact.gate.passed != all(check.passed for check in artifact.gate.checks):
            self._say(path, "has a gate whose verdict its checks do not give")
        if artifact.gate.passed == ("quarantine" in Path(artifact.path).parts):
            self._say(path, "lies where its gate's verdict does not put it")
        if artifact.gate.passed and artifact.recipe in recipes.names():
            broken = recipes.load(artifact.recipe).expect(flatbuffer.read(file))
            for reason in broken[:1]:
                self._say(artifact.path, f"is not what its label says: {reason}")
        source = artifact.data.get("saved_model") or {}
        if source and _digest(self.root / source["path"]) != source["sha256"]:
            self._say(source["path"], f"is not the SavedModel that {artifact.recipe} was converted from")

    def _each(self, folder: str, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        for path in sorted((self.root / folder).rglob("*.json")):
            name = path.relative_to(self.root).as_posix()
            record = self._read(name, kind)
            if record is not None:
                yield name, record

    def _read(self, name: str, kind: type[Any]) -> Any:
        try:
            return from_json(kind, read_json(self.root / name))
        except (EdgeExportError, ValueError) as error:
            what = error.what if isinstance(error, EdgeExportError) else f"is damaged ({error})"
            self._say(name, what)
            return None

    def _say(self, path: str, what: str) -> None:
        self.wrong.append(Mismatch(path=path, what=what))


def _shown(artifact: Artifact) -> dict[str, Any]:
    return {
        "recipe": artifact.recipe,
        "path": artifact.path,
        "sha256": artifact.sha256,
        "parent_sha256": artifact.parent_sha256,
        "saved_model": artifact.data.get("saved_model"),
        "calibration_digest": artifact.calibration_digest,
        "gate": artifact.gate.passed,
        "checks": {check.name: check.passed for check in artifact.gate.checks},
        "versions": artifact.versions,
    }


def _digest(path: Path) -> str | None:
    if path.is_dir():
        return sha256_tree(path)
    return sha256_file(path) if path.is_file() else None
