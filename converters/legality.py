"""Which recipes a model or a runtime rules out, and why: one place for the reasons.

The table in ``legality.toml`` says of every kind of kernel (:mod:`converters.kinds`) what each runtime does with it, as
measured. A recipe that would make a kind which is wrong or refused is refused itself, before anything is converted: on
this machine's own ai-edge-litert always, on other runtimes where somebody named them. What the table does not know the
gate decides, which does not look at it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters import kinds
from converters.kinds import Kind
from devices import runtimes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.records import ModelBundle

FEATURES = "features"
"""Key of a bundle's ``data`` under which a model that takes raw features has its adapted spec, as JSON."""

RIGHT, WRONG, REFUSED = "right", "wrong", "refused"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A column: a runtime it was measured on, and the versions (``[from_, below)``) that this stands for.

    ``xnnpack`` is ``None`` where the runtime's wheels apply no delegate: on and off are the same.
    """

    title: str
    name: str
    version: str
    xnnpack: bool | None = None
    from_: str = "0"
    below: str = "999"

    def stands_for(self, name: str, version: str) -> bool:
        """Whether the column says something about this runtime."""
        low, high, found = map(runtimes.order, (self.from_, self.below, version))
        return name == self.name and low <= found < high


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A cell: ``right``, ``wrong`` or ``refused``, and the PSNR or the runtime's own words."""

    verdict: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A kind, what makes it (``by``), its answers in the columns' order, and what to take ``instead``.

    ``since`` is the version of tflite-runtime from which on its answers hold, and what those before it do.
    """

    kind: Kind
    by: str
    answers: tuple[Answer, ...]
    instead: str = ""
    since: tuple[str, str] | None = None

    def answer(self, runtime: Runtime) -> Answer:
        """The cell under a column."""
        return self.answers[table().runtimes.index(runtime)]

    def covers(self, kind: Kind) -> bool:
        """Whether the row is about ``kind``; a dtype without granularity is about every one."""
        return kind[:2] == self.kind[:2] and f"{kind.dtype}, ".startswith(f"{self.kind.dtype}, ")


@dataclass(frozen=True, kw_only=True)
class Table:
    """All of ``legality.toml``."""

    runtimes: tuple[Runtime, ...]
    rows: tuple[Row, ...]

    def row(self, kind: Kind) -> Row | None:
        """The row about a kind, the one that says most of it; ``None``: it was not measured."""
        fitting = [row for row in self.rows if row.covers(kind)]
        return max(fitting, key=lambda row: len(row.kind.dtype), default=None)


@functools.cache
def table() -> Table:
    """The table, read once."""
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    columns = [{("from_" if key == "from" else key): value for key, value in c.items()} for c in data["runtimes"]]
    rows = []
    for found in data["kinds"]:
        answers = (text.partition(": ") for text in found["answers"])
        rows.append(
            Row(
                kind=Kind(*found["kind"]),
                by=found["by"],
                answers=tuple(Answer(verdict=verdict, evidence=evidence) for verdict, _, evidence in answers),
                instead=found.get("instead", ""),
                since=tuple(found["since"]) if "since" in found else None,
            )
        )
    return Table(runtimes=tuple(Runtime(**column) for column in columns), rows=tuple(rows))


def broken(kind: Kind, name: str, version: str, *, xnnpack: bool | None = None) -> list[str]:
    """What a runtime does wrong with a kind, a clause for each way to run it; empty where nothing is known.

    ``xnnpack``: with it, without it, or (``None``) either way.
    """
    row = table().row(kind)
    found = []
    for runtime in table().runtimes:
        other = None not in (xnnpack, runtime.xnnpack) and xnnpack != runtime.xnnpack
        if row is None or other or not runtime.stands_for(name, version):
            continue
        answer = row.answer(runtime)
        early = row.since and runtime.xnnpack is None and runtimes.order(version) < runtimes.order(row.since[0])
        if row.since and early and answer.verdict == RIGHT:
            found.append(row.since[1])
        elif answer.verdict != RIGHT:
            how = {True: " with XNNPACK", False: " without XNNPACK", None: ""}[runtime.xnnpack]
            verb = "refuses" if answer.verdict == REFUSED else "gets wrong"
            found.append(f"{verb}{how} ({answer.evidence})")
    return found


def advice(found: Iterable[Kind], name: str, version: str) -> str | None:
    """Of kinds in a file, the first that a runtime is known to be wrong about, and what to take instead."""
    for kind in sorted(found):
        clauses, row = broken(kind, name, version), table().row(kind)
        if clauses and row is not None:
            return f"known of {describe(kind)}: it {' and '.join(clauses)}: use {row.instead}"
    return None


def refusal(module: Any, bundle: ModelBundle, fleet: Iterable[str] = ()) -> str | None:
    """Why a recipe cannot be right on our own runtime or on one of the ``fleet``; ``None`` where nothing is known.

    Args:
        module: the recipe, as it would be made for the fleet.
        bundle: what is converted; only layers that it is known to have count.
        fleet: ``name==version`` of the runtimes that somebody named.

    Returns:
        A clause without a subject, with the alternative.
    """
    own = runtimes.installed(runtimes.NAMES[0])
    layers = kinds.layers_of(bundle)
    for kind in sorted(kinds.of_recipe(module)):
        if kind.layer not in layers:
            continue
        for text in dict.fromkeys([*([f"{runtimes.NAMES[0]}=={own}"] if own else []), *fleet]):
            found = broken(kind, *runtimes.parse(text))
            row = table().row(kind)
            if found and row is not None:
                what = f"makes {describe(kind)}, which {text} {' and '.join(found)}"
                return f"{what}: use {row.instead}" if row.instead else what
    return None


def rounded(module: Any, bundle: ModelBundle) -> str | None:
    """Why a recipe makes nothing of a model that rounds already; ``None`` for other models and for those that do.

    Its ranges are its own: TFLiteConverter takes them over where everything is to be integers. As plain floats it
    cannot be had, and what quantizes a float file would round twice.
    """
    plain = module.RECIPE.activation_dtype == "int8" and not module.RECIPE.sparsity
    if not bundle.quantized or (plain and not hasattr(module, "finish") and not hasattr(module, "STEPS")):
        return None
    return "is for float models, and this one is quantized already (it rounds in its graph): use int8 or int8_float_io"


def describe(kind: Kind) -> str:
    """A kind in words."""
    stored = {"dense": "every value stored", "blocks": "zeros left out in blocks", "2:4": "two of four left out"}
    return f"{kind.layer} layers in {kind.dtype} ({stored.get(kind.pattern, 'zeros left out')})"


def raw_features(bundle: ModelBundle) -> str | None:
    """Why a model with raw features cannot be made of integers throughout; ``None`` for other models.

    An 8-bit latitude cannot tell narrow buckets apart, and normalised columns that meet in one tensor share one
    scale: measured on a taxi network with made-up weights, the ids held but the fare's error was 14 times
    int8_dense_only's.
    """
    if not bundle.data.get(FEATURES):
        return None
    return (
        "cannot hold raw features in integers throughout (8 bits blur numbers and pick wrong buckets): "
        "use int8_dense_only, which leaves features in float"
    )


def without(bundle: ModelBundle, *kinds: str, use: str) -> str | None:
    """Why a recipe about some layers makes nothing of a model that has none of them; ``None`` where it may have.

    Args:
        bundle: what is converted.
        kinds: parts of class names, e.g. ``"Depthwise"``.
        use: the recipe that does the same for such a model.
    """
    # Layers of the user's own can hold anything, and of a SavedModel no layers are known.
    hidden = not bundle.layers or any(name.startswith("custom ") for name in bundle.layers)
    if hidden or any(kind in name for name in bundle.layers for kind in kinds):
        return None
    return f"is about {' or '.join(kinds)} layers, and the model has none: use {use}"
