"""Both sides' metrics and their paired difference with a 95 % interval, from facts in one pass over the blocks.

| method | interval | p-value, that there is no difference |
|---|---|---|
| proportion | Tango's score interval for paired proportions | McNemar, exact |
| mean | Student's t on the rows' differences | the same |
| sums | percentile bootstrap of both sides' sums from the same rows | twice the smaller side's share of draws |
| order | normal, with DeLong's standard error or that of sections | the same |

Rows beyond :data:`ROWS_DRAWN` are dealt into as many groups, by a hash of their numbers, and groups are resampled in
their stead: sums over groups vary as sums over their rows do. Metrics of rows in their order are then means over
random parts of at most :data:`PART` rows. So memory does not grow with the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from devices.evaluation import metrics as registry
from devices.evaluation.metrics import Columns, Metric
from toolkit import statistics

ROWS_DRAWN = 20_000
DRAWS = 2000
PART = 1 << 17
_MOST_SUMS = 4_000_000
"""Group sums held at a time: with many classes there are fewer groups, at least :data:`_FEWEST_GROUPS`."""
_FEWEST_GROUPS = 400

Blocks = Callable[[], Iterable[tuple[int, Columns]]]
"""Gives the number of each block's first row and its columns, anew each time it is called."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One metric of both sides. ``None``: there is no number, as some of the outputs are not finite, or no rows.

    ``difference`` is edge minus cloud, with its 95 % interval; ``rise`` of a metric where less is better.
    """

    metric: str
    n: int
    cloud: float | None
    edge: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    method: str
    unit: str
    higher: bool
    relative: bool
    few: int
    gained: int | None = None
    lost: int | None = None


def evaluate(blocks: Blocks, asked: Sequence[Metric], n: int, *, seed: int = 0) -> list[Result]:
    """Every metric of ``asked``, in its order.

    Args:
        blocks: the rows.
        asked: the metrics.
        n: how many rows there are.
        seed: of the bootstrap's draws and of the dealing into groups.
    """
    summed = [_Summed.of(metric, n, seed) for metric in asked if metric.method != registry.ORDER]
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity end as "no number", and are said
        for start, columns in blocks() if summed else ():
            for one in summed:
                one.add(start, columns)
        done = {one.metric.name: one.result() for one in summed}
    for metric in asked:
        if metric.method == registry.ORDER:
            done[metric.name] = _ordered(metric, blocks, n, seed)
    return [done[metric.name] for metric in asked]


def dealt(start: int, count: int, groups: int, seed: int) -> np.ndarray:
    """The group, 0 to ``groups`` - 1, of rows ``start`` on: a hash of the row's number (Steele et al., SplitMix64)."""
    rows = np.arange(start, start + count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = (rows + np.uint64(seed) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    found: np.ndarray = (z % np.uint64(groups)).astype(np.int64)
    return found


@dataclass(kw_only=True)
class _Summed:
    """The sums of one metric so far; all rows fall in one group but for a bootstrap."""

    metric: Metric
    n: int
    seed: int
    groups: int
    sums: dict[str, np.ndarray]
    counts: dict[str, int] = field(default_factory=lambda: {"rows": 0, "gained": 0, "lost": 0})
    gaps: list[tuple[int, float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, metric: Metric, n: int, seed: int) -> _Summed:
        groups = 1
        if metric.method == registry.SUMS:
            groups = max(1, min(n, ROWS_DRAWN, max(_FEWEST_GROUPS, _MOST_SUMS // metric.size)))
        sums = {side: np.zeros((groups, metric.size)) for side in ("cloud", "edge")}
        return cls(metric=metric, n=n, seed=seed, groups=groups, sums=sums)

    def add(self, start: int, columns: Columns) -> None:
        """Adds a block."""
        count, size = len(columns["far"]), self.metric.size
        self.counts["rows"] += count
        assert self.metric.terms is not None
        terms = {side: self.metric.terms(columns, side) for side in self.sums}
        group = np.zeros(count, dtype=np.int64)
        if self.groups > 1:
            whole = self.groups == self.n
            group = np.arange(start, start + count) if whole else dealt(start, count, self.groups, self.seed)
        for side, found in terms.items():
            for index, weight in found:
                place = group * size + (0 if index is None else index)
                added = np.bincount(place, weights=weight.astype(np.float64), minlength=self.groups * size)
                self.sums[side] += added.reshape(self.groups, size)
        (_, left), (_, right) = terms["cloud"][0], terms["edge"][0]
        if self.metric.method == registry.PROPORTION:
            self.counts["gained"] += int(np.sum(right & ~left))
            self.counts["lost"] += int(np.sum(left & ~right))
        elif self.metric.method == registry.MEAN and count:
            gap = right - left
            centre = float(gap.mean())
            self.gaps.append((count, centre, float(((gap - centre) ** 2).sum())))

    def result(self) -> Result:
        """The metric over all blocks."""
        n, method = self.counts["rows"], self.metric.method
        if not n:
            return _result(self.metric, 0, math.nan, math.nan)
        totals = {side: sums.sum(axis=0) for side, sums in self.sums.items()}
        if method == registry.SUMS:
            return self._drawn(n, totals)
        cloud, edge = (float(totals[side][0]) / n for side in ("cloud", "edge"))
        if method == registry.PROPORTION:
            gained, lost = self.counts["gained"], self.counts["lost"]
            difference, interval = statistics.paired_difference(gained, lost, n)
            p_value = statistics.mcnemar_exact(gained, lost)
            return _result(
                self.metric, n, cloud, edge, difference, interval, p_value, words="Tango, McNemar", flips=(gained, lost)
            )
        if not all(math.isfinite(centre) for _, centre, _ in self.gaps):
            return _result(self.metric, n, cloud, edge)
        difference = math.fsum(count * centre for count, centre, _ in self.gaps) / n
        within = math.fsum(m2 + count * (centre - difference) ** 2 for count, centre, m2 in self.gaps)
        error = math.sqrt(within / (n - 1) / n) if n > 1 else math.nan
        reach = statistics.student_t(n - 1) * error if n > 1 else math.nan
        p_value = statistics.t_p_value(difference, error, n - 1) if n > 1 else math.nan
        interval = (difference - reach, difference + reach)
        return _result(self.metric, n, cloud, edge, difference, interval, p_value, words="paired t")

    def _drawn(self, n: int, totals: dict[str, np.ndarray]) -> Result:
        value = self.metric.value
        assert value is not None
        cloud, edge = (float(value(totals[side])) for side in ("cloud", "edge"))
        stacked = np.concatenate([self.sums["cloud"], self.sums["edge"]], axis=1).T
        if self.groups < 2 or not np.isfinite(stacked).all():
            return _result(self.metric, n, cloud, edge)
        drawn = statistics.resampled_sums(stacked, np.random.default_rng(self.seed), DRAWS)
        size = self.metric.size
        differences = value(drawn[:, size:]) - value(drawn[:, :size])
        differences = differences[np.isfinite(differences)]
        if len(differences) < DRAWS / 2:
            return _result(self.metric, n, cloud, edge)
        low, high = np.percentile(differences, [2.5, 97.5])
        side = min(int(np.sum(differences <= 0)), int(np.sum(differences >= 0)))
        p_value = min(1.0, 2 * (side + 1) / (len(differences) + 1))
        interval = (float(low), float(high))
        return _result(self.metric, n, cloud, edge, edge - cloud, interval, p_value, words="bootstrap")


def _ordered(metric: Metric, blocks: Blocks, n: int, seed: int) -> Result:
    assert metric.ordered is not None
    parts = max(1, math.ceil(n / PART))
    found, sizes = [], []
    for part in range(parts):
        held: dict[str, list[np.ndarray]] = {name: [] for name in metric.needs}
        for start, columns in blocks():
            rows = slice(None)
            if parts > 1:
                rows = np.flatnonzero(dealt(start, len(columns["far"]), parts, seed) == part)  # type: ignore[assignment]
            for name, values in held.items():
                values.append(columns[name][rows])
        joined = {name: np.concatenate(values) if values else np.empty(0) for name, values in held.items()}
        sizes.append(len(joined[metric.needs[0]]))
        if not sizes[-1] or not all(np.isfinite(values).all() for values in joined.values()):
            return _result(metric, n, math.nan, math.nan)
        found.append(metric.ordered(joined))
    weights = np.array(sizes) / sum(sizes)
    cloud, edge = (float(np.dot(weights, [getattr(one, side) for one in found])) for side in ("cloud", "edge"))
    error = float(np.sqrt(np.dot(weights**2, [one.error**2 for one in found])))
    difference = edge - cloud
    reach = statistics.Z95 * error
    p_value = statistics.z_p_value(difference, error)
    words = "DeLong" if metric.name == "auc" else "sections"
    return _result(metric, n, cloud, edge, difference, (difference - reach, difference + reach), p_value, words=words)


def _result(
    metric: Metric,
    n: int,
    cloud: float,
    edge: float,
    difference: float = math.nan,
    interval: tuple[float, float] = (math.nan, math.nan),
    p_value: float = math.nan,
    *,
    words: str = "",
    flips: tuple[int, int] | None = None,
) -> Result:
    if math.isfinite(cloud) and math.isfinite(edge) and not math.isfinite(difference):
        difference = edge - cloud
    return Result(
        metric=metric.name,
        n=n,
        cloud=_number(cloud),
        edge=_number(edge),
        difference=_number(difference),
        interval=interval if all(map(math.isfinite, interval)) else None,
        p_value=_number(p_value),
        method=words or metric.method,
        unit=metric.unit,
        higher=metric.higher,
        relative=metric.relative,
        few=metric.few,
        gained=flips[0] if flips else None,
        lost=flips[1] if flips else None,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
