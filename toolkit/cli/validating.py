"""Runs ``validate``: finds both sides and the samples, compares, slices, and lets a policy decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from devices.evaluation import cuts, metrics
from toolkit.cli import comparing, functions, pipeline, stages
from toolkit.cli import files as named
from toolkit.errors import UsageError
from toolkit.progress import Progress, native_output_to
from toolkit.records import to_json
from toolkit.report import evaluation


def validate(edge: Path, recipes: tuple[str, ...], **given: Any) -> int:
    """The command; arguments are its options. Returns the exit code."""
    progress = Progress()
    slicings = tuple(s for text in given["slices"] for s in cuts.parse(text))
    for name in filter(functions.is_one, cuts.columns(slicings)):
        functions.load(name)  # one that is not there is said before anything is opened
    asked = comparing.Asked(
        budget=given["budget"],
        output=given["output"],
        metrics=_metrics(given["metrics"]),
        slicings=slicings,
        slice_budget=given["slice_budget"],
        smallest=given["smallest_slice"],
        batch=given["batch"],
        workers=given["workers"],
        shard=_shard(given["shard"]),
        seed=given["seed"],
    )
    path, edges = named.chosen(edge, recipes)
    against = given["against"] or _own(path)
    run = named.run_for([path], given["run_dir"], "validate")
    with native_output_to(run.path("logs", "native.log")):
        target, cloud = named.cloud(against, run, progress)
        source = named.source_for(
            given["data"], path, edges[0][1], progress, pixels=given["pixels"], slices=cuts.columns(slicings)
        )
        comparisons = comparing.compare(
            run,
            edges,
            given["targets"],
            cloud,
            target,
            source,
            asked,
            threads=given["threads"],
            progress=progress,
            again=True,
        )
        if asked.shard is not None:
            progress.say(f"shard {given['shard']} is done; without --shard all of them are put together")
            return 0
        failed = stages.failures([], [], comparisons, True)
        for comparison in comparisons:
            for found in comparison.slices.get("slices", ()):
                if found["verdict"] == "worse":
                    failed.append(f"{comparison.recipe} on {comparison.target}: slice {found['name']} is worse")
        if not given["as_json"]:
            for row in map(to_json, comparisons):
                click.echo("\n".join(evaluation.lines(row)))
        return pipeline.finish(run, progress, given["as_json"], failed, comparisons=comparisons)


def _metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for text in names for part in text.split(",") if part.strip()))
    for name in found:
        if functions.is_one(name):
            functions.load(name)
        elif not metrics.known(name) and name != "parity":
            raise metrics.unknown(name)
    return found


def _own(path: Path) -> str:
    run = named.run_of(path)
    if run is None:
        raise UsageError("no cloud model given", where=str(path), remedy="give --against SAVED_MODEL")
    return str(run)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard {text!r} is no part of a whole", remedy="write 2/8 for the second of eight")
    return int(number), int(count)
