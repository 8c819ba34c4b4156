"""What a data set is: samples by input name, and three splits that cannot leak into each other.

A sample's identity is the sha256 of its raw bytes; that of a table's row is the hash of its values
(:mod:`toolkit.tables.identity`). Equal samples always land on the same side, a split does not depend on the order of a
file, and every split has a digest that goes into what was made from it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.tables import identity

if TYPE_CHECKING:  # digits need no feature columns
    from toolkit.features import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Split:
    """Some samples: inputs by name ``[N, ...]``, labels ``[N]`` or ``None``, and their digest.

    Labels are classes (int64) or, of a regression, values (float64). ``columns`` are ``[N]``, by name: what else is
    known of the samples and no model takes.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None
    digest: str
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """All samples and who is in which split. ``calibration`` indexes into the same samples and is part of train.

    ``source`` is for people; ``taken`` is the option that asks for the same source again. ``spec`` is the adapted spec
    of a table whose inputs have been encoded by it. ``facts`` are recorded with the data set: ``label``, the label's
    name, and ``classes``, the names of the classes, where there are some.
    """

    name: str
    source: str
    inputs: dict[str, np.ndarray]
    labels: np.ndarray
    identities: np.ndarray
    train_rows: np.ndarray
    calibration_rows: np.ndarray
    evaluation_rows: np.ndarray
    rule: str
    taken: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    spec: FeatureSpec | None = None

    def train(self) -> Split:
        """What models learn from."""
        return self._split("train")

    def calibration(self) -> Split:
        """The part of train that sets quantization ranges."""
        return self._split("calibration")

    def evaluation(self) -> Split:
        """What nothing was learned or chosen from."""
        return self._split("evaluation")

    def describe(self) -> dict[str, Any]:
        """Name, source, rule, counts and the digest of every split, as JSON values."""
        return {
            "name": self.name,
            "source": self.source,
            "split_rule": self.rule,
            "splits": {name: dict(split) for name, split in self._digests.items()},
            **self.facts,
        }

    @property
    def counts(self) -> dict[str, int]:
        """Samples by split."""
        return {name: len(rows) for name, rows in self._rows.items()}

    @property
    def _rows(self) -> dict[str, np.ndarray]:
        return {"train": self.train_rows, "calibration": self.calibration_rows, "evaluation": self.evaluation_rows}

    @functools.cached_property
    def _digests(self) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "samples": len(rows),
                "digest": digest(self.identities[rows]),
                # Identities are of the samples alone, and a corrected label makes other data of them.
                "labels_digest": digest(self.identities[rows], self.labels[rows]),
            }
            for name, rows in self._rows.items()
        }

    def _split(self, name: str) -> Split:
        rows = self._rows[name]
        return Split(
            inputs={name: values[rows] for name, values in self.inputs.items()},
            labels=self.labels[rows],
            digest=self._digests[name]["digest"],
        )


def identities(samples: np.ndarray) -> np.ndarray:
    """Hex sha256 of every sample's bytes, ``[N]``."""
    return np.array([hashlib.sha256(np.ascontiguousarray(s).tobytes()).hexdigest() for s in samples], dtype="U64")


def combined(found: Sequence[np.ndarray]) -> np.ndarray:
    """One identity for each sample whose inputs have one each, ``[N]``."""
    if len(found) == 1:
        return found[0]
    joined = ("\n".join(parts) for parts in zip(*(part.tolist() for part in found), strict=True))
    return np.array([hashlib.sha256(text.encode()).hexdigest() for text in joined], dtype="U64")


def digest(found: Sequence[str] | np.ndarray, labels: np.ndarray | None = None) -> str:
    """One sha256 over a set of sample identities, equally long and each with its label if any, whatever their order.

    It is that of the lines ``IDENTITY`` or ``IDENTITY:LABEL``, sorted; millions of them never exist at once.
    """
    names = np.asarray(found)
    order = np.argsort(names, kind="stable")
    total, first = hashlib.sha256(), 0
    while first < len(order):
        last = first + _LINES
        # Lines of one identity are sorted by their labels, so they must come together.
        while last < len(order) and names[order[last]] == names[order[last - 1]]:
            last += 1
        chosen = order[first:last]
        lines = _texts(names[chosen])
        if labels is not None:
            lines = sorted(f"{name}:{label}" for name, label in zip(lines, labels[chosen].tolist(), strict=True))
        total.update((b"\n" if first else b"") + "\n".join(lines).encode())
        first = last
    return total.hexdigest()


_LINES = 65_536


def _texts(found: np.ndarray) -> list[str]:
    return (identity.names(found).astype("U32") if found.dtype.kind == "S" else found).tolist()


def hold_out(found: np.ndarray, labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and for evaluation: per label, the ``share`` with the smallest identities is held out.

    Identities are hashes, so their order is as good as random and the same wherever the samples lie in a
    file. Equal samples have equal identities; those that the cut would part go to training together.
    """
    held = np.concatenate([_first(found, np.flatnonzero(labels == label), share) for label in np.unique(labels)])
    # Copies of a sample can lie on both sides of the cut, or under two labels: evaluation gives way.
    rest = np.setdiff1d(np.arange(len(found)), held)
    held = held[~np.isin(found[held], found[rest])]
    rest = np.setdiff1d(np.arange(len(found)), held)
    return _ordered(found, rest), _ordered(found, held)


def stratified(found: np.ndarray, labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """About ``count`` of ``rows``, every label equally often, those with the smallest identities."""
    kinds = np.unique(labels[rows])
    each = max(1, count // len(kinds))
    chosen = [_ordered(found, rows[labels[rows] == kind])[:each] for kind in kinds]
    # Label by label would calibrate on zeros first; identity order mixes them.
    return _ordered(found, np.concatenate(chosen))


def _first(found: np.ndarray, rows: np.ndarray, share: float) -> np.ndarray:
    return _ordered(found, rows)[: round(len(rows) * share)]


def _ordered(found: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(found[rows], kind="stable")]
