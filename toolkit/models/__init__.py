"""The model families. This folder is the registry: one file per family, named like it (``_`` is ``-``).

A family's file defines ``SUMMARY``, ``DATASET`` (its default data set, ``None`` if the user must give one),
``VARIANTS`` (name to :class:`Variant`), ``DEFAULT_VARIANT`` and ``build(blueprint)``, which gives an uncompiled
tf_keras model of a :class:`Blueprint`. Where it differs from what is usual it also defines

``OPTIMIZER``
    how it is trained by default, one of :data:`toolkit.training.optimizers.NAMES` (``"adam"``);
``TASK``
    ``"reconstruction"`` where the input is to be reproduced, whatever labels there are;
``SIGNATURES``
    further signatures of the exported model: key to the layer whose output it gives.

Importing it imports no TensorFlow. Files that begin with ``_`` are no families.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import unknown_name
from toolkit.models._blueprint import ACTIVATIONS, Blueprint, Layers, Task

__all__ = ["ACTIVATIONS", "Blueprint", "Layers", "Task", "Variant", "load", "names", "variant"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One architecture: a line for the docs, the epochs after which it has converged, the layer to look at.

    ``codes`` names the layer whose outputs show what was learned (``None``: none does), ``batch_size`` is the one that
    the epochs belong to.
    """

    summary: str
    epochs: int
    codes: str | None = None
    batch_size: int = 32


def names() -> list[str]:
    """All families, from the folder's listing."""
    return sorted(p.stem.replace("_", "-") for p in Path(__file__).parent.glob("[!_]*.py"))


def load(name: str) -> Any:
    """The family's file.

    Raises:
        UsageError: there is none of that name; the nearest are offered.
    """
    if name not in names():
        raise unknown_name("model", name, names())
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def variant(name: str, chosen: str) -> Variant:
    """One architecture of a family.

    Raises:
        UsageError: unknown family or architecture.
    """
    family = load(name)
    if chosen not in family.VARIANTS:
        raise unknown_name(f"{name} model", chosen, family.VARIANTS)
    found: Variant = family.VARIANTS[chosen]
    return found
