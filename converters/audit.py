"""Is the calibration data fit to set ranges? Asked before anything is converted, for the gate cannot see it.

The gate judges an artifact by the calibration samples themselves: where these are few, of another scale, or leave out a
class, the artifact is right on them and wrong on the device. Thresholds are such that samples drawn at random from the
training data raise an alarm in fewer than one of 10,000 columns or tensors; where they come from is said beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters import bundle as bundles
from converters.job import Conversion, of_labels
from converters.judging import held_out, scores_of
from converters.parents import Parents
from converters.watch import Watch
from toolkit.datasets._dataset import Split
from toolkit.errors import BrokenInput
from toolkit.records import to_json
from toolkit.store import key_of, read_json, write_json

FEW = 100
"""Below this many samples the ranges are a matter of luck; TensorFlow's guide to post-training quantization says 100 to
500."""

LOOKED_AT = 500
"""Training samples that are held against the calibrated ranges."""

SHIFTED = 1.0
"""Standard deviations of the training data that a mean may be off. That of 100 random samples is off by a tenth."""

ZEROS = 0.1
"""Share of samples that are 0 throughout from which on they are named, unless the training data has as many."""

OTHER_SCALE = 8.0
"""Times the training data's span, or a part of it: bytes in place of 0..1 are 255 times."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with the samples: which check, where (an input, a tensor, the labels), what, and what to do."""

    check: str
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"calibration data, {self.where}: {self.what}; {self.remedy}"


def audit(job: Conversion, parents: Parents) -> dict[str, Any]:
    """Looks at the calibration samples, warns of what is wrong, and keeps the answer in ``calibration.json``.

    Returns:
        ``samples``; ``findings`` as of :class:`Finding`; ``inputs``: for each float input its range, that of the
        training data and the share of the latter ``outside`` the former; ``tensors``: for each float tensor of the
        model its calibrated range and the share of the training samples' values that would be ``clipped``;
        ``classes``: how many samples of each. What could not be told, without training data or labels, is ``null``.

    Raises:
        BrokenInput: all samples are the same.
    """
    calibration = job.calibration
    assert calibration is not None
    n = len(calibration)
    if n > 1 and all((values == values[:1]).all() for values in calibration.inputs.values()):
        raise BrokenInput(
            f"all {n} samples are the same",
            where="calibration data",
            remedy="give samples as varied as the training data",
        )
    made = job.run.path("calibration.json")
    key = key_of(
        {
            "parent": job.bundle.sha256,
            "calibration": [calibration.digest, of_labels(calibration)],
            "training": [job.training.digest, of_labels(job.training)] if job.training else None,
            "metrics": job.bundle.metrics,
            "versions": bundles.versions(),
        }
    )

    def work() -> Iterable[Path]:
        with job.progress.task("audit calibration data"):
            write_json(made, _audit(job, calibration, parents))
        return [made]

    job.run.stage("calibration-audit", key, work)
    found = read_json(made)
    for finding in found["findings"]:
        job.progress.warn(str(Finding(**finding)))
    return found


def _audit(job: Conversion, calibration: Split, parents: Parents) -> dict[str, Any]:
    findings: list[Finding] = []
    n = len(calibration)
    if n < FEW:
        what = f"only {n} calibration samples: {FEW} or more set the ranges more safely"
        findings.append(Finding(check="few", where="all of it", what=what, remedy="give more"))
    training = held_out(job.training, None, LOOKED_AT, job.seed) if job.training is not None else None
    inputs = {
        name: _input(name, values, training.inputs.get(name) if training else None, findings)
        for name, values in calibration.inputs.items()
        if values.dtype.kind == "f"
    }
    watch = Watch(parents.float_file().read_bytes())
    tensors, outputs = _tensors(watch, calibration, training, findings, skip=any(f.check == "scale" for f in findings))
    name = scores_of(outputs)
    scores = outputs[name] if name is not None else None
    classes = _classes(calibration, training, scores, findings)
    _answers(job, calibration, scores, findings)
    return {
        "samples": n,
        "digest": calibration.digest,
        "training_samples": len(training) if training else None,
        "findings": [to_json(finding) for finding in findings],
        "inputs": inputs,
        "tensors": tensors,
        "classes": classes,
    }


