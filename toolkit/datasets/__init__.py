"""The data sets. This folder is the registry: one file per data set, named like it (``_`` in the file is ``-``).

A data set's file defines ``SUMMARY`` (one line) and ``load(data_dir=, source=, progress=) -> Dataset``.
Importing it imports nothing heavy. Files that begin with ``_`` are no data sets.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import unknown_name

if TYPE_CHECKING:  # numpy is not imported for a list of names
    from toolkit.datasets._dataset import Dataset
    from toolkit.progress import Progress


def names() -> list[str]:
    """All data sets, from the folder's listing."""
    return sorted(p.stem.replace("_", "-") for p in Path(__file__).parent.glob("[!_]*.py"))


def module(name: str) -> Any:
    """The file of the data set ``name``.

    Raises:
        UsageError: there is none of that name; the nearest are offered.
    """
    if name not in names():
        raise unknown_name("data set", name, names())
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def load(name: str, *, data_dir: Path | None = None, source: str | None = None, progress: Progress) -> Dataset:
    """Loads a data set.

    Args:
        name: one of :func:`names`.
        data_dir: the user's own copy.
        source: one source only; ``None``: the first that works, in the data set's order.
        progress: told which source was taken.

    Raises:
        UsageError: unknown data set or source.
        BrokenInput: malformed data.
        MissingError: no source can be had here.
    """
    dataset: Dataset = module(name).load(data_dir=data_dir, source=source, progress=progress)
    return dataset
