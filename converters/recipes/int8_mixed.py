"""8-bit integers in every layer but the few that suffer from them, which stay in float."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converters import labels, legality
from toolkit.records import Recipe, Tolerance, to_json

if TYPE_CHECKING:  # annotations only: `recipes list` must stay fast
    import numpy as np

    from converters.job import Conversion
    from converters.parents import Parents
    from toolkit.flatbuffer import FlatModel
    from toolkit.records import ModelBundle

RECIPE = Recipe(
    name="int8_mixed",
    summary="8-bit integers but in the fewest layers that must stay in float for a budget; float inputs and outputs",
    weight_dtype="int8",
    activation_dtype="int8",
    io_dtype="float32",
    granularity="per-tensor in dense layers, per-channel in convolutions",
    needs=("calibration",),
    tolerance=Tolerance(psnr_db=30.0, top1=0.99, tie=labels.TIE_8_BIT, reason="as int8, in the layers that are"),
)

KINDS = {"dense": "int8, per tensor", "conv": "int8, per channel", "depthwise": "int8, per channel"}


def refuse(bundle: ModelBundle) -> str | None:
    """Raw features would be blurred, and a layer's part in a second signature is not measured."""
    if bundle.signatures:
        return (
            f"measures the layers of one signature, and the model has {1 + len(bundle.signatures)}: use int8_float_io"
        )
    return legality.raw_features(bundle)


def configure(converter: Any, representative: Any) -> None:
    """Nothing to set: the converter makes the float file that ``finish`` quantizes."""


def decide(job: Conversion, parents: Parents) -> tuple[dict[str, Any], dict[str, Any]]:
    """Which layers stay in float: those that somebody named, else the fewest within the budget."""
    from converters import sensitivity

    if job.keep_float is None:
        kept, search = sensitivity.choose(job, parents, job.budget)
    else:
        kept, search = sensitivity.named(job, parents, job.keep_float)
    names = search.floats(kept.names)
    said = ", ".join(kept.names) or "no layer"
    job.progress.say(f"recipe {RECIPE.name}: {said} in float; {kept.metric} loss {kept.loss:.4g} on {kept.judged_by}")
    changed = {"finish": functools.partial(_finish, names=names), "expect": functools.partial(expect, names=kept.names)}
    return changed, {"kept_float": to_json(kept)}


def finish(data: bytes, calibration: Mapping[str, np.ndarray]) -> bytes:
    """Everything in int8; :func:`decide` says what is not."""
    return _finish(data, calibration, names=())


def expect(model: FlatModel, names: Sequence[str] = ()) -> list[str]:
    """Float at the edges, these layers in float, and every other kernel in int8."""
    return labels.io(model, "FLOAT32") + labels.floats(model, names, "INT8")


def _finish(data: bytes, calibration: Mapping[str, np.ndarray], *, names: Sequence[str]) -> bytes:
    from converters import aeq

    return aeq.Static(data, calibration).but(names)