def tolerated(n: int) -> float:
    """The share of new values that may lie outside the range of ``n`` random ones.

    Of a continuous quantity the share beyond the largest of n values is above s with probability (1 - s)^n < e^(-n s):
    for s = 10 / n, that is 1 in 22,000. Below 1 % nobody need care.
    """
    return max(0.01, 10 / n)


def _input(name: str, values: np.ndarray, wanted: np.ndarray | None, findings: list[Finding]) -> dict[str, Any]:
    low, high = float(values.min()), float(values.max())
    where = f"input {name!r}"
    empty = float((values.reshape(len(values), -1) == 0).all(axis=1).mean())
    found: dict[str, Any] = {"low": low, "high": high, "training": None, "outside": None, "zero_samples": empty}
    usual = 0.0 if wanted is None else float((wanted.reshape(len(wanted), -1) == 0).all(axis=1).mean())
    # A column of a table is one number a row, and 0 is one like any other.
    if empty > max(ZEROS, 2 * usual) and values[0].size > 1:
        what = f"{empty:.0%} of the samples are 0 throughout"
        findings.append(Finding(check="zeros", where=where, what=what, remedy="leave them out"))
    if wanted is None:
        if high > 1.5 and high <= 255 and low >= 0 and _bytes(values):
            what = f"whole numbers in {low:.0f}..{high:.0f}, as pixels are before they are scaled"
            findings.append(
                Finding(check="scale", where=where, what=what, remedy="check that training had them so too")
            )
        return found
    left, right = float(wanted.min()), float(wanted.max())
    outside = float(((wanted < low) | (wanted > high)).mean())
    strange = float(((values < left) | (values > right)).mean())
    found |= {"training": [left, right], "outside": outside}
    said = f"{low:.4g}..{high:.4g}, in training {left:.4g}..{right:.4g}"
    span, usually = high - low, right - left
    spread = float(wanted.std())
    shift = abs(float(values.mean()) - float(wanted.mean())) / spread if spread else 0.0
    again = "normalise it as in training"
    if usually and (
        span > OTHER_SCALE * usually or (span * OTHER_SCALE < usually and outside > tolerated(len(values)))
    ):
        findings.append(Finding(check="scale", where=where, what=f"another scale: {said}", remedy=again))
    elif strange > tolerated(len(wanted)):
        what = f"{strange:.0%} of its values occur nowhere in training ({said})"
        findings.append(Finding(check="scale", where=where, what=what, remedy=again))
    elif shift > SHIFTED and len(values) >= 10:
        means = f"mean {values.mean():.4g}, in training {wanted.mean():.4g} ± {spread:.4g}"
        findings.append(Finding(check="scale", where=where, what=f"other values: {means}", remedy=again))
    elif outside > tolerated(len(values)):
        what = f"{outside:.1%} of the training values are outside its range ({said})"
        findings.append(Finding(check="coverage", where=where, what=what, remedy="take samples of all kinds"))
    return found


def _bytes(values: np.ndarray) -> bool:
    some = values.reshape(-1)[:100_000]
    return values[0].size > 16 and bool((some == np.round(some)).all()) and len(np.unique(some)) > 8


