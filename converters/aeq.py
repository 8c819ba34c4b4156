"""ai-edge-quantizer, behind one file: it quantizes a finished float ``.tflite``, operator by operator.

The package is about to be renamed, so nothing else in the project imports it.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters import packing
from converters.watch import keeping_tensors
from toolkit import flatbuffer
from toolkit.errors import BrokenInput
from toolkit.flatmodel import FlatModel


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How the kernels of one kind of operator are stored.

    Args:
        op: ``FULLY_CONNECTED``, ``CONV_2D`` or ``DEPTHWISE_CONV_2D``.
        bits: 4 or 8.
        dynamic: compute in integers, with activations quantized while running; else in floats.
        per_channel: one scale per output channel; else one per kernel.
        at_least: output channels below which an operator stays as it is.
    """

    op: str
    bits: int
    dynamic: bool = True
    per_channel: bool = True
    at_least: int = 0


_DENSE_PER_CHANNEL = 12
"""The version of FULLY_CONNECTED that knows a scale per channel where activations are quantized while running. The
quantizer writes 1, and a runtime without such a kernel (tflite-runtime 2.14) would load the file and be wrong in
silence: top-1 10 % on ten classes."""


def weights(data: bytes, kinds: Sequence[Weights]) -> bytes:
    """Stores kernels in integers; operators that ``kinds`` does not name stay as they are.

    Args:
        data: a float ``.tflite``.
        kinds: one for each kind of operator, at least one of which the file has.

    Returns:
        The new file; ``data`` itself where it has none of these operators.

    Raises:
        BrokenInput: the quantizer gave up.
    """
    model = flatbuffer.parse(data)
    scopes = {kind.op: _scopes(model, kind) for kind in kinds}
    chosen = [kind for kind in kinds if scopes[kind.op]]
    if not chosen:
        return data
    from ai_edge_quantizer import qtyping

    def configure(engine: Any) -> None:
        for kind in chosen:
            add = engine.add_dynamic_config if kind.dynamic else engine.add_weight_only_config
            granularity = qtyping.QuantGranularity
            grain = granularity.CHANNELWISE if kind.per_channel else granularity.TENSORWISE
            for scope in scopes[kind.op]:
                add(scope, qtyping.TFLOperationName(kind.op), kind.bits, grain)

    with _one_line(f"{', '.join(kind.op for kind in chosen)} in integers"):
        made = _quantized(data, configure)
    newer = any(k.op == "FULLY_CONNECTED" and k.dynamic and k.per_channel and k.bits == 8 for k in chosen)
    return _at_least(made, "FULLY_CONNECTED", _DENSE_PER_CHANNEL) if newer else made


def _scopes(model: FlatModel, kind: Weights) -> list[str]:
    """Expressions for the operators of a kind: for all of them, or for each that has channels enough."""
    if kind.op not in model.op_counts():
        return []
    if not kind.at_least:
        return [".*"]
    return [
        _scope(graph.tensors[op.outputs[0]].name)
        for graph in (*model.graphs, *model.bodies)
        for op in graph.ops
        if op.name == kind.op and (graph.tensors[op.inputs[1]].shape[0] or 0) >= kind.at_least
    ]


def static_int8_dense(data: bytes, calibration: Mapping[str, np.ndarray]) -> bytes:
    """Quantizes every FULLY_CONNECTED operator to int8 and leaves everything else as it is.

    Kernels and activations get one scale per tensor, the ranges being the smallest and the largest value seen.

    Args:
        data: a float ``.tflite``.
        calibration: inputs by name ``[N, ...]``, N ≥ 1, as the signature's inputs are typed.

    Returns:
        The new file; ``data`` itself where there is no such operator.

    Raises:
        BrokenInput: the quantizer gave up.
    """
    model = flatbuffer.parse(data)
    if "FULLY_CONNECTED" not in model.op_counts():
        return data
    key = model.signature().key
    from ai_edge_quantizer import qtyping

    def configure(engine: Any) -> None:
        engine.add_static_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            activation_num_bits=8,
            weight_num_bits=8,
            # Per channel the quantizer writes operator version 1 as well: a runtime whose kernel knows one scale
            # alone would load the file and be wrong in silence.
            weight_granularity=qtyping.QuantGranularity.TENSORWISE,
        )

    with _one_line("dense layers in int8"):
        return _quantized(data, configure, lambda recipe: _ranges(data, key, calibration, recipe))


