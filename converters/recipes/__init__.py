"""The recipes. This folder is the registry: one file per recipe, named like it.

A recipe's file defines

``RECIPE``
    a frozen :class:`toolkit.records.Recipe`: what is promised, and the tolerance with its reason;
``configure(converter, representative)``
    sets a fresh TFLiteConverter; ``representative`` yields ``{input name: array of one sample}``;
``expect(model)``
    the ways in which a finished file differs from the promise, as one-line strings;
``STEPS`` (optional)
    what is done to the Keras model first, in order: see :mod:`converters.steps`;
``finish(data, calibration)`` (optional)
    makes the promised file of the converter's bytes, with the calibration inputs by name ``[N, ...]``, or ``None``;
``decide(job, parents)`` (optional)
    what only the model and the data can tell: names of this file and what stands for them, and what the artifact's
    record says of it (a dict each);
``refuse(bundle)`` (optional)
    why no data makes this recipe right for a model, as a clause without a subject, or ``None``: see
    :mod:`converters.legality`;
``KINDS`` (optional)
    what kinds of kernels it makes, by layer, where its record does not say it: see :mod:`converters.kinds`;
``ONE_SCALE`` (optional)
    names of this file and what stands for them where dense kernels must have one scale: see
    :mod:`converters.adjusting`.

Importing a recipe imports no TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.errors import unknown_name
from toolkit.records import Recipe

if TYPE_CHECKING:
    from toolkit.flatbuffer import FlatModel

Representative = Callable[[], Iterator[dict[str, Any]]]


class RecipeModule(Protocol):
    """What a recipe's file holds."""

    RECIPE: Recipe

    def configure(self, converter: Any, representative: Representative | None) -> None:
        """Sets the converter's options."""

    def expect(self, model: FlatModel) -> list[str]:
        """What in ``model`` is not as promised; empty when the label is true."""


USUAL = ("float32", "float16", "dynamic_range", "int8", "int8_float_io", "int8_dense_only", "int16x8", "pruned_int8")
"""What ``export`` makes of a model when nothing is asked for: the plain recipes, in a minute."""

_WEIGHTS = ("int8_mixed", "dynamic_int4", "mixed_int4_int8", "weight_only_int8", "dynamic_int8_float_depthwise")
_ORDER = (
    *USUAL,
    *_WEIGHTS,
    "pruned",
    "pruned_constant",
    "pruned_2_4",
    "pruned_16x1",
    "clustered",
    "qat_int8",
    "pqat_int8",
    "cqat_int8",
)
"""How tables list recipes: from the plainest on; one that is not named here follows, by name."""


def names() -> list[str]:
    """All recipes, from the folder's listing."""
    found = {p.stem for p in Path(__file__).parent.glob("[!_]*.py")}
    return sorted(found, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n))


def load(name: str) -> RecipeModule:
    """The recipe ``name``.

    Raises:
        UsageError: there is none of that name; the nearest are offered.
    """
    if name not in names():
        raise unknown_name("recipe", name, names())
    module: Any = importlib.import_module(f"{__name__}.{name}")
    found: RecipeModule = module
    return found
