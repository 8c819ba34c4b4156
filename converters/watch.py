"""What flows through a float ``.tflite``: every tensor that it computes, for some samples, a batch at a time.

The file is one that our own converter has just written from a model which passed its parity check, so it runs in this
process; whatever else is run has a process of its own.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from converters import metadata
from toolkit import flatbuffer
from toolkit.flatmodel import FlatTensor

BATCH = 32
"""Samples at a time: all tensors of a batch are in memory together."""

MACS = 2e10
"""Multiply-accumulates that a look may cost, about ten seconds of one core without XNNPACK."""

_OWN_RANGE = frozenset({"SOFTMAX", "LOGISTIC", "TANH", "LOG_SOFTMAX"})
"""TFLite's quantization specification fixes the scale of their outputs."""


@contextlib.contextmanager
def keeping_tensors() -> Iterator[None]:
    """Without the interpreter's warning that keeping every tensor takes memory, which is what they are kept for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
        yield


class Seen(NamedTuple):
    """One batch: its inputs and all tensors that were computed for it, by index, ``[n, ...]``."""

    samples: int
    tensors: dict[int, np.ndarray]


class Watch:
    """A float ``.tflite`` with all of its tensors kept.

    Args:
        data: the file. Only its main signature is watched.
    """

    def __init__(self, data: bytes) -> None:
        self._model = flatbuffer.parse(data)
        signature = self._model.signature()
        found = next(s for s in metadata.of_file(data)["signatures"] if s["key"] == signature.key)
        graph = self._model.graphs[0]
        self._inputs = {t["name"]: graph.inputs[t["index"]] for t in found["inputs"]}
        self.outputs = {t["name"]: graph.outputs[t["index"]] for t in found["outputs"]}
        """Index of every output by its name."""
        self._fixed = next((s.shape[0] for s in signature.inputs if s.shape and s.shape[0] is not None), None)
        self._data = data

    @property
    def tensors(self) -> dict[int, FlatTensor]:
        """The float tensors that are fed or computed, by index, in the order in which they come to be."""
        graph = self._model.graphs[0]
        order = [*graph.inputs, *(i for op in graph.ops for i in op.outputs)]
        return {i: graph.tensors[i] for i in order if graph.tensors[i].dtype == "FLOAT32"}

    @property
    def ranged(self) -> set[int]:
        """Computed tensors whose integer range is taken from samples: not those of operators that have one range."""
        return {i for op in self._model.graphs[0].ops if op.name not in _OWN_RANGE for i in op.outputs}

    @property
    def affordable(self) -> int:
        """So many samples cost at most :data:`MACS`; at least 8."""
        return max(8, int(MACS / max(self._model.macs(), 1)))

    def run(self, inputs: Mapping[str, np.ndarray]) -> Iterator[Seen]:
        """Runs the file over samples by name, ``[N, ...]``."""
        from ai_edge_litert.interpreter import Interpreter

        total = len(next(iter(inputs.values())))
        step = self._fixed or min(BATCH, total)
        with keeping_tensors():
            interpreter = Interpreter(model_content=self._data, experimental_preserve_all_tensors=True)
        wanted = list(self.tensors)
        allocated = 0
        for first in range(0, total, step):
            count = min(step, total - first)
            feed = {index: inputs[name][first : first + count] for name, index in self._inputs.items()}
            if self._fixed and count < step:  # a last batch that is too short is filled up, and cut again
                feed = {i: np.concatenate([v, np.repeat(v[-1:], step - count, axis=0)]) for i, v in feed.items()}
            if (size := len(next(iter(feed.values())))) != allocated:
                for index, values in feed.items():
                    interpreter.resize_tensor_input(index, values.shape)
                interpreter.allocate_tensors()
                allocated = size
            for index, values in feed.items():
                interpreter.set_tensor(index, np.ascontiguousarray(values))
            interpreter.invoke()
            found = {}
            for index in list(wanted):
                try:
                    found[index] = np.array(interpreter.get_tensor(index))
                except ValueError:  # of a loop's own size: the interpreter keeps no such tensor, and nobody can see it
                    wanted.remove(index)
            yield Seen(count, {i: v[:count] if v.ndim and len(v) == size else v for i, v in found.items()})
