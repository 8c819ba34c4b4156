"""Does the phone answer as this host does, on the same artifact and the same bytes?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import flatbuffer, parity
from toolkit.records import Tolerance

FLOAT = Tolerance(reason="the same float32 kernels, summed in another order", max_abs=1e-4)
HALF = Tolerance(reason="an accelerator computes in float16, or may", psnr_db=40.0)
QUANTIZED = Tolerance(reason="integer kernels round at other places", psnr_db=30.0, top1=0.99)


def tolerance(path: Path, delegate: str) -> Tolerance:
    """How far a phone may be from the host, by the file's kernels and the delegate."""
    kernels = {kernel.dtype for kernel in flatbuffer.read(path).weights()}
    if kernels - {"FLOAT32", "FLOAT16"}:
        return QUANTIZED
    return FLOAT if delegate == "cpu" and "FLOAT16" not in kernels else HALF


def compare(
    reference: Mapping[str, np.ndarray], observed: Sequence[Mapping[str, np.ndarray]], path: Path, delegate: str
) -> dict[str, Any]:
    """The largest differences over all processes, for each output, and whether they are within the tolerance.

    The form is that of :class:`devices.fidelity.Fidelity`; ``outputs``, ``tolerance`` and ``processes_agree`` beside.

    Args:
        reference: the host's real values by output name, ``[n, ...]``.
        observed: the phone's, of each process.
        path: the model.
        delegate: of :data:`devices.ios.DELEGATES`.
    """
    allowed = tolerance(path, delegate)
    rows: dict[str, Any] = {}
    wrong: list[str] = []
    for name, expected in sorted(reference.items()):
        found = []
        for outputs in observed:
            if outputs[name].shape != expected.shape:
                shapes = f"{list(outputs[name].shape)} and {list(expected.shape)}"
                wrong.append(f"{name}: shapes differ: {shapes}")
                continue
            found.append(parity.measure(expected, outputs[name]))
        if not found:
            continue
        worst = max(found, key=lambda p: math.inf if math.isnan(p.max_abs) else p.max_abs)
        rows[name] = {
            "max_abs": _number(worst.max_abs),
            "mean_abs": _number(worst.mean_abs),
            "cosine": _number(worst.cosine),
            "psnr_db": _number(worst.psnr_db),
            "top1": worst.top1,
            "finite": worst.finite,
            "n": worst.n,
        }
        wrong += [f"{name}: {reason}" for reason in parity.within(worst, allowed)]
    same = all(
        np.array_equal(outputs[name], observed[0][name], equal_nan=True) for outputs in observed for name in outputs
    )
    kernels = {
        "passed": not wrong,
        "reasons": wrong,
        "max_abs_error": _most([row["max_abs"] for row in rows.values()], max),
        "mean_abs_error": _most([row["mean_abs"] for row in rows.values()], max),
        "cosine": _most([row["cosine"] for row in rows.values()], min),
        "psnr_db": _most([row["psnr_db"] for row in rows.values()], min),
        "top1": _most([row["top1"] for row in rows.values()], min),
        "lsb": None,
        "tolerance": allowed.reason,
        "processes_agree": same,
        "outputs": rows,
    }
    count = max((row["n"] for row in rows.values()), default=0)
    return {"inputs": count, "kernels": kernels, "model": None, "unknown": {"model": "not asked of a bundle"}}


def _most(values: list[float | None], pick: Callable[[list[float]], float]) -> float | None:
    known = [value for value in values if value is not None]
    return pick(known) if known else None


def finite(array: np.ndarray) -> bool:
    """Whether there is neither NaN nor infinity."""
    return bool(np.isfinite(array).all()) if array.dtype.kind == "f" else True


def _number(value: float) -> float | None:
    """For JSON: ``None`` for NaN and for the PSNR of equal outputs, which is infinite."""
    return float(value) if math.isfinite(value) else None
