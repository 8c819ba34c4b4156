"""The command lines of Google's two programs named ``benchmark_model``.

The classic one is ``tflite/tools/benchmark``, LiteRT's is ``litert/tools``. Both take only ``--key=value``, and only
warn of a flag they do not know, so each list here holds nothing its program would leave unread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class GoogleInput:
    """One input tensor: its name in the file, its shape, and a file of its raw bytes on the device (none: random)."""

    name: str
    shape: tuple[int, ...]
    value_file: str = ""


@dataclass(frozen=True, kw_only=True)
class GoogleOptions:
    """One run of a ``benchmark_model``. All paths are the device's.

    Runs go on until there are ``runs`` and ``min_seconds`` have passed, ``max_seconds`` at most; the warm-up until
    there are ``warmup_runs`` and ``warmup_seconds`` have passed. ``full_delegation`` ends the run where a delegate
    leaves an operator to the CPU. ``fp16`` says whether the GPU may compute in half precision (``None``: the
    program's own choice, which is yes). An empty path asks for no such file.
    """

    model: str
    threads: int = 1
    xnnpack: bool = True
    gpu: bool = False
    full_delegation: bool = False
    fp16: bool | None = None
    runs: int = 50
    min_seconds: float = 1.0
    max_seconds: float = 150.0
    warmup_runs: int = 1
    warmup_seconds: float = 0.5
    signature: str = ""
    inputs: tuple[GoogleInput, ...] = ()
    output_file: str = ""
    op_profile_file: str = ""
    result_file: str = ""
    peak_memory: bool = False


def classic_flags(options: GoogleOptions) -> list[str]:
    """Arguments for TFLite's program.

    XNNPACK is always switched on or off by name: left out, the runtime applies it by itself. The GPU's flag comes
    first, because delegates are applied in the order of their flags.

    Raises:
        UsageError: a number out of range, a name or path the flags cannot carry, or flags that exclude each other.
    """
    if options.full_delegation and options.gpu == options.xnnpack:
        # Each delegate is checked by itself: a second one finds nothing left to take, and that ends the run.
        both = "the GPU and XNNPACK are both on" if options.gpu else "neither the GPU nor XNNPACK is on"
        raise UsageError(f"full delegation needs one delegate, but {both}", remedy="switch exactly one of them on")
    flags = _common(options)
    if options.gpu:
        flags["use_gpu"] = "true"
        if options.fp16 is not None:
            flags["gpu_precision_loss_allowed"] = _bool(options.fp16)
    flags["use_xnnpack"] = _bool(options.xnnpack)
    if options.full_delegation:
        flags["require_full_delegation"] = "true"
    flags.update(_inputs(options.inputs))
    if options.output_file:
        flags["output_filepath"] = options.output_file
    if options.op_profile_file:
        flags["enable_op_profiling"] = "true"
        flags["op_profiling_output_mode"] = "csv"
        flags["op_profiling_output_file"] = options.op_profile_file
    return _list(flags)


def litert_flags(options: GoogleOptions) -> list[str]:
    """Arguments for LiteRT's program, which has no input, output or op profile files and no switch for XNNPACK.

    Raises:
        UsageError: as for :func:`classic_flags`, and for anything this program has no flag for.
    """
    absent = {
        "input values": any(tensor.value_file for tensor in options.inputs),
        "input shapes": bool(options.inputs),
        "an output file": bool(options.output_file),
        "an op profile as CSV": bool(options.op_profile_file),
        "XNNPACK switched off": not options.xnnpack,
        "full delegation on the CPU": options.full_delegation and not options.gpu,
    }
    for what, wanted in absent.items():
        if wanted:
            raise UsageError(f"LiteRT's benchmark_model has no flag for {what}", remedy="use the classic one")
    flags = _common(options)
    flags["use_cpu"] = _bool(not options.full_delegation)  # the program aborts on full delegation with the CPU on
    flags["use_gpu"] = _bool(options.gpu)
    if options.fp16 is not None:
        flags["gpu-precision"] = "fp16" if options.fp16 else "fp32"
    if options.full_delegation:
        flags["require_full_delegation"] = "true"
    return _list(flags)


def _common(options: GoogleOptions) -> dict[str, str]:
    if not options.model:
        raise UsageError("benchmark_model needs a model", remedy="give the path of a .tflite file")
    if options.model.split(":")[0] in ("fd", "pipe", "buffer"):
        raise UsageError("a model's path must not begin with fd:, pipe: or buffer:", where=options.model)
    if options.fp16 is not None and not options.gpu:
        raise UsageError("fp16 is a choice of the GPU's, which is off", remedy="switch the GPU on, or leave fp16 out")
    for name, value, least in (
        ("threads", options.threads, 1),
        ("runs", options.runs, 1),
        ("warm-up runs", options.warmup_runs, 0),
        ("least seconds", options.min_seconds, 0),
        ("most seconds", options.max_seconds, options.min_seconds),
        ("warm-up seconds", options.warmup_seconds, 0),
    ):
        if not (math.isfinite(value) and value >= least):
            raise UsageError(f"benchmark_model's {name} must be {least:g} or more, not {value:g}")
    flags = {
        "graph": options.model,
        "num_threads": str(options.threads),
        "num_runs": str(options.runs),
        "min_secs": repr(float(options.min_seconds)),
        "max_secs": repr(float(options.max_seconds)),
        "warmup_runs": str(options.warmup_runs),
        "warmup_min_secs": repr(float(options.warmup_seconds)),
    }
    if options.signature:
        flags["signature_to_run_for"] = options.signature
    if options.result_file:
        flags["result_file_path"] = options.result_file
    if options.peak_memory:
        flags["report_peak_memory_footprint"] = "true"
    return flags


def _inputs(inputs: tuple[GoogleInput, ...]) -> dict[str, str]:
    """``a,b`` and ``1,2:3``; in the files' flag alone a colon inside a name or path is written twice."""
    if not inputs:
        return {}
    if len(inputs) == 1 and not inputs[0].shape:
        raise UsageError("a single scalar input has no shape to write down", where=inputs[0].name)
    names = [tensor.name for tensor in inputs]
    for tensor in inputs:
        if not tensor.name or "," in tensor.name or names.count(tensor.name) > 1:
            why = "holds a comma" if "," in tensor.name else "is there twice" if tensor.name else "is empty"
            raise UsageError(f"the tensor name {tensor.name!r} {why}, and benchmark_model could not tell inputs apart")
        if any(size < 1 for size in tensor.shape):
            raise UsageError(f"shape {list(tensor.shape)} has an unknown size", where=tensor.name)
        if "," in tensor.value_file or tensor.value_file.startswith(":"):
            raise UsageError("a value file's path must hold no comma and begin with no colon", where=tensor.value_file)
    files = [
        f"{tensor.name.replace(':', '::')}:{tensor.value_file.replace(':', '::')}"
        for tensor in inputs
        if tensor.value_file
    ]
    flags = {
        "input_layer": ",".join(names),
        "input_layer_shape": ":".join(",".join(map(str, tensor.shape)) for tensor in inputs),
    }
    if files:
        flags["input_layer_value_files"] = ",".join(files)
    return flags


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _list(flags: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]
