"""``inspect --runtimes``: on which runtimes a file loads, runs and agrees, as rows and as an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click


def asked(file: Path, wanted: bool, fleet: Sequence[str], data: str | None) -> dict[str, Any]:
    """What ``inspect`` adds to its document; empty where nobody asked for runtimes.

    Raises:
        UsageError: samples without a question, or no such runtime.
        MissingError: a runtime that cannot be had here.
        BrokenInput: samples that do not fit the model.
    """
    from toolkit.errors import UsageError

    if not (wanted or fleet):
        if data is not None:
            raise UsageError("--data is for --runtimes", remedy="add --runtimes")
        return {}
    from converters import contract, runtimes_agree
    from devices import environments
    from toolkit.cli import samples
    from toolkit.progress import Progress

    progress = Progress()
    inputs = None
    if data is not None:
        inputs = samples.read(data, contract.float_signature(file), "evaluation", progress).inputs
    named = environments.ready(fleet, progress=progress)
    return runtimes_agree.report(file, named, data=inputs, progress=progress)


def code(found: Mapping[str, Any]) -> int:
    """1 where a runtime that loads the file disagrees, with a line for each on stderr."""
    if not found:
        return 0
    from converters import runtimes_agree
    from toolkit.progress import Progress

    wrong = runtimes_agree.disagreeing(found)
    for line in wrong:
        Progress().say(f"failed: {line}")
    return 1 if wrong else 0


def show(found: Mapping[str, Any]) -> int:
    """Prints the rows for people; returns the exit code."""
    if found:
        click.echo(f"runtimes, against {found['reference']}, within {found['tolerance']}")
        width = max(len(row["runtime"]) for row in found["runtimes"])
        for row in found["runtimes"]:
            click.echo(f"  {row['runtime']:<{width}}  XNNPACK {'on ' if row['xnnpack'] else 'off'}  {_said(row)}")
            if row["known"]:
                click.echo(f"  {'':<{width}}  known: {row['known']}")
    return code(found)


def _said(row: Mapping[str, Any]) -> str:
    if not row["loads"]:
        return f"does not load: {row['why']}"
    if not row["runs"]:
        return f"loads and does not run: {row['why']}"
    if row["agree"] is None:
        return "runs; there is nothing to compare it with"
    taken = row["delegated_ops"]
    operators = f", {taken[0]} of {taken[1]} operators delegated" if taken else ""
    error = "" if row["max_abs_error"] is None else f", max-abs {row['max_abs_error']:.2g}"
    return f"{'agrees' if row['agree'] else 'DISAGREES: ' + str(row['why'])}{error}{operators}"
