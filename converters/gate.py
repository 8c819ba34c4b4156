"""The gate: an artifact gets its final name only if the file is what its label says, and works.

Checks, in order; the first that fails hard (the file cannot be read) ends the list:

``label``          the recipe's ``expect``: io, kernel and activation dtypes, promised zeros
``builtin``        no Flex or custom operators, no variables without values
``names``          every signature has the model's input and output names
``xnnpack-on``     loads and runs on ai-edge-litert, within the recipe's tolerance of the float parent
``xnnpack-off``    the same without XNNPACK
``xnnpack-agree``  both within that tolerance of each other: some encodings are silently wrong on one side
``runtime NAME==VERSION``  the same on every runtime that somebody named, with XNNPACK and, where it takes operators,
                   without
``runtime-floor``  tried on tflite-runtime too, in its own environment; decides the oldest runtime claimed

Every run is in a fresh process of its own: a crash in native code is a failed check. A model with several signatures
passes a check only if each of them does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import devices.targets
from converters import kinds, labels, legality
from converters.recipes import RecipeModule
from devices import runtimes
from toolkit import flatbuffer, parity
from toolkit.errors import BrokenInput, EdgeExportError
from toolkit.flatmodel import FlatModel
from toolkit.records import Check, Gate, Signature, Tolerance

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the gate judges by: inputs by name ``[N, ...]`` and the float parent's outputs for them.

    ``real`` says that the inputs are samples of the task: on made-up ones arg-max agreement means nothing. Where
    ``labels`` are known, it is judged in outputs that can be their class scores: integers ``[N]`` for ``[N, C]``.
    ``further`` is the same for the file's other signatures. ``noise`` says how far the last bits of the inputs move
    each output of the float parent (:func:`toolkit.parity.nudged`); it is asked where a file is too far off.
    """

    inputs: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]
    signature: Signature
    real: bool
    labels: np.ndarray | None = None
    further: tuple[Evidence, ...] = ()
    noise: Callable[[], Mapping[str, float]] = dict


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's answer and what it learned on the way."""

    gate: Gate
    runtime_floor: dict[str, str]
    ops: dict[str, int]
    signature: Signature
    signatures: tuple[Signature, ...] = ()
    partitions: int | None = None


class Ran(NamedTuple):
    """A run's outputs, those of every signature, the main one's first (``None``: it failed), its check, whether a
    delegate took operators, and in how many partitions (of the main signature, ``None``: not known)."""

    outputs: list[Outputs] | None
    check: Check
    delegated: bool
    partitions: int | None = None


def judge(path: Path, recipe: RecipeModule, evidence: Evidence, fleet: Sequence[str] = ()) -> Verdict:
    """Runs every check on the file at ``path``; never raises for what is wrong with the file.

    Args:
        path: of the file.
        recipe: what it is to be.
        evidence: what it is judged by.
        fleet: runtimes that it must run on beside our own, as ``name==version``.
    """
    try:
        model = flatbuffer.read(path)
    except BrokenInput as error:
        checks = (Check(name="label", passed=False, detail=error.what),)
        return Verdict(gate=Gate(passed=False, checks=checks), runtime_floor={}, ops={}, signature=evidence.signature)
    checks_list = [
        _check("label", recipe.expect(model), "the file is what the recipe says"),
        _check("builtin", labels.runnable(model), "builtin operators only"),
        _check("names", _names(model, evidence), "inputs and outputs keep their names"),
    ]
    tolerance = recipe.RECIPE.tolerance
    on = _run("xnnpack-on", "cpu:xnnpack=on", path, evidence, tolerance)
    off = _run("xnnpack-off", "cpu:xnnpack=off", path, evidence, tolerance)
    checks_list += [on.check, off.check]
    if on.outputs is not None and off.outputs is not None:
        wrong, detail = _distances(off.outputs, on.outputs, tolerance, evidence)
        checks_list.append(_check("xnnpack-agree", wrong, detail))
    named = {text: _named(text, path, model, evidence, tolerance) for text in fleet}
    checks_list += named.values()
    floor, check = _floor(path, evidence, tolerance, named)
    checks_list.append(check)
    passed = all(c.passed for c in checks_list)
    return Verdict(
        gate=Gate(passed=passed, checks=tuple(checks_list)),
        runtime_floor=floor if passed else {},
        ops=model.op_counts(),
        signature=model.signature(),
        signatures=model.further(),
        partitions=on.partitions,
    )


def _run(name: str, target: str, path: Path, evidence: Evidence, tolerance: Tolerance) -> Ran:
    """Runs every signature; the check says how far the outputs are from the float parent's."""
    found: list[Outputs] = []
    delegated, partitions = False, []
    for each in (evidence, *evidence.further):
        try:
            answer = devices.targets.open(target).answer(path, each.inputs, signature=each.signature.key or None)
        except EdgeExportError as error:
            which = f"{each.signature.key}: " if evidence.further else ""
            return Ran(None, Check(name=name, passed=False, detail=f"{which}{error}"), False)
        found.append(answer.outputs)
        partitions.append(answer.partitions)
        # Not known of a signature that is not the file's first graph: then there may be one.
        delegated |= answer.delegated_ops is None or answer.delegated_ops[0] > 0
    wrong, detail = _distances([each.reference for each in (evidence, *evidence.further)], found, tolerance, evidence)
    return Ran(found, _check(name, wrong, detail), delegated, partitions[0])