class Static:
    """A float file, the ranges of its tensors, and versions of it with some operators in int8.

    Kernels of dense layers get one scale, for per channel the quantizer writes a version that older runtimes get wrong
    in silence; those of convolutions one per channel. Inputs and outputs of the file stay float.

    Args:
        data: a float ``.tflite``.
        calibration: inputs by name ``[N, ...]``, N >= 1; the ranges are the smallest and largest values seen.

    Raises:
        BrokenInput: the quantizer gave up.
    """

    def __init__(self, data: bytes, calibration: Mapping[str, np.ndarray]) -> None:
        self._data = data
        key = flatbuffer.parse(data).signature().key
        with _one_line("calibration"):
            from ai_edge_quantizer import quantizer

            with keeping_tensors():
                engine = quantizer.Quantizer(data)
                self._all(engine)
                self._found = _ranges(data, key, calibration, engine.get_quantization_recipe())

    def only(self, name: str) -> bytes:
        """The file with the one operator in int8 that computes the tensor ``name``, and those that must follow it."""
        return self._made(lambda engine: self._add(engine, _scope(name)), (), name)

    def but(self, names: Sequence[str]) -> bytes:
        """The file with everything in int8 that can be, but the operators that compute these tensors."""
        return self._made(self._all, names, "int8")

    def _all(self, engine: Any) -> None:
        self._add(engine, ".*")

    @staticmethod
    def _add(engine: Any, scope: str) -> None:
        from ai_edge_quantizer import qtyping

        granularity = qtyping.QuantGranularity
        for op, grain in (("ALL_SUPPORTED", granularity.CHANNELWISE), ("FULLY_CONNECTED", granularity.TENSORWISE)):
            engine.add_static_config(
                regex=scope,
                operation_name=qtyping.TFLOperationName[op],
                activation_num_bits=8,
                weight_num_bits=8,
                weight_granularity=grain,
            )

    def _made(self, configure: Callable[[Any], None], floats: Sequence[str], where: str) -> bytes:
        from ai_edge_quantizer import qtyping, quantizer

        def told(engine: Any) -> None:
            configure(engine)
            none, never = qtyping.OpQuantizationConfig(), quantizer.AlgorithmName.NO_QUANTIZE
            every = qtyping.TFLOperationName
            for scope, op in [
                (".*", every.INPUT),
                (".*", every.OUTPUT),
                *((_scope(n), every.ALL_SUPPORTED) for n in floats),
            ]:
                engine.update_quantization_recipe(scope, op, none, never)

        with _one_line(where):
            return _quantized(self._data, told, lambda recipe: self._found)


def _scope(name: str) -> str:
    """The quantizer knows an operator by the names of its outputs, each followed by a semicolon."""
    return f"^{re.escape(name)};"


def _quantized(
    data: bytes, configure: Callable[[Any], None], ranges: Callable[[Any], Any] = lambda recipe: None
) -> bytes:
    from ai_edge_quantizer import quantizer

    with keeping_tensors():
        engine = quantizer.Quantizer(data)
        configure(engine)
        found = ranges(engine.get_quantization_recipe())
        result = engine.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


@contextlib.contextmanager
def _one_line(where: str) -> Iterator[None]:
    try:
        yield
    # The quantizer raises ValueError, RuntimeError and KeyError alike.
    except Exception as error:
        reason = next((x for x in str(error).splitlines() if x.strip()), type(error).__name__)
        raise BrokenInput(
            f"ai-edge-quantizer gave up ({reason[:200]})", where=where, remedy="try another recipe"
        ) from error


def _at_least(data: bytes, op: str, version: int) -> bytes:
    """The file with a higher version of an operator, so that a runtime which does not know it refuses the file."""
    from ai_edge_litert import schema_py_generated as schema

    model = packing.unpack(data)
    if model is None:
        return data
    number = getattr(schema.BuiltinOperator, op)
    for code in model.operatorCodes:
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            code.version = max(code.version, version)
    return packing.pack(model)


def _ranges(data: bytes, key: str, calibration: Mapping[str, np.ndarray], recipe: Any) -> Any:
    """Smallest and largest value of every tensor concerned, over all samples.

    ``Quantizer.calibrate`` would take a moving average that forgets 5 % with every sample; the ranges then clip what
    came early. One thread, so that no sum depends on how work was shared out.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    found = calibrator.Calibrator(data, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    # It draws a progress bar of its own, which cannot be switched off.
    with contextlib.redirect_stderr(io.StringIO()):
        found.calibrate({key: list(_samples(calibration))}, manager)
    return found.get_model_qsvs()


def _samples(calibration: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for i in range(len(next(iter(calibration.values())))):
        yield {name: values[i : i + 1] for name, values in calibration.items()}
