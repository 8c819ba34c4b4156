"""What a data set is: samples by input name, and three splits that cannot leak into each other.

A sample's identity is the sha256 of its raw bytes. Equal samples always land on the same side, a split does
not depend on the order of a file, and every split has a digest that goes into what was made from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # digits need no feature columns
    from toolkit.features import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Split:
    """Some samples: inputs by name ``[N, ...]``, labels ``[N]`` or ``None``, and their digest.

    Labels are classes (int64) or, of a regression, values (float64)."""

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None
    digest: str

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
        return self._split(self.train_rows)

    def calibration(self) -> Split:
        """The part of train that sets quantization ranges."""
        return self._split(self.calibration_rows)

    def evaluation(self) -> Split:
        """What nothing was learned or chosen from."""
        return self._split(self.evaluation_rows)

    def describe(self) -> dict[str, Any]:
        """Name, source, rule, counts and the digest of every split, as JSON values."""
        rows = {"train": self.train_rows, "calibration": self.calibration_rows, "evaluation": self.evaluation_rows}
        return {
            "name": self.name,
            "source": self.source,
            "split_rule": self.rule,
            "splits": {
                name: {
                    "samples": len(chosen),
                    "digest": digest(self.identities[chosen]),
                    # Identities are of the samples alone, and a corrected label makes other data of them.
                    "labels_digest": digest(
                        [f"{i}:{x}" for i, x in zip(self.identities[chosen], self.labels[chosen], strict=True)]
                    ),
                }
                for name, chosen in rows.items()
            },
            **self.facts,
        }

    def _split(self, rows: np.ndarray) -> Split:
        return Split(
            inputs={name: values[rows] for name, values in self.inputs.items()},
            labels=self.labels[rows],
            digest=digest(self.identities[rows]),
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


def digest(found: Sequence[str] | np.ndarray) -> str:
    """One sha256 over a set of sample identities, whatever their order."""
    return hashlib.sha256("\n".join(sorted(map(str, found))).encode()).hexdigest()


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
