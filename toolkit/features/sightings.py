"""Which ids of a column some rows have, how often, and what was behind those that stand for many things."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.features.columns import MISSING_INT
from toolkit.features.encoding import encode
from toolkit.features.kinds import Crossed, HashBucket, Vocabulary
from toolkit.features.naming import CROSS, MISSING, folded, id_names, word
from toolkit.features.reference import transform
from toolkit.features.spec import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """The ids of one column in some rows.

    ``ids`` int64 ``[K]``, ascending, are those that occur; ``counts`` int64 ``[K]`` says how often. ``names`` is of
    each what :func:`toolkit.features.naming.id_names` calls it, but where that says nothing (a bucket of a hash, one
    of several for unknown words, a folded cross) begins with what was behind it most often in these rows:
    ``Blue Cab +2 (bucket 17)`` if two other words were.
    """

    ids: np.ndarray
    counts: np.ndarray
    names: tuple[str, ...]


def sightings(spec: FeatureSpec, raw: Mapping[str, Any]) -> dict[str, Sightings]:
    """By name of each id column, what occurs of it.

    Args:
        spec: an adapted spec.
        raw: raw or encoded rows, as :func:`toolkit.features.encode` takes them.

    Raises:
        BrokenInput: the rows do not fit the spec.
        UsageError: the spec has not been adapted.
    """
    inputs = encode(spec, raw)
    ids = transform(spec, inputs).ids
    return {column.name: _seen(spec, column, inputs, ids) for column in spec.id_columns}


def _seen(spec: FeatureSpec, column: Any, inputs: Mapping[str, np.ndarray], ids: Mapping[str, np.ndarray]) -> Sightings:
    own = ids[column.name]
    found, counts = np.unique(own.astype(np.int64), return_counts=True)
    names = id_names(spec, column.name)
    shown = {i: names[i] for i in found.tolist()}
    if isinstance(column, HashBucket):
        words = _commonest(own, inputs[column.tensor], _text(column))
        shown |= {i: f"{text} ({names[i]})" for i, text in words.items()}
    elif isinstance(column, Vocabulary) and column.oov_buckets > 1:
        unknown = own < column.oov_buckets
        words = _commonest(own[unknown], inputs[column.tensor][unknown], _text(column))
        shown |= {i: f"{text} {names[i]}" for i, text in words.items()}
    elif isinstance(column, Crossed) and len(names) < spec.cells(column):
        shown |= _cells(spec, column, own, ids)
    return Sightings(ids=found, counts=counts, names=tuple(shown[i] for i in found.tolist()))


def _cells(spec: FeatureSpec, column: Crossed, own: np.ndarray, ids: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Names of a cross that does not hold its cells one by one: the commonest cell first."""
    members = [id_names(spec, name) for name in column.of]
    cells, count = spec.cells(column), spec.count(column.name)

    def text(cell: np.ndarray) -> str:
        return CROSS.join(member[i] for member, i in zip(members, cell.tolist(), strict=True))

    exact = spec.is_exact(column)
    found = _commonest(own, np.stack([ids[name] for name in column.of], axis=1), text, tell_others=not exact)
    return {i: name + (folded(cells, count, i) if exact else f" (bucket {i})") for i, name in found.items()}


def _commonest(
    own: np.ndarray, values: np.ndarray, text: Callable[[np.ndarray], str], *, tell_others: bool = True
) -> dict[int, str]:
    """By id ``[N]`` the commonest of its values ``[N, ...]`` as text, with how many others there are: ``Cash +2``."""
    if not len(own):
        return {}
    distinct, which = np.unique(values, axis=0, return_inverse=True)
    keys, counts = np.unique(own.astype(np.int64) * len(distinct) + which.reshape(-1), return_counts=True)
    of, value = np.divmod(keys, len(distinct))
    # Stable: of values equally common the smallest is named, whatever the order of the rows.
    order = np.lexsort((-counts, of))
    found, first, kinds = np.unique(of[order], return_index=True, return_counts=True)
    return {
        i: text(distinct[value[order[place]]]) + (f" +{n - 1}" if n > 1 and tell_others else "")
        for i, place, n in zip(found.tolist(), first.tolist(), kinds.tolist(), strict=True)
    }


def _text(column: HashBucket | Vocabulary) -> Callable[[np.ndarray], str]:
    """Writes an encoded value of a column in words: an int32, or uint8 ``[L]``."""
    if column.dtype == "integer":
        return lambda value: MISSING if value == MISSING_INT else str(value)
    return lambda value: word(value.tobytes().rstrip(b"\0").decode(errors="replace"))
