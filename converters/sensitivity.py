"""Which layers suffer from eight bits: each quantized alone, and the fewest to leave in float within a budget."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import devices.targets
from converters import bundle as bundles
from converters import judging
from converters.aeq import Static
from converters.job import Conversion, of_labels
from converters.parents import Parents
from converters.watch import MACS
from toolkit import flatbuffer
from toolkit.errors import BrokenInput, UsageError
from toolkit.flatmodel import FlatModel
from toolkit.records import to_json
from toolkit.store import key_of, read_json, write_json

SAMPLES = 1000
"""Samples that judge, at most; fewer of a large model, see :func:`judge_of`."""

FOLLOWERS = frozenset(
    [
        *("BROADCAST_TO", "CONCATENATION", "EXPAND_DIMS", "GATHER", "GATHER_ND", "MAX_POOL_2D", "MIRROR_PAD", "PACK"),
        *("PAD", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE", "STRIDED_SLICE"),
        *("TRANSPOSE", "UNPACK", "QUANTIZE", "DEQUANTIZE"),
    ]
)
"""Operators that only move values: they are no layers, and take the type of what is around them."""

TRIED = 64
"""So many smaller sets of layers are tried before a set is called the smallest."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator that computes, quantized alone.

    Args:
        name: of the tensor that it computes; ``--keep-float`` takes it, or a part that no other has.
        label: for people: what Keras called the layer, as far as the name tells it.
        op: its kind.
        bytes: of its constants in float.
        sqnr_db: signal to quantization noise of the model's outputs.
        loss: see :mod:`converters.judging`.
    """

    name: str
    label: str
    op: str
    bytes: int
    sqnr_db: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Which layers stay in float, and what that was found by."""

    names: tuple[str, ...]
    metric: str
    budget: float | None
    loss: float
    samples: int
    smallest: bool
    judged_by: str


def label(name: str) -> str:
    """``conv_64`` of ``mnist_cnn/conv_64/Relu;mnist_cnn/conv_64/BiasAdd``; a name without a path is its own."""
    parts = name.split(";", 1)[0].split("/")
    return parts[-2] if len(parts) > 1 else parts[0]


def told_apart(layers: Sequence[Layer]) -> list[Layer]:
    """Layers whose label is another's too get the last part of their name as well: ``features/sub_1``."""
    counts = Counter(layer.label for layer in layers)

    def of(layer: Layer) -> str:
        last = layer.name.split(";", 1)[0].rsplit("/", 1)[-1]
        return layer.label if counts[layer.label] == 1 or last == layer.label else f"{layer.label}/{last}"

    return [dataclasses.replace(layer, label=of(layer)) for layer in layers]


def judge_of(job: Conversion, parents: Parents, model: FlatModel, samples: int = SAMPLES) -> tuple[judging.Judge, str]:
    """What layers are judged by: held-out training samples, else the calibration samples; and which it is, in words.

    As many as :data:`converters.watch.MACS` multiply-accumulates can answer, but at least 32.
    """
    count = min(samples, max(32, int(MACS / max(model.macs(), 1))))
    if job.training is not None:
        chosen = judging.held_out(job.training, job.calibration, count, job.seed)
        said = "training samples that set no range"
    else:
        assert job.calibration is not None
        chosen = judging.held_out(job.calibration, None, count, job.seed)
        said = "the calibration samples"
    reference = devices.targets.open("cpu").answer(parents.float_file(), chosen.inputs).outputs
    return judging.Judge(inputs=chosen.inputs, reference=reference, labels=chosen.labels), said


