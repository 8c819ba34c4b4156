"""The shortest time an inference can take on a CPU: below it a measurement is wrong, not fast."""

from __future__ import annotations

from pathlib import Path

from toolkit.errors import BrokenInput

PEAK_MACS_PER_CYCLE = {"FLOAT32": 64, "other": 1024}
"""Per core: above two AVX-512 units' 32 float32 multiply-adds, and AMX's 1,024 int8 ones (Intel SDM, 2023)."""

PEAK_HZ = 6.5e9
"""Above the fastest boost clock on sale."""


def floor_us(model: Path, threads: int) -> float | None:
    """Multiply-accumulates over the most ``threads`` cores could ever do, in µs.

    ``None`` where the count says nothing: no kernel, a sparse one (whose zeros are skipped), or a file that is
    no .tflite.
    """
    found = _counted(model)
    if found is None:
        return None
    count, only_float = found
    per_cycle = PEAK_MACS_PER_CYCLE["FLOAT32" if only_float else "other"]
    return count / (per_cycle * PEAK_HZ * threads) * 1e6


def macs(model: Path) -> int | None:
    """The multiply-accumulates of one inference, ``None`` where :func:`floor_us` has no floor."""
    found = _counted(model)
    return found[0] if found else None


def _counted(model: Path) -> tuple[int, bool] | None:
    """The count, and whether every kernel is float32."""
    from toolkit import flatbuffer

    if not model.is_file():
        return None
    try:
        graph = flatbuffer.read(model)
    except BrokenInput:
        return None
    kernels = graph.weights()
    count = graph.macs()
    if not kernels or not count or any(kernel.sparse for kernel in kernels):
        return None
    return count, all(kernel.dtype == "FLOAT32" for kernel in kernels)
