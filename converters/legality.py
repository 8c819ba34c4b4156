"""Which recipes a model rules out, and why: one place for the reasons, which recipes' ``refuse`` return."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    from toolkit.records import ModelBundle

FEATURES = "features"
"""Key of a bundle's ``data`` under which a model that takes raw features has its adapted spec, as JSON."""


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
