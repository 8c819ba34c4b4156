"""The smaller model: the same graph with every layer made anew for the channels that are left."""

from __future__ import annotations

from typing import Any

from converters.compaction.channels import Analysis
from toolkit.training import replay


def rebuild(model: Any, found: Analysis) -> Any:
    """The model of an analysis, with the structure and the names of the source."""
    calls = {id(call.layer): call for call in found.calls}
    weights: list[tuple[Any, list[Any]]] = []

    def layer_of(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = calls[id(layer)]
        constants, keep = ([side[key] for key in call.inputs] for side in (found.constants, found.keep))
        made = call.rule.narrowed(layer, constants, keep, found.keep[call.outputs[0]])
        if made is None:
            return None
        weights.append(made)
        return made[0]

    smaller = replay.replay(model, layer_of)
    for layer, values in weights:
        layer.set_weights(values)
    return smaller
