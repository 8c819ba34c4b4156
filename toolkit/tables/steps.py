"""How long to train: by examples seen and evaluations made, not by passes over the data."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Steps:
    """``epochs`` of ``steps_per_epoch`` batches each, of a dataset that repeats without end."""

    epochs: int
    steps_per_epoch: int


def steps(train_examples: int, evaluations: int, batch_size: int) -> Steps:
    """Epochs and steps per epoch, so that data of any size is evaluated equally often.

    steps_per_epoch = train_examples // (batch_size * evaluations), epochs = evaluations, as in Google's
    training-data-analyst courses (NUM_TRAIN_EXAMPLES, NUM_EVALS). Fewer than evaluations * batch_size examples of
    the total are not trained on.

    Args:
        train_examples: rows to train on in all, repeats counted; at least 1.
        evaluations: how often to evaluate; at least 1.
        batch_size: rows per step; at least 1.

    Raises:
        UsageError: a number below 1, or fewer examples than one batch per evaluation.
    """
    for name, value in (("train examples", train_examples), ("evaluations", evaluations), ("batch size", batch_size)):
        if value < 1:
            raise UsageError(f"{name} {value}", remedy="give 1 or more")
    each = train_examples // (batch_size * evaluations)
    if not each:
        least = batch_size * evaluations
        raise UsageError(
            f"{train_examples:,} train examples are less than one batch of {batch_size:,} per evaluation",
            remedy=f"train on {least:,} or more, evaluate less often, or take smaller batches",
        )
    return Steps(epochs=evaluations, steps_per_epoch=each)
