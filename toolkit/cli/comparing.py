"""Every artifact on every target against the cloud, on the same samples: what ``validate`` and ``export`` do."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import devices.targets
from devices import validate
from devices.evaluation import conclude, cuts, engine, slices
from devices.evaluation.table import Block, Table
from toolkit.cli import functions
from toolkit.cli.benching import digest, opened, slug
from toolkit.cli.feeding import Source
from toolkit.errors import BrokenInput, UsageError
from toolkit.progress import Progress
from toolkit.records import Comparison, from_json, to_json
from toolkit.store import Run, key_of, read_json, sha256_file, write_json

FACTS = 1
"""Raised when a row's facts are made otherwise: those of an earlier program are not taken for this one's."""

_PRIMARY = ("accuracy", "rmse", "parity")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of an evaluation.

    Args:
        budget: of the metric that stands for the whole, or by metric; ``None``: the usual ones.
        output: the output that is judged, where there are several.
        metrics: names of metrics to report; empty: the usual ones. The first of accuracy, rmse and parity, if one is
            named, stands for the whole.
        slicings: how to divide the rows.
        slice_budget: largest loss in a slice; ``None``: as of the whole.
        smallest: rows that a slice needs to be tested.
        batch: samples that are answered together.
        workers: blocks that are answered at a time.
        shard: ``(i, n)``: only every n-th block, from the i-th (1 to n) on, is made here, and nothing is concluded.
        seed: of what is drawn.
    """

    budget: float | dict[str, float] | None = None
    output: str | None = None
    metrics: tuple[str, ...] = ()
    slicings: tuple[cuts.Slicing, ...] = ()
    slice_budget: float | None = None
    smallest: int = slices.SMALLEST
    batch: int = engine.BATCH
    workers: int = 1
    shard: tuple[int, int] | None = None
    seed: int = 0

    @property
    def functions(self) -> tuple[str, ...]:
        """Metrics that are the user's own functions."""
        return tuple(name for name in self.metrics if functions.is_one(name))

    @property
    def primary(self) -> str | None:
        """The metric that the budget is for, where one was named that can be."""
        return next((name for name in self.metrics if name in _PRIMARY), None)

    def decisive(self) -> dict[str, Any]:
        """What a Comparison depends on."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("workers", "batch", "shard"):
            del found[name]
        return {**to_json(found), "code": _code(self.functions), "slice_code": _code(cuts.columns(self.slicings))}


def _code(names: Sequence[str]) -> list[str]:
    """Digests of the files of those names that are functions."""
    return [sha256_file(Path(name.rpartition(":")[0])) for name in names if functions.is_one(name)]


def compare(
    run: Run,
    edges: Sequence[tuple[str, Path]],
    targets: Sequence[str],
    cloud: Path,
    against: str,
    source: Source,
    asked: Asked,
    *,
    threads: int,
    progress: Progress,
    again: bool = False,
) -> list[Comparison]:
    """Compares every edge file on every target with the cloud model, on the same samples.

    Args:
        run: where facts and records go.
        edges: name and path of each artifact.
        targets: where they run.
        cloud: the reference's file or folder.
        against: the target that runs it.
        source: the samples.
        asked: what is asked.
        threads: of the edge's runtime.
        progress: told what is done.
        again: conclude anew, and answer anew where a device is not on this machine.

    Returns:
        One for each target and artifact; none of a shard.
    """
    asking = engine.Asking(
        output=asked.output,
        metric=asked.primary,
        names=asked.functions,
        functions=tuple(functions.load(name) for name in asked.functions),
    )
    with opened(targets, threads) as reached, contextlib.ExitStack() as stack:
        jobs = []
        reference = devices.targets.open(against)
        if hasattr(reference, "close"):
            stack.callback(reference.close)
        shared = {
            "facts": FACTS,
            "cloud": digest(cloud),
            "against": [against, reference.target],
            "samples": source.digest,
            "output": asked.output,
            "kind": asking.metric,
            "functions": [asked.functions, _code(asked.functions)],
        }
        for spec, device in reached:
            for name, path in edges:
                facts = {**shared, "edge": digest(path), "target": device.target}
                table = Table(run.path("evaluations", key_of(facts)[:16]))
                key = key_of({**facts, **asked.decisive()})
                jobs.append(_Job(name, spec, device, path, table, key, run, local=hasattr(device, "session")))
        # What runs elsewhere may have changed without a trace; what is here is known by its digests.
        remote = not hasattr(reference, "session")
        if again:
            for job in jobs:
                job.forget(anew=remote)
        todo = [job for job in jobs if not run.done(job.stage, job.key)]
        next(source.sliced(), None)  # what cannot be sliced is said before anything is answered
        if todo:
            side = engine.Cloud(target=against, device=reference, model=cloud)
            _answer(todo, side, source, asking, asked, progress)
        if asked.shard is not None:
            return []
        for job in todo:
            _conclude(job, against, source, asked, progress)
        return [from_json(Comparison, read_json(job.record)) for job in jobs]


@dataclasses.dataclass(frozen=True)
class _Job:
    name: str
    spec: str
    device: Any
    path: Path
    table: Table
    key: str
    run: Run
    local: bool

    @property
    def record(self) -> Path:
        return self.run.path("comparisons", slug(self.spec), f"{self.name}.json")

    @property
    def stage(self) -> str:
        return f"validate-{slug(self.spec)}-{self.name}"

    def forget(self, *, anew: bool) -> None:
        self.run.forget(self.stage)
        # A table that is not whole is a killed run's: it goes on.
        if (anew or not self.local) and self.table.whole:
            shutil.rmtree(self.table.folder)


def _answer(
    jobs: Sequence[_Job],
    cloud: engine.Cloud,
    source: Source,
    asking: engine.Asking,
    asked: Asked,
    progress: Progress,
) -> None:
    edges = [
        engine.Edge(recipe=job.name, target=job.spec, device=job.device, model=job.path, table=job.table)
        for job in jobs
        if not job.table.whole
    ]
    if not edges:
        return
    names = ", ".join(dict.fromkeys(f"{edge.recipe} on {edge.target}" for edge in edges))
    shard = asked.shard
    rows = 0
    with progress.task(f"validate {names} against {cloud.target}") as bar:

        def done(count: int) -> None:
            nonlocal rows
            rows += count
            bar.advance(0, f"{rows:,} rows")

        found = engine.run(
            source.blocks,
            cloud,
            edges,
            asking,
            workers=asked.workers,
            batch=asked.batch,
            wanted=(lambda index: index % shard[1] == shard[0] - 1) if shard else lambda index: True,
            done=done,
        )
    if found is None and not shard:
        raise BrokenInput("has no rows", where=source.name, remedy="give at least one sample")
    if not shard:
        for edge in edges:
            edge.table.finish()


def _conclude(job: _Job, against: str, source: Source, asked: Asked, progress: Progress) -> None:
    question = job.table.asked()
    assert question is not None
    if asked.slicings and question.kind == "parity" and not question.labelled and question.classes is None:
        raise UsageError("slices need labels, or class scores", where=source.name, remedy="add a column 'label'")

    def work() -> list[Path]:
        with progress.task(f"statistics of {job.name} on {job.spec}"):
            comparison = conclude.conclude(
                lambda: iter(job.table),
                question,
                recipe=job.name,
                target=job.spec,
                against=against,
                metric=asked.primary,
                more=[name for name in asked.metrics if name != "parity"] or None,
                budget=dict(validate.BUDGETS) if asked.budget is None else asked.budget,
                seed=asked.seed,
            )
            if asked.slicings:
                found = slices.find(
                    lambda: _with_columns(job.table, source),
                    asked.slicings,
                    question,
                    n=comparison.n,
                    budget=_slice_budget(asked, comparison),
                    smallest=asked.smallest,
                    seed=asked.seed,
                )
                comparison = dataclasses.replace(comparison, slices=found)
        write_json(job.record, dataclasses.replace(comparison, artifact_sha256=digest(job.path)))
        return [job.record]

    job.run.stage(job.stage, job.key, work)


def _with_columns(table: Table, source: Source) -> Iterator[Block]:
    """The blocks with the columns that slices are made of: facts do not depend on how they are divided."""
    for block, columns in zip(table, source.sliced(), strict=True):
        yield dataclasses.replace(block, slices=columns)


def _slice_budget(asked: Asked, comparison: Comparison) -> float:
    """Of a slice: what was asked, else the whole's, else parity's share of changed classes."""
    if asked.slice_budget is not None:
        return asked.slice_budget
    if comparison.budget is not None:
        return comparison.budget
    return 1 - (conclude.STARTING_TOLERANCE.top1 or 1.0) if comparison.metric == "parity" else 0.0
