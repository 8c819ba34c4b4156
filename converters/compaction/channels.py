"""Which channels of a model are constant, and which have to stay.

A channel is a place on the last axis of a tensor. Constants go forward from layer to layer; needs go backward, and
sideways where tensors must have the same channels (the inputs of Add), until nothing changes any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.compaction import rules

VARIES = np.nan
"""Marks a channel that is no constant."""


@dataclass
class Call:
    """One call of a layer: keys of the tensors that go in and come out, and the channels of the latter."""

    layer: Any
    inputs: list[str]
    outputs: list[str]
    rule: rules.Rule
    widths: list[int]


@dataclass
class Analysis:
    """Of every tensor, by key: ``constants`` ``[C]`` (NaN: varies) and ``keep`` ``[C]``."""

    calls: list[Call]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    keep: dict[str, np.ndarray] = field(default_factory=dict)


def analyse(model: Any, *, multiple: int = 1) -> Analysis:
    """Constants and needs of every tensor of a functional or sequential tf_keras model."""
    found = Analysis(calls=_calls(model))
    for tensor in model.inputs:
        found.constants[str(id(tensor))] = np.full(_width(tensor), VARIES)
    for call in found.calls:
        given = [found.constants[key] for key in call.inputs]
        # Of several outputs nothing is known but their size: they are not alike.
        several = len(call.outputs) > 1
        for key, width in zip(call.outputs, call.widths, strict=True):
            found.constants[key] = np.full(width, VARIES) if several else call.rule.forward(call.layer, given)
    found.keep = {key: np.zeros(len(values), bool) for key, values in found.constants.items()}
    for tensor in (*model.inputs, *model.outputs):
        found.keep[str(id(tensor))][:] = True
    _settle(found)
    for call in found.calls:
        if call.rule.narrows:
            _round_up(found.keep[call.outputs[0]], call, multiple)
    _settle(found)
    return found


def _settle(found: Analysis) -> None:
    """Needs backward until nothing changes; they only grow, so this ends."""
    changed = True
    while changed:
        changed = False
        for call in reversed(found.calls):
            given = [found.constants[key] for key in call.inputs]
            keep_in, keep_out = [found.keep[key] for key in call.inputs], found.keep[call.outputs[0]]
            wanted_in, wanted_out = call.rule.backward(call.layer, given, keep_in, keep_out)
            for key, wanted in (*zip(call.inputs, wanted_in, strict=True), (call.outputs[0], wanted_out)):
                more = wanted & ~found.keep[key]
                if more.any():
                    found.keep[key] |= more
                    changed = True
            for key in call.outputs[1:]:
                found.keep[key][:] = True


def _round_up(keep: np.ndarray, call: Call, multiple: int) -> None:
    """Takes channels back until their number is a multiple, at least one; the heaviest first."""
    count = max(1, int(keep.sum()))
    wanted = min(len(keep), -(-count // multiple) * multiple)
    spare = np.flatnonzero(~keep)
    kernel = np.abs(call.layer.get_weights()[0])
    weight = kernel.reshape(-1, kernel.shape[-1]).sum(axis=0)
    keep[spare[np.argsort(-weight[spare], kind="stable")][: wanted - int(keep.sum())]] = True


def _calls(model: Any) -> list[Call]:
    nodes = [
        node
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
        if not node.is_input
    ]
    uses: dict[int, int] = {}
    for node in nodes:
        uses[id(node.layer)] = uses.get(id(node.layer), 0) + 1
    found = []
    for node in nodes:
        keys = [str(id(tensor)) for tensor in node.keras_inputs]
        # A layer that is called twice has one set of weights for two tensors.
        rule = rules.of(node, shared=uses[id(node.layer)] > 1)
        outputs = [str(i) for i in node.flat_output_ids]
        widths = [_width(tensor) for tensor in rules.tensors_of(node)]
        found.append(Call(layer=node.layer, inputs=keys, outputs=outputs, rule=rule, widths=widths))
    return found


def _width(tensor: Any) -> int:
    """Channels of a tensor; 1 where the last axis has no fixed size."""
    return int(tensor.shape[-1]) if len(tensor.shape) > 1 and tensor.shape[-1] else 1
