"""ai-edge-quantizer, behind one file: static int8 of the dense layers of a finished float ``.tflite``.

The package is about to be renamed, so nothing else in the project imports it.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from toolkit import flatbuffer
from toolkit.errors import BrokenInput


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
    from ai_edge_quantizer import qtyping, quantizer

    try:
        with warnings.catch_warnings():
            # That keeping every tensor takes memory is meant for people; here it is what calibration is.
            warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
            engine = quantizer.Quantizer(data)
            engine.add_static_config(
                regex=".*",
                operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
                activation_num_bits=8,
                weight_num_bits=8,
                # Per channel the quantizer writes operator version 1 as well: a runtime whose kernel knows one scale
                # alone would load the file and be wrong in silence.
                weight_granularity=qtyping.QuantGranularity.TENSORWISE,
            )
            ranges = _ranges(data, key, calibration, engine.get_quantization_recipe())
            result = engine.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    # The quantizer raises ValueError, RuntimeError and KeyError alike.
    except Exception as error:
        reason = next((x for x in str(error).splitlines() if x.strip()), type(error).__name__)
        raise BrokenInput(
            f"ai-edge-quantizer gave up ({reason[:200]})", where="dense layers in int8", remedy="try another recipe"
        ) from error
    return bytes(result.quantized_model)


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
