"""Recipes as runtimes that somebody named need them: dense kernels with one scale, where a scale per channel is wrong.

A recipe says what that changes in ``ONE_SCALE``; whether it is needed the legality table says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from converters import kinds, legality
from converters.recipes import RecipeModule
from devices import runtimes

GRANULARITY = "per-tensor in dense layers, per-channel in convolutions"
"""What the record of an adjusted recipe says."""


def one_scale(configure: Callable[[Any, Any], None]) -> dict[str, Any]:
    """A recipe's ``ONE_SCALE`` where TFLiteConverter can be told."""

    def told(converter: Any, representative: Any) -> None:
        configure(converter, representative)
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True

    return {"configure": told}


def asking(module: RecipeModule, fleet: Iterable[str]) -> list[str]:
    """Which of ``fleet`` ask for one scale per dense kernel of a recipe that can do so."""
    if not hasattr(module, "ONE_SCALE"):
        return []
    dense = next(kind for kind in kinds.of_recipe(module) if kind.layer == "dense")
    return [text for text in fleet if legality.broken(dense, *runtimes.parse(text))]


def adjusted(module: RecipeModule, fleet: Iterable[str]) -> RecipeModule:
    """The recipe as it has to be for ``fleet`` (``name==version``): itself, or with one scale per dense kernel.

    Its record tells the difference, so that the label of the artifact and the key of its stage do.
    """
    if not asking(module, fleet):
        return module
    changed: dict[str, Any] = getattr(module, "ONE_SCALE", {})
    recipe = dataclasses.replace(module.RECIPE, granularity=GRANULARITY)
    made: Any = SimpleNamespace(**{**vars(module), **changed, "RECIPE": recipe})
    found: RecipeModule = made
    return found