def _tensors(
    watch: Watch, calibration: Split, training: Split | None, findings: list[Finding], *, skip: bool
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Calibrated ranges, what of the training data they would clip, and the float model's outputs."""
    n = min(len(calibration), LOOKED_AT, watch.affordable)
    low: dict[int, float] = {}
    high: dict[int, float] = {}
    outputs: dict[str, list[np.ndarray]] = {}
    for batch in watch.run(_first(calibration.inputs, n)):
        for index, values in batch.tensors.items():
            if values.size:
                low[index] = min(low.get(index, math.inf), float(values.min()))
                high[index] = max(high.get(index, -math.inf), float(values.max()))
        for name, index in watch.outputs.items():
            if index in batch.tensors:
                outputs.setdefault(name, []).append(batch.tensors[index])
    beyond, counted = dict.fromkeys(low, 0), dict.fromkeys(low, 0)
    if training is not None:
        for batch in watch.run(_first(training.inputs, min(len(training), n))):
            for index, values in batch.tensors.items():
                if index in low:
                    beyond[index] += int(((values < low[index]) | (values > high[index])).sum())
                    counted[index] += values.size
    found = []
    worst: tuple[float, str] | None = None
    concerned = 0
    for index, tensor in watch.tensors.items():
        if index not in low:
            continue
        clipped = beyond[index] / counted[index] if counted[index] else None
        found.append({"name": tensor.name, "low": low[index], "high": high[index], "clipped": clipped})
        # An input has a finding of its own; some operators have a range of their own, whatever was seen.
        if clipped is not None and clipped > tolerated(n) and index in watch.ranged:
            concerned += 1
            what = f"{clipped:.1%} of the training samples' values in {tensor.name!r} would be clipped to "
            worst = max(worst or (0.0, ""), (clipped, f"{what}{low[index]:.4g}..{high[index]:.4g}"))
    # Where the inputs are of another scale already, every tensor behind them is.
    if worst is not None and not skip:
        where = "1 tensor" if concerned == 1 else f"{concerned} tensors"
        what = worst[1] if concerned == 1 else f"up to {worst[1]}"
        findings.append(Finding(check="clipped", where=where, what=what, remedy="take more samples, of all kinds"))
    return found, {name: np.concatenate(parts) for name, parts in outputs.items()}


def _first(inputs: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    return {name: values[:n] for name, values in inputs.items()}


def _classes(
    calibration: Split, training: Split | None, scores: np.ndarray | None, findings: list[Finding]
) -> dict[str, Any] | None:
    """How many samples there are of each class, by their labels or else by the float model's answers."""
    labels = calibration.labels
    known = labels is not None and labels.dtype.kind in "iu" and labels.ndim == 1
    if not known and scores is None:
        return None
    own: np.ndarray = labels if known else scores.argmax(axis=1)  # type: ignore[assignment,union-attr]
    n = len(own)
    if training is not None and training.labels is not None and training.labels.dtype.kind in "iu":
        kinds, counts = np.unique(training.labels, return_counts=True)
        expected = dict(zip(kinds.tolist(), (counts / counts.sum() * n).tolist(), strict=True))
    elif scores is not None:
        expected = dict.fromkeys(range(scores.shape[1]), n / scores.shape[1])
    else:
        expected = dict.fromkeys(range(int(own.max(initial=0)) + 1), 0.0)
    there = {int(k): int(c) for k, c in zip(*np.unique(own, return_counts=True), strict=True)}
    # A class of which ten are expected is left out by chance once in 22,000 times.
    missing = [int(kind) for kind, count in expected.items() if count >= 10 and int(kind) not in there]
    if missing:
        by = "its labels" if known else "the float model's answers"
        shown = ", ".join(map(str, missing[:10])) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        what = f"no sample of class {shown}, by {by}"
        findings.append(Finding(check="classes", where="labels", what=what, remedy="take samples of every class"))
    return {"by": "labels" if known else "answers", "counts": there, "missing": missing}


def _answers(job: Conversion, calibration: Split, scores: np.ndarray | None, findings: list[Finding]) -> None:
    """Whether the float model is as right on the calibration samples as it is known to be."""
    labels, usual = calibration.labels, job.bundle.metrics.get("accuracy")
    if labels is None or scores is None or labels.dtype.kind not in "iu" or labels.ndim != 1 or len(scores) < 30:
        return
    right = float((scores.argmax(axis=1) == labels[: len(scores)]).mean())
    # Four standard errors, and a fall that a shift of the data would not make.
    error = 4 * math.sqrt(max(right * (1 - right), 0.01) / len(scores))
    if usual is None:
        wrong, said = right < 2 / scores.shape[1] and scores.shape[1] > 2, f"of {scores.shape[1]} classes"
    else:
        wrong, said = right < usual - max(0.2, error), f"in its evaluation {usual:.0%}"
    if wrong:
        what = f"the float model is right on {right:.0%} of them ({said})"
        remedy = "check the normalisation and the order of the classes"
        findings.append(Finding(check="answers", where="labels", what=what, remedy=remedy))
