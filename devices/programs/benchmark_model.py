"""Google's ``benchmark_model``, either of the two, as a runner on a device: see :class:`devices.remote.Program`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange, feeds
from devices.device import NoAnswers
from devices.programs.google import CLASSIC, LITERT, GoogleResult, read_google
from devices.programs.google_flags import GoogleInput, GoogleOptions, classic_flags, litert_flags
from devices.programs.google_log import failed
from toolkit import flatbuffer
from toolkit.errors import BrokenInput

PROGRAM = "benchmark_model"


class Google:
    """One of the two programs, given by the user.

    Args:
        program: its file, for the device's instruction set.
        gpu: whether its GPU delegate has to take the whole model.
        kind: ``classic``, or ``litert``, which reads no inputs and gives out no outputs.
    """

    results: tuple[str, ...] = ("stdout", "result.pb", "outputs.bin")

    def __init__(self, program: Path, *, gpu: bool = False, kind: str = CLASSIC) -> None:
        self.files: Mapping[str, Path] = {PROGRAM: program}
        self._gpu = gpu
        self._kind = kind

    def words(self, folder: str) -> list[str]:
        """See :class:`devices.remote.Program`."""
        return ["sh", "run.sh", folder]

    def write(self, folder: Path, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray] | None, model: Path) -> None:
        """See :class:`devices.remote.Program`: a script with a call, or one for each sample."""
        if self._kind == LITERT:
            self._write_litert(folder, job)
            return
        key = job.get("signature")
        bound = tensors(model, key)
        arrays = feeds.seeded(model, int(job.get("seed") or 0), key) if inputs is None else None
        arrays = arrays or feeds.fitted(model, inputs or {}, key)
        count = len(next(iter(arrays.values()))) if job["job"] == "answer" else 1
        lines = ["set -e", 'stage() { printf %s "$1" >stage; }']
        start = f'{_taskset(job.get("affinity"))}"$1/{PROGRAM}"'
        usual = GoogleOptions(
            model=job["model"],
            threads=int(job.get("threads", 1)),
            # Of two delegates the second finds nothing left, which full delegation would call a failure.
            xnnpack=bool(job.get("xnnpack", True)) and not self._gpu,
            gpu=self._gpu,
            # Without it a build that has no GPU delegate says so and times the CPU.
            full_delegation=self._gpu,
        )
        for i in range(count):
            given = []
            for k, (name, array) in enumerate(arrays.items()):
                path = f"in{k}_{i}"
                (folder / path).write_bytes(np.ascontiguousarray(array[i]).tobytes())
                shape = (1, *array.shape[1:])
                given.append(GoogleInput(name=bound["inputs"][name], shape=shape, value_file=path))
            one = dataclasses.replace(usual, inputs=tuple(given))
            if job["job"] == "answer":
                one = dataclasses.replace(
                    one, runs=1, min_seconds=0.0, warmup_runs=0, warmup_seconds=0.0, output_file=f"out{i}"
                )
                lines += ["stage infer", _call(start, one), f"cat out{i} >>outputs.bin; rm out{i}"]
            else:
                one = dataclasses.replace(
                    one,
                    runs=int(job["min_samples"]),
                    min_seconds=job["min_seconds"],
                    max_seconds=job["max_seconds"],
                    warmup_runs=int(job["warmup_min_inferences"]),
                    warmup_seconds=job["warmup_min_seconds"],
                    result_file="result.pb",
                    peak_memory=True,
                )
                lines += ["stage measure", _call(start, one)]
        (folder / "run.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _write_litert(self, folder: Path, job: Mapping[str, Any]) -> None:
        if job["job"] != "time":
            raise NoAnswers(
                "LiteRT's benchmark_model gives out no answers", remedy="use the classic one, or libs=FOLDER"
            )
        options = GoogleOptions(
            model=job["model"],
            threads=int(job.get("threads", 1)),
            gpu=self._gpu,
            full_delegation=self._gpu,
            runs=int(job["min_samples"]),
            min_seconds=job["min_seconds"],
            max_seconds=job["max_seconds"],
            warmup_runs=int(job["warmup_min_inferences"]),
            warmup_seconds=job["warmup_min_seconds"],
            result_file="result.pb",
        )
        start = f'{_taskset(job.get("affinity"))}"$1/{PROGRAM}"'
        call = f"{start} {' '.join(shlex.quote(flag) for flag in litert_flags(options))} >stdout 2>stderr"
        (folder / "run.sh").write_text(f"set -e\nprintf measure >stage\n{call}\n", encoding="utf-8")

    def read(self, folder: Path, *, where: str, stderr: str, model: Path) -> dict[str, Any]:
        """See :class:`devices.remote.Program`."""
        said, errors = _text(folder / "stdout"), _text(folder / "stderr")
        wanted = "gpu" if self._gpu else "xnnpack"
        try:
            if (folder / "outputs.bin").is_file():
                found = read_google(CLASSIC, stdout=said, stderr=errors, delegate=wanted)
                self._must_be_delegated(found, said + errors)
                return {**_about(found), **outputs(folder, model)}
            path = folder / "result.pb"
            result = path.read_bytes() if path.is_file() else None
            found = read_google(self._kind, stdout=said, stderr=errors, result=result, delegate=wanted)
        except (OSError, ValueError, LookupError) as error:
            raise exchange.unreadable(where, stderr, error) from error
        self._must_be_delegated(found, said + errors)
        return {**_about(found), **_times(found)}

    def _must_be_delegated(self, found: GoogleResult, said: str) -> None:
        if self._gpu and (found.fallback or found.share == "none"):
            raise failed("delegate", f"benchmark_model ran on the CPU ({found.fallback or 'nothing delegated'})", said)


def tensors(model: Path, key: str | None) -> dict[str, dict[str, str]]:
    """What the program calls a signature's inputs and outputs: their tensors' names, by the signature's.

    Raises:
        BrokenInput: the program cannot reach this signature: it runs the first graph alone.
    """
    found = flatbuffer.read(model)
    signature = found.signature(key)
    if signature.key and signature not in found.signatures[:1] and len(found.graphs) > 1:
        raise BrokenInput(f"benchmark_model cannot call signature {signature.key!r}", where=str(model))
    bound = flatbuffer.bound(model, signature.key)
    return {side: {name: found.tensors[index].name for name, index in names.items()} for side, names in bound.items()}


def outputs(folder: Path, model: Path) -> dict[str, Any]:
    """Takes ``outputs.bin`` apart, in the order of the graph's outputs, and writes ``outputs.npz``.

    Raises:
        ValueError: its size does not fit.
    """
    from devices.programs.native import split_outputs

    found = flatbuffer.read(model)
    names = {index: name for name, index in flatbuffer.bound(model, found.signature().key)["outputs"].items()}
    specs = {s.name: s for s in found.signature().outputs}
    order = [specs[names[index]] for index in found.outputs if index in names]
    return split_outputs(folder, order)


def _call(start: str, options: GoogleOptions) -> str:
    return f"{start} {' '.join(shlex.quote(flag) for flag in classic_flags(options))} >stdout 2>stderr"


def _taskset(cores: Sequence[int] | None) -> str:
    return f"taskset {sum(1 << core for core in cores):x} " if cores else ""


def _about(found: GoogleResult) -> dict[str, Any]:
    return {
        "status": "done",
        "runtime": PROGRAM,
        "delegated_ops": list(found.delegated) if found.delegated else None,
        "partitions": found.partitions,
        "ops_left": None,
        "delegation_unknown": found.missing.get("delegated"),
    }


def _times(found: GoogleResult) -> dict[str, Any]:
    names = ("median_us", "mean_us", "min_us", "max_us", "std_us", "p5_us", "p95_us", "runs")
    peak = found.memory_peak_bytes or found.memory_overall_bytes
    return {
        "samples_ns": [],
        "reported": {name: getattr(found, name) for name in names},
        "init_us": found.init_us,
        "first_us": found.first_us,
        "warmup_inferences": found.warmup_runs or 0,
        "warmup_steady": True,
        "batch_k": 1,
        "doubling_ratio": None,
        "memory": {"bytes": peak, "kind": "growth since the tool's start"} if peak else None,
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
