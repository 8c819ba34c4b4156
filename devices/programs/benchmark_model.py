"""Google's ``benchmark_model`` (the classic one) as a runner on a device: see :class:`devices.remote.Program`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange, feeds
from devices.device import RunnerFailed
from devices.programs import benchmark_output
from toolkit import flatbuffer
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Failure

PROGRAM = "benchmark_model"


def flags(options: Mapping[str, Any]) -> list[str]:
    """``--name=value`` of each option; truth values in its own words."""
    words = {True: "true", False: "false"}
    return [f"--{name}={words[value] if isinstance(value, bool) else value}" for name, value in options.items()]


def layer(name: str) -> str:
    """A tensor's name as the flags take it: a colon is doubled.

    Raises:
        UsageError: it holds a comma, which separates names there, or a line break.
    """
    if "," in name or "\n" in name:
        raise UsageError(
            f"benchmark_model takes no tensor called {name!r}", remedy="use the native runner: libs=FOLDER"
        )
    return name.replace(":", "::")


def input_flags(names: Sequence[str], shapes: Sequence[Sequence[int]], values: Sequence[str]) -> dict[str, str]:
    """The flags that name a model's inputs, their shapes and the raw files that fill them."""
    called = [layer(name) for name in names]
    return {
        "input_layer": ",".join(called),
        "input_layer_shape": ":".join(",".join(map(str, shape)) for shape in shapes),
        "input_layer_value_files": ",".join(f"{n}:{v}" for n, v in zip(called, values, strict=True)),
    }


class Google:
    """The classic program, given by the user.

    Args:
        program: its file, for the device's instruction set.
        gpu: whether its GPU delegate has to take the whole model.
    """

    results: tuple[str, ...] = ("stdout", "result.pb", "outputs.bin")

    def __init__(self, program: Path, *, gpu: bool = False) -> None:
        self.files: Mapping[str, Path] = {PROGRAM: program}
        self._gpu = gpu

    def words(self, folder: str) -> list[str]:
        """See :class:`devices.remote.Program`."""
        return ["sh", "run.sh", folder]

    def write(self, folder: Path, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray] | None, model: Path) -> None:
        """See :class:`devices.remote.Program`: a script with a call, or one for each sample."""
        key = job.get("signature")
        bound = tensors(model, key)
        arrays = feeds.seeded(model, int(job.get("seed") or 0), key) if inputs is None else None
        arrays = arrays or feeds.fitted(model, inputs or {}, key)
        count = len(next(iter(arrays.values()))) if job["job"] == "answer" else 1
        usual = {
            "graph": job["model"],
            "num_threads": job.get("threads", 1),
            "use_xnnpack": bool(job.get("xnnpack", True)) and not self._gpu,
            "use_gpu": self._gpu,
        }
        if self._gpu:
            # Without it a build that has no GPU delegate says so and times the CPU.
            usual["require_full_delegation"] = True
        lines = ["set -e", 'stage() { printf %s "$1" >stage; }']
        start = f'{_taskset(job.get("affinity"))}"$1/{PROGRAM}"'
        for i in range(count):
            files = [f"in{k}_{i}" for k in range(len(arrays))]
            for name, path in zip(arrays, files, strict=True):
                (folder / path).write_bytes(np.ascontiguousarray(arrays[name][i]).tobytes())
            shapes = [_shape(arrays[name]) for name in arrays]
            given = {**usual, **input_flags([bound["inputs"][name] for name in arrays], shapes, files)}
            if job["job"] == "answer":
                given |= {"num_runs": 1, "warmup_runs": 0, "min_secs": 0, "output_filepath": f"out{i}"}
                lines += ["stage infer", _call(start, given), f"cat out{i} >>outputs.bin; rm out{i}"]
            else:
                given |= {
                    "num_runs": job["min_samples"],
                    "min_secs": job["min_seconds"],
                    "max_secs": job["max_seconds"],
                    "warmup_runs": job["warmup_min_inferences"],
                    "warmup_min_secs": job["warmup_min_seconds"],
                    "report_peak_memory_footprint": True,
                    "result_file_path": "result.pb",
                }
                lines += ["stage measure", _call(start, given)]
        (folder / "run.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def read(self, folder: Path, *, where: str, stderr: str, model: Path) -> dict[str, Any]:
        """See :class:`devices.remote.Program`."""
        said = "\n".join(_text(folder / name) for name in ("stdout", "stderr"))
        try:
            found = benchmark_output.parse_text(said)
            if (folder / "outputs.bin").is_file():
                return {**_about(found), **outputs(folder, model)}
            if (folder / "result.pb").is_file():
                exact = benchmark_output.parse_proto((folder / "result.pb").read_bytes())
                found = _merged(exact, found)
        except benchmark_output.Unreadable as error:
            failure = Failure(stage="result", message=f"benchmark_model: {error}", stderr_tail=said[-2048:])
            raise RunnerFailed(failure, where=where) from error
        except (OSError, ValueError, LookupError) as error:
            raise exchange.unreadable(where, stderr, error) from error
        return {**_about(found), **_times(found)}


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


def _call(start: str, given: Mapping[str, Any]) -> str:
    return f"{start} {' '.join(shlex.quote(flag) for flag in flags(given))} >>stdout 2>>stderr"


def _taskset(cores: Sequence[int] | None) -> str:
    return f"taskset {sum(1 << core for core in cores):x} " if cores else ""


def _shape(array: np.ndarray) -> list[int]:
    return [1, *array.shape[1:]]


def _merged(exact: benchmark_output.Reported, text: benchmark_output.Reported) -> benchmark_output.Reported:
    """The result file's figures, and of the text what it lacks."""
    known = {f.name: getattr(exact, f.name) for f in dataclasses.fields(exact)}
    return dataclasses.replace(text, **{name: value for name, value in known.items() if value is not None})


def _about(found: benchmark_output.Reported) -> dict[str, Any]:
    return {
        "status": "done",
        "runtime": PROGRAM,
        "delegated_ops": list(found.delegated) if found.delegated else None,
        "partitions": found.partitions,
        "ops_left": None,
        "delegation_unknown": None if found.delegated else "it told no number of delegated operators",
    }


def _times(found: benchmark_output.Reported) -> dict[str, Any]:
    peak = found.peak_bytes or found.overall_bytes
    return {
        "samples_ns": [],
        "reported": {k: v for k, v in dataclasses.asdict(found).items() if k.endswith("_us") or k == "runs"},
        "init_us": found.init_us,
        "first_us": found.first_us,
        "warmup_inferences": found.warmup_runs or 0,
        "warmup_steady": True,
        "batch_k": 1,
        "doubling_ratio": None,
        "memory": {"bytes": peak, "kind": "footprint delta"} if peak else None,
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
