"""Training health: what is measured, from which value on it is a failure, and what is said about it.

Four failures are watched: gradients that vanish or explode, ReLU units that never fire, a loss that is no number,
and kernels that are zero throughout. Nothing here needs TensorFlow: :mod:`toolkit.training.health_probe` measures,
:mod:`toolkit.training.health_callback` says when.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.training.health_probe import Vitals

VANISHING_RATIO = 4.0**-5
"""What reaches the first hidden layer, over what reaches the last, below which gradients vanish.

The norm of the back-propagated gradient shrinks or grows by the layers' Jacobians (Pascanu, Mikolov, Bengio, "On the
difficulty of training recurrent neural networks", 2013, eq. 5 to 7); where those preserve it the ratio is near 1
(Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, eq. 2 to 6). A
sigmoid's slope is 1/4 at most, and five sigmoid layers is where Glorot & Bengio's networks never left their plateau.
It is a quotient of two gradients of one pass, so training that has converged does not make it small."""

EXPLODING_RATIO = 4.0**5
"""The same quotient above which gradients explode: as far from 1 on the other side."""

EXPLODING_GROWTH = 100.0
"""A layer's gradient norm over the median norm of the whole gradient at the earlier probes, above which it explodes.

Pascanu et al. (section 3.2) clip at half to ten times the average norm and still converge; this is ten times beyond.
At learning rate 1e-3 the mnist networks came to 2.1 at most, at 3e-2 the dnn to 21. Growth and quotient count only
while the loss is no lower than at the start (weights that must grow to reach labels of 100,000 let gradients grow as
well) and where :data:`OVERTURNING` is passed."""

OVERTURNING = 1.0
"""A layer's gradient norm over its weights' norm. Below it a gradient that grew only came from nothing, as when a
converged model is trained on. At learning rate 1e-3 the mnist networks stayed below 0.6."""

FLOOR = 1e-12
"""Norm of the gradient at the last hidden layer below which no quotient is taken: nothing is left to learn, and
products with it run into float32's smallest numbers (1e-38)."""

DEAD_SHARE = 0.6
"""Share of a layer's ReLU units that fire for no row of the probe, above which it is warned about.

Some always are: at learning rate 1e-3 up to 0.16 of the mnist dnn's and 0.41 of the cnn's last hidden layer, over
15 runs that learned well (the course notes CS231n, "Neural networks 1", call 40 % a sign of too high a rate). At 3e-2
it was 0.83 to 0.88 of the dnn's, and accuracy fell from 94.6 to 89.3 % (means of seeds 0 to 2). At 1e-2 it was 0.52
to 0.86 of the cnn's, at no loss that three seeds can tell from noise (97.2 and 96.4 %): there it says that the layer
is wider than what is used of it. Of 512 rows a unit that fires for 1 % stays silent over all with a probability of
0.6 %, of 128 with 28 %."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One failure, said once for each layer.

    ``kind`` is ``vanishing``, ``exploding``, ``dead_relu``, ``nan_loss`` or ``zero_kernel``; ``epoch`` counts from 1,
    and 0 is before the first step. ``value`` is the quotient, the factor of growth, the share or the loss.
    """

    kind: str
    layer: str
    epoch: int
    value: float
    line: str


def diagnose(now: Vitals, earlier: Sequence[Vitals], learning_rate: float) -> list[Finding]:
    """The failures that a probe with a finite loss shows, the gravest first.

    Args:
        now: the probe.
        earlier: those before it, in order.
        learning_rate: for the remedies.
    """
    return [
        *_exploding(now, earlier, learning_rate),
        *_vanishing(now, earlier),
        *_dead(now, learning_rate),
        *_zero(now),
    ]


def no_number(loss: float, *, epoch: int, batch: int | None, largest: str | None, learning_rate: float) -> Finding:
    """The finding of a loss that is NaN or infinite.

    Args:
        loss: what it is.
        epoch: from 1; 0 before the first step, when only the data or the first weights can be the cause.
        batch: from 1; ``None`` at the end of an epoch.
        largest: the layer with the largest gradient when that was last known.
        learning_rate: for the remedy.
    """
    if epoch == 0:
        what, remedy = "before the first step", _DATA_REMEDY
    else:
        what = f"in epoch {epoch}" + (f", batch {batch}" if batch else "")
        remedy = f"lower the learning rate (it was {learning_rate:g}), or clip the gradients"
    named = f", the largest gradient was last in layer {largest}" if largest else ""
    kind, called = ("nan_loss", "") if math.isnan(loss) else ("exploding", " (exploding gradients)")
    line = f"training: the loss became {loss}{called} {what}{named}; {remedy}"
    return Finding(kind=kind, layer=largest or "", epoch=epoch, value=loss, line=line)