def _named(text: str, path: Path, model: FlatModel, evidence: Evidence, tolerance: Tolerance) -> Check:
    """The check of a runtime that somebody named."""
    name = f"{_NAMED}{text}"
    on = _run(name, f"cpu:runtime={text},xnnpack=on", path, evidence, tolerance)
    if not on.check.passed:
        return Check(name=name, passed=False, detail=on.check.detail + _advice(text, on.check.detail, model))
    if not on.delegated:
        return on.check
    off = _run(name, f"cpu:runtime={text},xnnpack=off", path, evidence, tolerance).check
    if not off.passed:
        detail = f"without XNNPACK: {off.detail}{_advice(text, off.detail, model)}"
        return Check(name=name, passed=False, detail=detail)
    return Check(name=name, passed=True, detail=f"{on.check.detail}; without XNNPACK {off.detail}")


def _advice(text: str, detail: str, model: FlatModel) -> str:
    """What the legality table knows of a check that failed, and what to take instead. It decides nothing."""
    known = legality.advice(kinds.of_file(model), *runtimes.parse(text))
    newer = _NEWER.search(detail)
    if known is None and newer is not None:
        known = f"{newer[1]} version {newer[2]} is newer than the runtime: take a recipe that leaves it in float"
        known += ", such as float16 or dynamic_range"
    return f"; {known}" if known else ""


_NAMED = "runtime "
_NEWER = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'")


def _distances(
    reference: Sequence[Outputs], observed: Sequence[Outputs], tolerance: Tolerance, evidence: Evidence
) -> tuple[list[str], str]:
    """:func:`_distance` of every signature, named where there are several."""
    wrong, details = [], []
    for each, left, right in zip((evidence, *evidence.further), reference, observed, strict=True):
        which = f"{each.signature.key}: " if evidence.further else ""
        reasons, detail = _distance(left, right, tolerance, each)
        wrong += [which + reason for reason in reasons]
        details += [which + detail] if detail else []
    return wrong, "; ".join(details)


def _distance(reference: Outputs, observed: Outputs, tolerance: Tolerance, evidence: Evidence) -> tuple[list[str], str]:
    try:
        found = parity.compare(reference, observed, tie=tolerance.tie)
    except ValueError as error:
        return [str(error)], ""
    many = len(found) > 1

    def reasons(noise: Mapping[str, float]) -> list[str]:
        return [
            f"{output}: {reason}" if many else reason
            for output, measured in found.items()
            for reason in parity.within(
                measured, tolerance, judge_top1=_classes(reference[output], evidence), noise=noise.get(output, 0.0)
            )
        ]

    detail = "; ".join(f"{k}: {parity.describe(v)}" if many else parity.describe(v) for k, v in found.items())
    wrong = reasons({})
    if wrong and tolerance.max_abs is not None and (noise := evidence.noise()):
        wrong = reasons(noise)
        largest = max(noise.values())
        detail += f"; the last bits of the inputs move the float model's answers by {largest:.2g}"
    return wrong, detail


def _classes(output: np.ndarray, evidence: Evidence) -> bool:
    """Whether the largest of an output's values may be an answer. A picture's, a code's or a frame's is none."""
    if not evidence.real:
        return False
    if evidence.labels is not None:
        return evidence.labels.dtype.kind in "iu" and evidence.labels.shape == output.shape[:-1]
    # Nobody said what the outputs are: rows of scores, or a distribution at every place.
    return output.ndim == 2 or (output.ndim > 2 and bool(np.allclose(output.sum(axis=-1), 1, atol=1e-3)))


def _floor(
    path: Path, evidence: Evidence, tolerance: Tolerance, named: Mapping[str, Check]
) -> tuple[dict[str, str], Check]:
    """The oldest runtime that loads, runs and agrees. Not running on the older one is no failure, only a floor."""
    proved = [(runtimes.NAMES[0], runtimes.installed(runtimes.NAMES[0]) or "unknown")]
    proved += [runtimes.parse(text) for text, check in named.items() if check.passed]
    name, version = runtimes.OLDEST
    if runtimes.locate(name, version) is None:
        why = runtimes.why_not() or "its environment is not installed; scripts/bootstrap makes it"
        detail = f"{name} {version} not tried: {why}"
    else:
        check = named.get(f"{name}=={version}")
        if check is None:
            check = _run("runtime-floor", f"cpu:runtime={name}=={version}", path, evidence, tolerance).check
        if check.passed:
            proved.append(runtimes.OLDEST)
        detail = f"{name} {version}: {check.detail}" if check.passed else f"not {name} {version} ({check.detail})"
    # All of tflite-runtime is older than all of ai-edge-litert.
    oldest = max(proved, key=lambda found: runtimes.NAMES.index(found[0]))[0]
    floor = min((found[1] for found in proved if found[0] == oldest), key=runtimes.order)
    if (oldest, floor) != runtimes.OLDEST:
        detail += f", so the floor is {oldest} {floor}"
    return {oldest: floor}, Check(name="runtime-floor", passed=True, detail=detail)


def _names(model: FlatModel, evidence: Evidence) -> list[str]:
    wrong = []
    known = {signature.key: signature for signature in (model.signature(), *model.signatures)}
    for wanted in (each.signature for each in (evidence, *evidence.further)):
        which = f"{wanted.key}: " if evidence.further else ""
        found = known.get(wanted.key)
        if found is None:
            wrong.append(f"there is no signature {wanted.key!r}")
            continue
        for side in ("inputs", "outputs"):
            has, asked = ({t.name for t in getattr(s, side)} for s in (found, wanted))
            if has != asked:
                wrong.append(f"{which}{side} are {', '.join(sorted(has))}, not {', '.join(sorted(asked))}")
    return wrong


def _check(name: str, wrong: list[str], detail: str) -> Check:
    if not wrong:
        return Check(name=name, passed=True, detail=detail)
    shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
    measured = name.startswith(("xnnpack-", "runtime")) and detail
    return Check(name=name, passed=False, detail=f"{shown} ({detail})" if measured else shown)
