"""TFLiteConverter, behind one function: a fresh converter for each call, errors that name the operator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters import merge
from converters.recipes import RecipeModule, Representative
from toolkit.errors import BrokenInput
from toolkit.records import Signature

# TensorFlow 2.21 says "TF Select ops", older ones said "Flex ops"; neither knows what it calls custom.
_UNSUPPORTED = re.compile(r"^(?:TF Select|Flex|Custom) ops: (.+)$", re.MULTILINE)
_ERROR = re.compile(r"error: (?:loc\(.*\): )?(.+)")


class NeedsFixedBatch(BrokenInput):
    """The model can be converted for one number of samples a call alone."""


def convert(
    saved_model: Path,
    signature_key: str,
    recipe: RecipeModule,
    calibration: Mapping[str, np.ndarray] | None,
    further: Sequence[Signature] = (),
) -> bytes:
    """The bytes of a ``.tflite``.

    Args:
        saved_model: the folder with ``saved_model.pb``.
        signature_key: which of its signatures is the main one.
        recipe: sets the converter.
        calibration: inputs by name ``[N, ...]``, fed one sample at a time; ``None`` where not needed.
        further: other signatures that the file is to have; each takes of ``calibration`` what it has inputs for.

    Raises:
        BrokenInput: the model cannot be expressed in builtin TFLite operators; they are named.
    """
    main = _one(saved_model, signature_key, recipe, calibration)
    others = []
    for signature in further:
        names = [spec.name for spec in signature.inputs]
        samples = None if calibration is None else {name: calibration[name] for name in names}
        try:
            others.append(_one(saved_model, signature.key, recipe, samples))
        except BrokenInput as error:
            where = f"{error.where}, signature {signature.key!r}"
            raise type(error)(error.what, where=where, remedy=error.remedy) from error
    return merge.merge(main, others) if others else main


def _one(
    saved_model: Path, signature_key: str, recipe: RecipeModule, calibration: Mapping[str, np.ndarray] | None
) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[signature_key])
    recipe.configure(converter, _representative(calibration))
    try:
        data = bytes(converter.convert())
    # The converter raises ConverterError, but also plain RuntimeError and ValueError from its quantizer.
    except Exception as error:
        raise _explain(error, recipe.RECIPE.name) from error
    finish = getattr(recipe, "finish", None)
    if finish is None:
        return data
    finished: bytes = finish(data, calibration)
    return finished


def _representative(calibration: Mapping[str, np.ndarray] | None) -> Representative | None:
    if calibration is None:
        return None
    n = len(next(iter(calibration.values())))

    def samples() -> Any:
        for i in range(n):
            # By name: positional order is a classic source of silent damage.
            yield {name: values[i : i + 1] for name, values in calibration.items()}

    return samples


def _explain(error: Exception, recipe: str) -> BrokenInput:
    text = str(error)
    ops = sorted({op.strip() for found in _UNSUPPORTED.findall(text) for op in found.split(",")})
    if ops:
        return BrokenInput(
            f"the model needs {', '.join(ops)}, which builtin TFLite operators cannot express (Flex only)",
            where=f"recipe {recipe}",
            remedy="replace it in the model: no Python runtime runs Flex any more",
        )
    found = _ERROR.search(text)
    reason = found.group(1) if found else next((x for x in text.splitlines() if x.strip()), type(error).__name__)
    if "TensorList" in reason:
        return NeedsFixedBatch(
            "a recurrent layer needs a fixed batch size to be converted",
            where=f"recipe {recipe}",
            remedy="rebuild the model with batch_size=1 in its Input, or the layer with unroll=True",
        )
    return BrokenInput(
        f"TFLiteConverter gave up ({reason[:200]})",
        where=f"recipe {recipe}",
        remedy="try another recipe, or see logs/native.log in the run directory",
    )
