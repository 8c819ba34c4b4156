"""Does the device answer as it should? Asked in the same run that times it, in two columns that are never mixed.

``kernels``  the device against this machine, on the same artifact: what its kernels do
``model``    the device's answers against the float model's: what quantization cost, on that device
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import feeds
from devices.device import Answer, Device, NoAnswers
from toolkit import flatbuffer, parity
from toolkit.errors import BrokenInput, EdgeExportError
from toolkit.records import Tolerance

FLOAT = Tolerance(max_abs=1e-4, reason="float32 kernels differ in the order of additions")
HALF = Tolerance(psnr_db=40.0, reason="the accelerator computes in 16 bits")
INTEGER = Tolerance(psnr_db=30.0, reason="integer kernels round, each in its way, by a step or two")

NONE = Tolerance(reason="NaN and infinity alone are wrong: how far off is for validate to judge")

LEVELS = 8
"""Differences of integer outputs are counted up to so many steps; what is more is one class."""


class Fidelity:
    """Checks artifacts on one device; the answers of this machine are asked once a file.

    Args:
        host: this machine.
        models: name and file of everything measured: among them the float model is looked for.
        seed: of the inputs.
        own: the user's inputs, by name ``[N, ...]``: they are asked after the seeded ones.
    """

    def __init__(
        self,
        host: Device,
        models: Sequence[tuple[str, Path]],
        *,
        seed: int,
        own: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._host = host
        self._seed = seed
        self._own = own
        self._float = next((path for _, path in models if is_float(path)), None)
        self._known: dict[Path, Answer] = {}

    def prepare(self, path: Path) -> None:
        """Asks this machine now what it would be asked later."""
        for each in (path, self._float):
            if each is not None:
                self.of_host(each)

    def __call__(self, path: Path, device: Device) -> dict[str, Any]:
        """``kernels`` and ``model`` as above, each with ``passed``, or ``None`` and the reason in ``unknown``.

        Raises:
            EdgeExportError: the device cannot answer.
        """
        inputs = self._inputs(path)
        try:
            answer = device.answer(path, inputs)
        except NoAnswers as error:
            unknown = dict.fromkeys(("kernels", "model"), str(error))
            return {"inputs": 0, "kernels": None, "model": None, "unknown": unknown}
        found: dict[str, Any] = {"inputs": len(next(iter(answer.raw.values()), ())), "unknown": {}}
        allowed = tolerance(path, answer.provenance.get("precision"))
        if device.target.name == self._host.target.name:
            found["kernels"] = None
            found["unknown"]["kernels"] = "it is this machine itself"
        else:
            found["kernels"] = judged(self.of_host(path), answer, allowed)
        if self._float is None:
            found["model"] = None
            found["unknown"]["model"] = "no float model was measured beside it"
        elif self._float == path:
            found["model"] = None
            found["unknown"]["model"] = "it is the float model"
        else:
            found["model"] = self._of_float(answer)
            if found["model"] is None:
                found["unknown"]["model"] = "the float model takes other inputs"
        return found

    def _inputs(self, path: Path) -> dict[str, np.ndarray]:
        made = feeds.seeded(path, self._seed)
        if self._own is None:
            return made
        own = feeds.fitted(path, self._own)
        return {name: np.concatenate([array, own[name]]) for name, array in made.items()}

    def of_host(self, path: Path) -> Answer:
        """This machine's answers to a file's inputs."""
        if path not in self._known:
            self._known[path] = self._host.answer(path, self._inputs(path))
        return self._known[path]

    def _of_float(self, answer: Answer) -> dict[str, Any] | None:
        assert self._float is not None
        try:
            # The same real values: a seed gives a float model what its quantized twin gets.
            found = judged(self.of_host(self._float), answer, None)
        except (BrokenInput, ValueError):
            return None
        return found


def is_float(path: Path) -> bool:
    """Whether a file computes in float32 alone: no other weights, and nothing quantized."""
    try:
        model = flatbuffer.read(path)
    except EdgeExportError:
        return False
    return all(k.dtype == "FLOAT32" for k in model.weights()) and not any(t.scales for t in model.tensors)


def judged(reference: Answer, observed: Answer, allowed: Tolerance | None) -> dict[str, Any]:
    """Distances over all outputs, the worst of each kind; ``passed`` is ``None`` without a tolerance.

    Raises:
        ValueError: the outputs are not the same.
    """
    each = parity.compare(reference.outputs, observed.outputs)
    wrong = [
        f"{name}: {why}" for name, p in each.items() for why in parity.within(p, allowed or NONE, judge_top1=False)
    ]
    return {
        "passed": not wrong if allowed is not None else None,
        "max_abs_error": _finite(max(p.max_abs for p in each.values())),
        "mean_abs_error": _finite(max(p.mean_abs for p in each.values())),
        "cosine": _finite(min(p.cosine for p in each.values())),
        "psnr_db": _finite(min(p.psnr_db for p in each.values())),
        "top1": min((p.top1 for p in each.values() if p.top1 is not None), default=None),
        "lsb": steps(reference.raw, observed.raw),
        "reasons": wrong,
    }


def steps(reference: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray]) -> dict[str, int] | None:
    """How many integer outputs differ by how many steps; ``None`` where no output is an integer."""
    counts: dict[str, int] = {}
    for name, left in reference.items():
        right = observed[name]
        if left.dtype.kind not in "iu" or left.dtype != right.dtype or left.shape != right.shape:
            continue
        off = np.abs(left.astype(np.int64) - right.astype(np.int64))
        for value, count in zip(*np.unique(np.minimum(off, LEVELS), return_counts=True), strict=True):
            key = f"{value}" if value < LEVELS else f"{LEVELS} or more"
            counts[key] = counts.get(key, 0) + int(count)
    return counts or None


def tolerance(path: Path, precision: str | None) -> Tolerance:
    """How far a device may answer from this machine on this file; ``precision``: of the accelerator, if it says so."""
    if not is_float(path):
        return INTEGER
    return HALF if precision == "fp16" else FLOAT


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
