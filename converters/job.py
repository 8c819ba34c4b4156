"""What a conversion works on: a bundle in a run directory, and the data that its recipes may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters import further
from converters.saved_model import EXAMPLES
from toolkit.datasets._dataset import Split
from toolkit.progress import Progress
from toolkit.records import ModelBundle
from toolkit.store import Run, sha256_bytes

EVIDENCE_SAMPLES = 500
"""At most this many calibration samples judge an artifact in its gate."""

MADE_UP_SAMPLES = 64
"""Seeded inputs that judge an artifact where no samples were given (MEASUREMENT: at least 8)."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One bundle to be converted, and the data its recipes may use.

    Args:
        run: where everything is read and written.
        bundle: what is converted.
        calibration: samples that set quantization ranges and judge artifacts; ``None``: none were given.
        training: samples for fine-tuning; ``None``: none.
        seed: of fine-tuning and of made-up inputs.
        progress: told what is going on.
        unsafe: let Lambda layers run their code.
        keep_float: layers that int8_mixed leaves in float, by name; ``None``: the fewest within ``budget``.
        budget: of the loss by which it chooses them; ``None``: the usual one (:mod:`converters.judging`).
        fleet: runtimes that every artifact must run on, as ``name==version``; their environments are there.
    """

    run: Run
    bundle: ModelBundle
    calibration: Split | None = None
    training: Split | None = None
    seed: int = 0
    progress: Progress = field(default_factory=Progress)
    unsafe: bool = False
    fleet: tuple[str, ...] = ()
    keep_float: tuple[str, ...] | None = None
    budget: float | None = None

    def evidence(self) -> tuple[Mapping[str, np.ndarray], np.ndarray | None]:
        """Inputs by name ``[N, ...]`` that judge the artifacts, and their labels where there are some."""
        if self.calibration is None:
            return further.seeded_inputs(self.bundle.signature, MADE_UP_SAMPLES, seed=self.seed), None
        labels = self.calibration.labels
        inputs = {k: v[:EVIDENCE_SAMPLES] for k, v in self.calibration.inputs.items()}
        return inputs, None if labels is None else np.asarray(labels)[:EVIDENCE_SAMPLES]


def of_labels(split: Split) -> str | None:
    """Part of a key where labels decide: a data set's digest is of its samples alone, and a label may be corrected."""
    return None if split.labels is None else sha256_bytes(np.ascontiguousarray(split.labels).tobytes())


def named(job: Conversion) -> dict[str, Any]:
    """Part of a stage's key: the fleet, if somebody named one."""
    return {"fleet": sorted(job.fleet)} if job.fleet else {}


def signatures(bundle: ModelBundle) -> dict[str, Any]:
    """Part of a stage's key, and none of that of a model with one signature."""
    found: dict[str, Any] = {"signatures": bundle.signatures} if bundle.signatures else {}
    # A SavedModel with more signatures is another file, and an artifact's record names the one that it came from.
    return {**found, "examples": True} if EXAMPLES in bundle.left_out and bundle.keras_file else found
