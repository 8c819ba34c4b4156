"""Dead units out of a Keras model for real: a smaller network that answers the same.

A unit whose incoming weights are all zero puts out one constant, whatever comes in; a unit whose outgoing weights are
all zero is not heard. Both can go: the constant is folded, through the unit's activation, into the next bias.

``channels``  what of every layer is constant, and what has to stay
``rules``     how each kind of layer carries constants forward and needs backward
``rebuild``   the smaller model
"""

from __future__ import annotations

from typing import Any

from converters.compaction import channels, rebuild


def compact(model: Any, *, multiple: int = 1) -> Any:
    """The model without its dead units and channels; equal outputs but for the order of float additions.

    Inputs, outputs and all names stay. Layers that are not understood keep everything that reaches them.

    Args:
        model: a functional or sequential tf_keras model.
        multiple: channels are kept in multiples of this where there are that many, as vector units like them.

    Returns:
        A new model; unchanged layers are shared with ``model``.
    """
    found = channels.analyse(model, multiple=multiple)
    return rebuild.rebuild(model, found)


def hidden(model: Any) -> dict[str, int]:
    """The width of every layer of units or channels, by name; the outputs' own are left out."""
    outputs = {tensor.node.layer.name for tensor in model.outputs}
    widths = {}
    for layer in model.layers:
        if type(layer).__name__ in ("Conv2D", "Dense") and layer.name not in outputs:
            widths[layer.name] = int(layer.get_weights()[0].shape[-1])
    return widths
