"""The model families. This folder is the registry: one file per family, named like it (``_`` is ``-``).

A family's file defines ``SUMMARY``, ``DATASET`` (its default data set), ``VARIANTS`` (name to
:class:`Variant`), ``DEFAULT_VARIANT`` and ``build(variant, dropout=, l1=, l2=)`` giving an uncompiled
tf_keras model. Importing it imports no TensorFlow.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One architecture: a line for the docs, and the epochs after which it has converged."""

    summary: str
    epochs: int


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
