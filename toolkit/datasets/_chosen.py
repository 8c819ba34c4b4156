"""Which data a model is trained on: a data set of the registry, or the user's own file, with or without a spec."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toolkit.datasets
from toolkit.datasets import _featured, _user
from toolkit.datasets._dataset import Dataset
from toolkit.errors import BrokenInput, UsageError, unknown_name
from toolkit.features import FeatureSpec, load, loads
from toolkit.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The user's choice, as it is recorded with the model and found again by.

    Args:
        name: a data set of the registry, or ``None``.
        pattern: the user's own CSV, TFRecord, quoted glob of shards or npz, or ``None``.
        data_dir: folder with the user's copy of a registry's data set.
        source: of a registry's data set.
        spec: TOML or JSON file of the feature columns, or the name of a data set that has a spec of its own; by default
            the data set's own, or inferred.
        label: of a file without a spec; of an npz, its array's name.
        columns: names of all columns of a CSV without a header line.
        bad_rows: ``"error"`` or ``"skip"``.
    """

    name: str | None = None
    pattern: str | None = None
    data_dir: str | None = None
    source: str | None = None
    spec: str | None = None
    label: str | None = None
    columns: tuple[str, ...] | None = None
    bad_rows: str = "error"

    def __post_init__(self) -> None:
        if self.pattern is not None and (self.data_dir is not None or self.source is not None):
            raise UsageError(
                "--data FILE and --data-dir or --data-source exclude each other", remedy="give one of them"
            )
        if self.name is None and self.pattern is None:
            raise UsageError("there is no data to train on", remedy="give --data FILE, or a data set's name")
        if self.pattern is None and (self.label is not None or self.columns is not None or self.bad_rows != "error"):
            raise UsageError("--label, --columns and --bad-rows are for a file of your own", remedy="give --data FILE")
        if self.spec is not None and self.label is not None:
            raise UsageError("--spec names the label", remedy="leave --label out")
        if self._is_arrays and (self.columns is not None or self.bad_rows != "error"):
            raise UsageError(
                "--columns and --bad-rows are for tables", where=str(self.pattern), remedy="leave them out for an npz"
            )

    def open(self, progress: Progress, *, features: str | None = None) -> Dataset:
        """The data set; of a table, encoded by its spec.

        Args:
            progress: told what was taken.
            features: an adapted spec as JSON: nothing is learned anew.

        Raises:
            UsageError, BrokenInput, MissingError: as :func:`toolkit.datasets.load` and the readers of files say.
        """
        spec = loads(features, format="json", where="the model's features") if features else self._declared()
        raw, spec = self._raw(spec, progress)
        if spec is None:
            return raw
        label = raw.facts.get("label")
        if label is not None and spec.label != label:
            raise BrokenInput(
                f"predicts {spec.label!r}, and the label is {label!r}",
                where=self.spec or "feature spec",
                remedy="correct its label",
            )
        return _featured.encoded(raw, spec)

    def describe(self) -> dict[str, Any]:
        """As JSON values; :meth:`of` gives the same choice again, from whatever folder."""
        found = dataclasses.asdict(self)
        for name in ("pattern", "data_dir", "spec"):
            if found[name] is not None and not (name == "spec" and _own_spec(found[name])):
                found[name] = os.path.abspath(found[name])
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}

    @classmethod
    def of(cls, described: dict[str, Any]) -> Chosen:
        """The choice that :meth:`describe` recorded."""
        columns = described.get("columns")
        return cls(**{**described, "columns": tuple(columns) if columns else None})

    @property
    def _is_arrays(self) -> bool:
        return self.pattern is not None and _user.is_arrays(self.pattern)

    def _declared(self) -> FeatureSpec | None:
        if self.spec is None:
            own = _own_spec(self.name) if self.name is not None else None
            return load(own) if own is not None else None
        path = _own_spec(self.spec) or Path(self.spec)
        if not path.exists():
            known = [name for name in toolkit.datasets.names() if _own_spec(name)]
            if path.suffix or os.sep in self.spec:
                raise UsageError("there is no such file", where=self.spec, remedy="check --spec")
            raise unknown_name("spec", self.spec, known)
        return load(path)

    def _raw(self, spec: FeatureSpec | None, progress: Progress) -> tuple[Dataset, FeatureSpec | None]:
        if self.pattern is not None:
            if self._is_arrays:
                return _user.arrays(self.pattern, progress, label=self.label or (spec.label if spec else None)), spec
            return _user.table(
                self.pattern, spec, label=self.label, columns=self.columns, bad_rows=self.bad_rows, progress=progress
            )
        assert self.name is not None
        folder = Path(self.data_dir) if self.data_dir is not None else None
        return toolkit.datasets.load(self.name, data_dir=folder, source=self.source, progress=progress), spec


def _own_spec(name: str) -> Path | None:
    """The spec that a data set of the registry comes with, unless there is a file of that very name."""
    if name not in toolkit.datasets.names() or Path(name).exists():
        return None
    path = Path(toolkit.datasets.__file__).with_name(f"{name.replace('-', '_')}.toml")
    return path if path.exists() else None