def monitor(
    model: Any,
    *,
    loss: Callable[[Any, Any], Any],
    probe: tuple[Mapping[str, np.ndarray], np.ndarray],
    logs: Path,
    warn: Callable[[str], None],
    stop: bool = False,
    learning_rate: float = 1e-3,
) -> Any:
    """A tf_keras callback that watches a model's health, in ``fit`` or driven by a ``CallbackList``.

    It probes the model before the first step, after batches 1, 10 and 100, and after every epoch: one forward and one
    backward pass over the probe. Batches are normalised by the probe's own moments, dropout is off, and neither
    weights, moving averages nor random numbers are touched: the trained weights are the same bits with or without.
    ``callback.findings`` holds what was found, ``callback.record()`` gives the last measurements as plain JSON
    values.

    Args:
        model: a built functional or sequential tf_keras model; it may hold models.
        loss: of labels and outputs, giving a scalar or a number for each row; the model's penalties are added.
        probe: inputs by name ``[N, ...]`` and labels ``[N]``, rows of the training split.
        logs: TensorBoard's folder; the scalars go to its subfolder ``health``, by step.
        warn: given one line for each finding.
        stop: raise the first finding instead.
        learning_rate: for the remedies.

    Raises:
        CheckFailed: out of the callback's methods, when the loss is NaN or infinite, or with ``stop`` at a finding.
    """
    from toolkit.training.health_callback import watching

    return watching(model, loss=loss, probe=probe, logs=logs, warn=warn, stop=stop, learning_rate=learning_rate)


def _exploding(now: Vitals, earlier: Sequence[Vitals], learning_rate: float) -> Iterator[Finding]:
    remedy = f"lower the learning rate (it was {learning_rate:g}), clip the gradients, or start with smaller weights"
    broken = [name for name, g in now.gradients.items() if g is not None and not math.isfinite(g)]
    if broken:
        # Backwards, all that comes after the first that is no number is none either: the last in the order was first.
        name = broken[-1]
        value = now.gradients[name] or 0.0
        remedy = remedy if now.epoch else _DATA_REMEDY
        yield _finding("exploding", now, name, value, f"the norm of its gradient is {value}", remedy)
        return
    if earlier and now.loss < earlier[0].loss:
        return
    overturned = {name for name, share in now.relative.items() if share > OVERTURNING}
    ends = _ends(now)
    if ends and ends[0] in overturned and ends[2] > EXPLODING_RATIO:
        first, last, ratio = ends
        yield _finding("exploding", now, first, ratio, f"{ratio:.1e} times what reaches {last} reaches it", remedy)
        return
    usual = statistics.median(v.norm for v in earlier) if earlier else 0.0
    name = now.largest or ""
    factor = (now.gradients.get(name) or 0.0) / usual if usual else 0.0
    if name in overturned and factor > EXPLODING_GROWTH:
        said = f"its norm is {factor:.1e} times what the whole gradient's was before"
        yield _finding("exploding", now, name, factor, said, remedy)


def _vanishing(now: Vitals, earlier: Sequence[Vitals]) -> Iterator[Finding]:
    # One probe is no trend: an output layer that starts at zero passes nothing back until its first step. And a layer
    # that is dead lets nothing through: that is the finding then.
    ends, before = _ends(now), _ends(earlier[-1]) if earlier else None
    dead = any(share > DEAD_SHARE for share in now.dead.values())
    if ends and before and max(ends[2], before[2]) < VANISHING_RATIO and not dead:
        first, last, ratio = ends
        remedy = "use relu with he_normal, or batch normalization, or fewer layers"
        yield _finding("vanishing", now, first, ratio, f"{ratio:.1e} of what reaches {last} reaches it", remedy)


def _dead(now: Vitals, learning_rate: float) -> Iterator[Finding]:
    for name, share in now.dead.items():
        if share > DEAD_SHARE:
            remedy = f"lower the learning rate (it was {learning_rate:g}), start its biases at 0, or use leaky relu"
            if name in now.penalized:
                remedy = f"weaken its penalty, or give it fewer units; else {remedy}"
            yield _finding("dead_relu", now, name, share, f"{share:.0%} of its units never fire", remedy)


def _zero(now: Vitals) -> Iterator[Finding]:
    # Not before an epoch is through: wide weights and some output layers start at zero.
    for kernel, share in now.zeros.items() if now.ended_epoch else ():
        if share == 1:
            remedy = "weaken the L1 penalty, or leave the layer out"
            yield _finding("zero_kernel", now, kernel, share, "every weight is zero", remedy)


_DATA_REMEDY = "look for NaN, infinite or huge values in the inputs and labels, or start with smaller weights"
"""Before the first step no learning rate is to blame."""

_NAMES = {
    "vanishing": "vanishing gradients",
    "exploding": "exploding gradients",
    "dead_relu": "dead ReLUs",
    "zero_kernel": "zero weights",
}


def _finding(kind: str, now: Vitals, layer: str, value: float, said: str, remedy: str) -> Finding:
    when = f"in epoch {now.epoch}" if now.epoch else "before the first step"
    line = f"layer {layer}: {_NAMES[kind]} {when}: {said}; {remedy}"
    return Finding(kind=kind, layer=layer, epoch=now.epoch, value=value, line=line)


def _ends(vitals: Vitals) -> tuple[str, str, float] | None:
    """The first and the last hidden layer, and the quotient of what reaches them; ``None`` with fewer than two."""
    names = list(vitals.arriving)
    if len(names) < 2 or vitals.arriving[names[-1]] < FLOOR:
        return None
    return names[0], names[-1], vitals.arriving[names[0]] / vitals.arriving[names[-1]]
