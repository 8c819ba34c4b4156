"""Signatures beside the main one: which of a SavedModel's artifacts get too; and inputs made up to try a signature."""

from __future__ import annotations

import numpy as np

from converters import recipes, tflite
from converters.saved_model import Loaded
from toolkit.errors import BrokenInput
from toolkit.records import Signature

TRIED = 8
"""Made-up samples by which two signatures are held to be the same."""


def choose(loaded: Loaded) -> tuple[list[Signature], dict[str, str]]:
    """The signatures to keep beside the loaded main one, and why the others are left out, by key.

    Kept is what can be proved: its inputs are among the main one's, for which there are samples; it gives other
    answers (Keras writes ``serve`` and ``serving_default`` alike); the converter can express it in floats.
    """
    kept: list[Signature] = []
    left_out: dict[str, str] = {}
    for key in loaded.keys:
        if key == loaded.key:
            continue
        try:
            found = loaded.also(key)
            left_out[key] = _why_not(loaded, found) or ""
        except BrokenInput as error:
            left_out[key] = error.what
        if not left_out[key]:
            del left_out[key]
            kept.append(found.signature)
    return kept, left_out


def _why_not(main: Loaded, other: Loaded) -> str | None:
    known = set(main.signature.inputs)
    strange = [spec.name for spec in other.signature.inputs if spec not in known]
    if strange:
        return f"no samples fit its input {strange[0]!r}, which {main.key} has not"
    if _alike(main, other):
        return f"it answers as {main.key} does"
    tflite.convert(other.path, other.key, recipes.load("float32"), None)
    return None


def _alike(main: Loaded, other: Loaded) -> bool:
    if set(main.signature.inputs) != set(other.signature.inputs):
        return False
    try:
        inputs = seeded_inputs(main.signature, TRIED)
    except BrokenInput:
        return False  # nothing can be made up, so nothing is known
    left, right = main(inputs), other(inputs)
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


def seeded_inputs(signature: Signature, n: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Made-up inputs: floats uniform in 0..1, integers 0 or 1 (the only ids every table has).

    Args:
        signature: names, shapes (a dynamic dimension after the first becomes 4) and dtypes.
        n: number of samples.
        seed: of the generator.

    Raises:
        BrokenInput: an input's type cannot be made up, e.g. a string.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for spec in signature.inputs:
        shape = [n, *(4 if d is None else d for d in spec.shape[1:])]
        if spec.dtype.startswith("float"):
            made[spec.name] = rng.random(shape, dtype=np.float64).astype(spec.dtype)
        elif spec.dtype.startswith(("int", "uint", "bool")):
            made[spec.name] = rng.integers(0, 2, shape).astype(spec.dtype)
        else:
            raise BrokenInput(
                f"input {spec.name!r} is {spec.dtype}, for which no test values can be made up",
                remedy="give samples with --calibration data.npz",
            )
    return made