class Search:
    """Quantizes one float file in part, over and over.

    Args:
        job: bundle and calibration data.
        parents: where the float file comes from.
        samples: that judge, at most.

    Raises:
        UsageError: there is no calibration data.
        BrokenInput: the model has a loop.
    """

    def __init__(self, job: Conversion, parents: Parents, samples: int = SAMPLES) -> None:
        if job.calibration is None:
            raise UsageError("needs calibration data", remedy="give --calibration data.npz")
        self._job = job
        parents.must_have_ranges("the model")
        self._file = parents.float_file()
        self.model = flatbuffer.read(self._file)
        self.judge, self.judged_by = judge_of(job, parents, self.model, samples)
        self.impossible: list[str] = []
        """Layers for which the quantizer has no integers; they are always in float."""
        self.static = Static(self._file.read_bytes(), job.calibration.inputs)

    def layers(self) -> list[Layer]:
        """Every operator that computes and can be quantized, in the model's order, quantized alone.

        Raises:
            UsageError: there is none.
        """
        graph = self.model.graphs[0]
        found = []
        computing = [op for op in graph.ops if op.name not in FOLLOWERS and op.outputs]
        with self._job.progress.task("sensitivity, layer by layer", total=len(computing)) as bar:
            for op in computing:
                name = graph.tensors[op.outputs[0]].name
                bar.advance()
                try:
                    data = self.static.only(name)
                    known = "QUANTIZE" in flatbuffer.parse(data).op_counts()
                except BrokenInput:
                    # It has no integers for this one after all, or ranges that are no numbers: so it stays in float.
                    known = False
                if not known:
                    self.impossible.append(name)
                    continue
                stored = sum(graph.tensors[i].data_bytes for i in op.inputs if i >= 0)
                outputs = self.answer(data)
                found.append(
                    Layer(
                        name=name,
                        label=label(name),
                        op=op.name,
                        bytes=stored,
                        sqnr_db=self.judge.sqnr_db(outputs),
                        loss=self.judge.loss(outputs),
                    )
                )
        if not found:
            raise UsageError("has no layer that can be quantized to int8", where="the model")
        return told_apart(found)

    def loss(self, names: Sequence[str]) -> float:
        """The loss of everything in int8 but these layers."""
        return self.judge.loss(self.answer(self.static.but(self.floats(names))))

    def floats(self, names: Iterable[str]) -> list[str]:
        """These layers, and the operators that only move values between some of them or the float edges of the model.

        A mover that stayed in integers there would cost a conversion before and one behind it.
        """
        graph = self.model.graphs[0]
        chosen = {*names, *self.impossible}
        if not chosen:
            return []
        own = {id(op): graph.tensors[op.outputs[0]].name for op in graph.ops if op.outputs}
        maker = {i: op for op in graph.ops for i in op.outputs}
        group = {id(op): {id(op)} for op in graph.ops if op.name in FOLLOWERS}
        beside: dict[int, list[Any]] = {key: [] for key in group}
        for op in graph.ops:
            for i in op.inputs:
                before = maker.get(i)
                if before is None:
                    continue
                pair = (id(before), id(op))
                if pair[0] in group and pair[1] in group:
                    joined = group[pair[0]] | group[pair[1]]
                    group.update(dict.fromkeys(joined, joined))
                elif pair[0] in group:
                    beside[pair[0]].append(op)
                elif pair[1] in group:
                    beside[pair[1]].append(before)
        # Movers in a row are one: none of them could be in float before its neighbour is.
        for movers in group.values():
            if all(own[id(op)] in chosen for key in movers for op in beside[key]):
                chosen.update(own[key] for key in movers if key in own)
        return [own[id(op)] for op in graph.ops if op.outputs and own[id(op)] in chosen]

    def answer(self, data: bytes) -> Any:
        """What a file answers to the judge's samples, in a process of its own."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "part.tflite")
            path.write_bytes(data)
            return devices.targets.open("cpu").answer(path, self.judge.inputs).outputs


def measured(job: Conversion, parents: Parents, samples: int = SAMPLES) -> dict[str, Any]:
    """Every layer quantized alone; kept in ``sensitivity.json``.

    Returns:
        ``metric``, ``samples``, ``judged_by``, ``impossible`` (layers that cannot be quantized), ``all_int8`` (loss and
        SQNR of the whole model in int8) and ``layers`` as of :class:`Layer`, the most damaging first. An SQNR or loss
        that is no finite number (an output came out as NaN) is ``None``.

    Raises:
        UsageError: no calibration data, or no layer that can be quantized.
        BrokenInput: the quantizer gave up.
    """
    made = job.run.path("sensitivity.json")
    key = key_of({**_key(job), "samples": samples})

    def work() -> Iterable[Path]:
        search = Search(job, parents, samples)
        layers = ranked(search.layers())
        outputs = search.answer(search.static.but(search.floats([])))
        write_json(
            made,
            {
                "metric": search.judge.metric,
                "samples": len(next(iter(search.judge.inputs.values()))),
                "judged_by": search.judged_by,
                "impossible": search.impossible,
                "all_int8": _finite({"sqnr_db": search.judge.sqnr_db(outputs), "loss": search.judge.loss(outputs)}),
                "layers": [_finite(to_json(layer)) for layer in layers],
            },
        )
        return [made]

    job.run.stage("sensitivity", key, work)
    return read_json(made)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **{k: row[k] if math.isfinite(float(row[k])) else None for k in ("sqnr_db", "loss")}}


def ranked(layers: Sequence[Layer]) -> list[Layer]:
    """The most damaging first: by loss, among equals by noise."""
    return sorted(layers, key=lambda layer: (-layer.loss, layer.sqnr_db))


def choose(job: Conversion, parents: Parents, budget: float | None) -> tuple[Kept, Search]:
    """The fewest layers that have to stay in float for the loss to keep a budget.

    Layers are freed in the order of the damage that each does alone, as many as it takes (found by halving); then the
    set is tried without each of its members, and smaller sets are tried as far as there are no more than
    :data:`TRIED` of a size. The loss is the one measured, not its interval: what a release needs, ``validate`` shows.

    Args:
        job: bundle, calibration and training data.
        parents: where the float file comes from.
        budget: of the judge's metric; ``None``: its usual one.

    Raises:
        UsageError: every layer would have to stay in float.
    """
    search = Search(job, parents)
    metric = search.judge.metric
    allowed = judging.BUDGETS[metric] if budget is None else budget
    table = measured(job, parents)
    search.impossible = list(table["impossible"])
    order = [layer["name"] for layer in table["layers"]]
    known: dict[tuple[str, ...], float] = {}

    def loss(names: Sequence[str]) -> float:
        key = tuple(sorted(names))
        if key not in known:
            known[key] = search.loss(names)
        return known[key]

    with job.progress.task("choose layers to keep in float"):
        names, smallest = fewest(order, lambda some: loss(some) <= allowed)
        if len(names) == len(order) or loss(names) > allowed:
            raise UsageError(
                f"finds no layer that may be int8 within a loss of {allowed:g} of {metric}",
                where="recipe int8_mixed",
                remedy="allow more with --budget, or take a recipe that leaves activations in float",
            )
    kept = Kept(
        names=tuple(names),
        metric=metric,
        budget=allowed,
        loss=loss(names),
        samples=len(next(iter(search.judge.inputs.values()))),
        smallest=smallest,
        judged_by=search.judged_by,
    )
    return kept, search


def fewest(order: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> tuple[list[str], bool]:
    """A small set of ``order`` that ``fits``, and whether no smaller one does (all of them tried).

    Args:
        order: everything to choose from, the most promising first. All of it is taken to fit.
        fits: asked of sets, in any order of asking.
    """
    if fits([]):
        return [], True
    low, high = 0, len(order)  # the first ``low`` do not fit, the first ``high`` do
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(order[:middle]) else (middle, high)
    chosen = list(order[:high])
    for name in reversed(list(chosen)):
        without = [other for other in chosen if other != name]
        if without and fits(without):
            chosen = without
    for size in range(1, len(chosen)):
        if math.comb(len(order), size) > TRIED:
            return chosen, False
        for some in itertools.combinations(order, size):
            if fits(some):
                return list(some), True
    return chosen, True


def named(job: Conversion, parents: Parents, names: Sequence[str]) -> tuple[Kept, Search]:
    """The layers that somebody named, by the name of the tensor or a part of it that only one has.

    Raises:
        UsageError: a name fits no layer, or several.
    """
    search = Search(job, parents)
    search.impossible = list(measured(job, parents)["impossible"])
    graph = search.model.graphs[0]
    there = [graph.tensors[op.outputs[0]].name for op in graph.ops if op.name not in FOLLOWERS and op.outputs]
    found = []
    for name in names:
        fitting = [t for t in there if t == name] or [t for t in there if name in t]
        if len(fitting) != 1:
            what = f"fits {len(fitting)} layers" if fitting else "is no layer"
            shown = ", ".join(fitting or there)
            raise UsageError(f"--keep-float {name!r} {what}", remedy=f"name one of: {shown[:400]}")
        found += fitting
    loss = search.loss(found)
    count = len(next(iter(search.judge.inputs.values())))
    kept = Kept(
        names=tuple(dict.fromkeys(found)),
        metric=search.judge.metric,
        budget=None,
        loss=loss,
        samples=count,
        smallest=False,
        judged_by=search.judged_by,
    )
    return kept, search


def _key(job: Conversion) -> dict[str, Any]:
    judges = job.training if job.training is not None else job.calibration
    return {
        "parent": job.bundle.sha256,
        "calibration": job.calibration.digest if job.calibration else None,
        "judges": [judges.digest, of_labels(judges)] if judges is not None else None,
        "seed": job.seed,
        "versions": bundles.versions(),
    }
