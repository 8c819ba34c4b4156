"""Is a model that is fine on average broken for some group? Every slice is tested against the budget.

The hypothesis of a slice's test is that its loss is within the budget. Of class scores both the exact one-sided McNemar
test (that nothing is lost at all) and Tango's score test (that no more than the budget is) must reject it: the first
keeps its level in small slices, the second is the question. Of values it is a one-sided t-test on the rows'
``edge error² - (1 + budget)² · cloud error²``, whose mean is positive just where the rmse has risen by more than the
budget. Without labels, where there are scores, it is the exact binomial test that no more rows change their class than
the tolerance of parity lets.

Of all slices tested together Benjamini and Hochberg's rule keeps the expected share of false alarms below
:data:`LEVEL`; where no slice is worse, there is any alarm at all in at most that share of evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from devices.evaluation import paired
from devices.evaluation.cuts import Cut, Cutter, Slicing, values_of
from devices.evaluation.metrics._errors import of as errors_of
from devices.evaluation.question import CLASSES, PARITY, VALUE, VALUES, Question
from devices.evaluation.table import Block
from toolkit import statistics
from toolkit.errors import UsageError

LEVEL = 0.05
SMALLEST = 30
"""Rows below which a slice is not tested: it is counted instead."""
MOST = 10_000
"""Slices that may be tested in all: with more, a real loss drowns in the correction."""

WORSE, SHOWN, OPEN = "worse", "kept", "not shown"


@dataclass
class _Counts:
    """One slice so far."""

    n: int = 0
    cloud: float = 0.0
    edge: float = 0.0
    gained: int = 0
    lost: int = 0
    gaps: list[tuple[int, float, float]] = field(default_factory=list)


def find(
    blocks: Callable[[], Iterable[Block]],
    slicings: Sequence[Slicing],
    asked: Question,
    *,
    n: int,
    budget: float,
    smallest: int = SMALLEST,
    seed: int = 0,
) -> dict[str, Any]:
    """All slices, the worst first, and how they were judged.

    Args:
        blocks: gives the blocks anew each time it is called.
        slicings: how to divide them.
        asked: the question.
        n: how many rows there are.
        budget: largest tolerated loss in a slice: of accuracy, as a fraction; of rmse, as a share of the cloud's; of
            agreement, the share of rows that may change their class.
        smallest: rows that a slice needs to be tested.
        seed: of the choice of rows that quantiles are learned from.

    Returns:
        ``slices``: one dict each; ``tested``, ``too_small`` (how many), ``rows_too_small``, ``worse`` (how many),
        ``smallest``, ``level``, ``budget``, ``correction``.

    Raises:
        UsageError: there is nothing to judge slices by, or there are too many.
        BrokenInput: a column that is not there, or cannot be cut that way.
    """
    if asked.kind == PARITY and asked.classes is None:
        raise UsageError("slices need labels, or class scores", remedy="give a column 'label'")
    cutters = _cutters(blocks, slicings, n, seed)
    held: list[dict[tuple[str, ...], _Counts]] = [{} for _ in slicings]
    for block in blocks():
        columns = block.facts.columns
        names = {cut: cutter(values_of(cut.column, columns, block.slices)) for cut, cutter in cutters.items()}
        for slicing, counts in zip(slicings, held, strict=True):
            _add(counts, [names[cut] for cut in slicing.cuts], columns, asked, budget)
        if sum(map(len, held)) > 10 * MOST:
            _too_many(slicings, held)
    large = [(s, key, c) for s, counts in zip(slicings, held, strict=True) for key, c in counts.items()]
    tested = [each for each in large if each[2].n >= smallest]
    if len(tested) > MOST:
        _too_many(slicings, held)
    rows = [_row(slicing, key, counts, asked, budget) for slicing, key, counts in tested]
    adjusted = statistics.benjamini_hochberg([row["p_value"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row["p_adjusted"] = p
        row["verdict"] = WORSE if p <= LEVEL else SHOWN if row.pop("_shown") else OPEN
        row.pop("_shown", None)
    rows.sort(key=lambda row: (row["p_adjusted"], row["p_value"], row["slicing"], row["name"]))
    return {
        "slices": rows,
        "tested": len(rows),
        "too_small": len(large) - len(rows),
        "rows_too_small": sum(c.n for _, _, c in large if c.n < smallest),
        "worse": sum(row["verdict"] == WORSE for row in rows),
        "smallest": smallest,
        "level": LEVEL,
        "budget": budget,
        "correction": "Benjamini-Hochberg",
    }


def _too_many(slicings: Sequence[Slicing], held: Sequence[dict[tuple[str, ...], _Counts]]) -> None:
    most = max(range(len(slicings)), key=lambda i: len(held[i]))
    raise UsageError(
        f"makes {len(held[most]):,} slices, more than the {MOST:,} that can be told apart",
        where=f"--slices {slicings[most].text}",
        remedy="cut it by quantiles, or by a column with fewer values",
    )


def _cutters(
    blocks: Callable[[], Iterable[Block]], slicings: Sequence[Slicing], n: int, seed: int
) -> dict[Cut, Cutter]:
    cuts = list(dict.fromkeys(cut for slicing in slicings for cut in slicing.cuts))
    parts = max(1, math.ceil(n / paired.PART))
    held: dict[Cut, list[np.ndarray]] = {cut: [] for cut in cuts}
    for block in blocks():
        rows = paired.dealt(block.start, len(block), parts, seed) == 0
        for cut in cuts:
            held[cut].append(values_of(cut.column, block.facts.columns, block.slices)[rows])
    return {cut: Cutter(cut, np.concatenate(values) if values else np.empty(0)) for cut, values in held.items()}


def _add(
    counts: dict[tuple[str, ...], _Counts], names: Sequence[np.ndarray], columns: Any, asked: Question, budget: float
) -> None:
    coded = [np.unique(each, return_inverse=True) for each in names]
    place = coded[0][1]
    for different, inverse in coded[1:]:
        place = place * len(different) + inverse
    there, group = np.unique(place, return_inverse=True)
    keys = _keys(there, [different for different, _ in coded])
    sums, gaps = _sums(columns, asked, budget)
    number = np.bincount(group, minlength=len(keys))
    added = {name: np.bincount(group, weights=values, minlength=len(keys)) for name, values in sums.items()}
    for i, key in enumerate(keys):
        one = counts.setdefault(key, _Counts())
        one.n += int(number[i])
        one.cloud += float(added["cloud"][i])
        one.edge += float(added["edge"][i])
        one.gained += int(added["gained"][i])
        one.lost += int(added["lost"][i])
    if gaps is None:
        return
    means = np.bincount(group, weights=gaps, minlength=len(keys)) / number
    squares = np.bincount(group, weights=(gaps - means[group]) ** 2, minlength=len(keys))
    for i, key in enumerate(keys):
        counts[key].gaps.append((int(number[i]), float(means[i]), float(squares[i])))


def _keys(there: np.ndarray, different: Sequence[np.ndarray]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for code in there.tolist():
        key: list[str] = []
        for names in reversed(different):
            code, last = divmod(code, len(names))
            key.append(str(names[last]))
        found.append(tuple(reversed(key)))
    return found


def _sums(columns: Any, asked: Question, budget: float) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    if asked.kind in (VALUE, VALUES):
        cloud, edge = (errors_of(columns, side) ** 2 for side in ("cloud", "edge"))
        none = np.zeros(len(cloud))
        return {"cloud": cloud, "edge": edge, "gained": none, "lost": none}, edge - (1 + budget) ** 2 * cloud
    left = columns["cloud_top"] == columns["label"] if asked.kind == CLASSES else np.ones(len(columns["far"]), bool)
    right = columns["edge_top"] == (columns["label"] if asked.kind == CLASSES else columns["cloud_top"])
    sums = {"cloud": left, "edge": right, "gained": right & ~left, "lost": left & ~right}
    return {name: values.astype(np.float64) for name, values in sums.items()}, None


def _row(slicing: Slicing, key: tuple[str, ...], found: _Counts, asked: Question, budget: float) -> dict[str, Any]:
    parts = dict(zip((cut.column for cut in slicing.cuts), key, strict=True))
    row: dict[str, Any] = {
        "slicing": slicing.text,
        "name": ", ".join(f"{column}: {value}" for column, value in parts.items()),
        "values": parts,
        "n": found.n,
    }
    if asked.kind in (VALUE, VALUES):
        return {**row, **_of_values(found)}
    difference, interval = statistics.paired_difference(found.gained, found.lost, found.n)
    if asked.kind == CLASSES:
        p_value = max(
            statistics.flips_tail(found.lost, found.gained + found.lost, 0.5),
            statistics.paired_tail(found.gained, found.lost, found.n, budget),
        )
    else:
        p_value = statistics.flips_tail(found.lost, found.n, budget)
    return {
        **row,
        "metric": "accuracy" if asked.kind == CLASSES else "agreement",
        "cloud": found.cloud / found.n,
        "edge": found.edge / found.n,
        "difference": difference,
        "interval": list(interval),
        "p_value": p_value,
        "_shown": interval[0] >= -budget,
    }


def _of_values(found: _Counts) -> dict[str, Any]:
    n = found.n
    cloud, edge = math.sqrt(found.cloud / n), math.sqrt(found.edge / n)
    mean = math.fsum(count * centre for count, centre, _ in found.gaps) / n
    within = math.fsum(m2 + count * (centre - mean) ** 2 for count, centre, m2 in found.gaps)
    error = math.sqrt(within / (n - 1) / n) if n > 1 else math.nan
    if not math.isfinite(mean) or not math.isfinite(error):
        p_value = 0.0  # an edge that answers NaN in a slice has lost it
    elif error == 0:
        p_value = 0.0 if mean > 0 else 1.0
    else:
        p_value = statistics.t_tail(mean / error, n - 1)
    return {
        "metric": "rmse",
        "cloud": cloud if math.isfinite(cloud) else None,
        "edge": edge if math.isfinite(edge) else None,
        "difference": edge - cloud if math.isfinite(edge - cloud) else None,
        "interval": None,
        "p_value": p_value,
        "_shown": math.isfinite(error) and mean + (statistics.student_t(n - 1) * error if n > 1 else 0.0) <= 0,
    }
