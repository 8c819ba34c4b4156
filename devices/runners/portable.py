"""Runs a .tflite model where it stands: ``python portable.py plan.json``.

Self-contained on purpose (standard library, numpy, ``ai_edge_litert`` or ``tflite_runtime``, and ``job.py``
beside it; Python 3.9): both files are pushed to devices. It reads the plan, does one job and leaves ``result.json``
(and ``outputs.npz``) beside the plan, each under its final name only when whole. ``stage`` names what it was
doing, for whoever finds it dead.

Plan: ``job`` (``answer`` or ``time``), ``model``, ``runtime`` (``ai-edge-litert``, ``tflite-runtime`` or null for
either), ``threads``, ``xnnpack``, ``signature``, ``batch``, ``inputs`` ({name: key in ``inputs.npz``} or null:
eight seeded ones), ``seed``, ``die_with_parent`` and, to ``time``, the numbers of a measurement plan.
"""

from __future__ import annotations

import importlib
import itertools
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __package__:
    from devices.runners.job import JobFailed, Stages, is_delegate, main, peak_memory, save_outputs, time_calls
else:  # run as a program: the two files lie side by side, on a device too
    from job import JobFailed, Stages, is_delegate, main, peak_memory, save_outputs, time_calls  # type: ignore

SEEDED_INPUTS = 8
_MODULES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
# What the runtimes say about a file that is no intact model, as opposed to one they cannot run.
_DAMAGED = (
    "not a valid Flatbuffer",
    "model identifier",
    "Could not open",
    "Mmap of",
    "could not be mapped",
    "is empty",
)


class Model:
    """An interpreter with one signature chosen, by whose names tensors are reached; without one, by their own."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.runtime, module = _runtime(plan.get("runtime"))
        options: dict[str, Any] = {"num_threads": int(plan.get("threads") or 1)}
        if not plan.get("xnnpack", True):
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self.interpreter = _interpreter(module, plan["model"], options)
        except (ValueError, RuntimeError) as error:
            kind = "input" if any(mark in str(error) for mark in _DAMAGED) else "device"
            raise JobFailed(kind, f"the model does not load: {error}") from error
        self.subgraph = 0
        signatures = self.interpreter.get_signature_list()
        key = plan.get("signature")
        if key is not None and key not in signatures:
            raise JobFailed("input", f"the model has no signature {key!r}; it has: {', '.join(signatures) or 'none'}")
        if key is None and signatures:
            key = "serving_default" if "serving_default" in signatures else next(iter(signatures))
        self.key = key
        if key is None:
            self.inputs = {d["name"]: d for d in self.interpreter.get_input_details()}
            self.outputs = {d["name"]: d for d in self.interpreter.get_output_details()}
        else:
            runner = self.interpreter.get_signature_runner(key)
            self.subgraph = runner._subgraph_index
            self.inputs = runner.get_input_details()
            self.outputs = runner.get_output_details()
        self.invoke: Callable[[], Any] = self.interpreter.invoke
        if self.subgraph:
            self.invoke = lambda: self.native.Invoke(self.subgraph)

    @property
    def native(self) -> Any:
        """The wrapper below the interpreter, which reaches every subgraph; held, it would make ``invoke`` refuse."""
        return self.interpreter._interpreter

    def prepare(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Gives every input the shape asked for and allocates."""
        for name, shape in shapes.items():
            detail = self.inputs[name]
            if tuple(detail["shape"]) != shape:
                wanted = np.array(shape, dtype=np.int32)
                self.native.ResizeInputTensor(detail["index"], wanted, False, self.subgraph)
        self.native.AllocateTensors(self.subgraph)

    def feed(self, arrays: dict[str, Any]) -> None:
        """Sets the input tensors."""
        for name, array in arrays.items():
            self.native.SetTensor(self.inputs[name]["index"], array, self.subgraph)

    def fetch(self) -> dict[str, Any]:
        """Copies of the output tensors, as they are."""
        return {n: self.native.GetTensor(d["index"], self.subgraph) for n, d in self.outputs.items()}

    def run(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Feeds, invokes and fetches."""
        self.feed(arrays)
        self.invoke()
        return self.fetch()

    def operators(self) -> int:
        """How many operators the graph has, none of them a delegate's."""
        return sum(not is_delegate(node["op_name"]) for node in self.interpreter._get_ops_details())

    def facts(self) -> dict[str, Any]:
        """What else is known of where it runs."""
        return {}

    def delegation(self) -> dict[str, Any]:
        """How many of the graph's operators a delegate took, in how many partitions, and which stayed.

        The interpreter appends one node per partition and keeps the original ones. A partition covers every
        operator met on the way back from its outputs to its inputs.
        """
        if self.subgraph:
            return unknown("the signature is not the model's first graph")
        try:
            nodes = self.interpreter._get_ops_details()
        except Exception as error:
            return unknown(f"the runtime does not list its operators ({error})")
        original = [n for n in nodes if not is_delegate(n["op_name"])]
        partitions = [n for n in nodes if is_delegate(n["op_name"])]
        producer = {int(t): n for n in original for t in n["outputs"]}
        taken = set()
        for node in partitions:
            edge = {int(t) for t in node["inputs"]}
            waiting = [int(t) for t in node["outputs"]]
            while waiting:
                tensor = waiting.pop()
                source = None if tensor in edge else producer.get(tensor)
                if source is not None and source["index"] not in taken:
                    taken.add(source["index"])
                    waiting.extend(int(t) for t in source["inputs"])
        left = sorted({n["op_name"] for n in original if n["index"] not in taken})
        return {
            "delegated_ops": [len(taken), len(original)],
            "partitions": len(partitions),
            "ops_left": left,
            "delegation_unknown": None,
        }


def _interpreter(module: Any, path: str, options: dict[str, Any]) -> Any:
    """The interpreter; ai-edge-litert 1.1.0 dies of being told a number of threads."""
    try:
        return module.Interpreter(model_path=path, **options)
    except AttributeError as error:
        if options["num_threads"] != 1:
            raise JobFailed("device", f"this release takes no number of threads ({error})") from error
        return module.Interpreter(model_path=path, **{k: v for k, v in options.items() if k != "num_threads"})


def unknown(why: str) -> dict[str, Any]:
    """Nothing is known of the delegation, and why."""
    return {"delegated_ops": None, "partitions": None, "ops_left": None, "delegation_unknown": why}


def _runtime(name: str | None) -> tuple[str, Any]:
    reasons = []
    for candidate in [name] if name else _MODULES:
        try:
            return candidate, importlib.import_module(_MODULES[candidate] + ".interpreter")
        except (ImportError, KeyError) as error:
            reasons.append(f"{candidate}: {error}")
    raise JobFailed("missing", f"no runtime to import ({'; '.join(reasons)})")


def quantize(array: Any, detail: dict[str, Any], name: str) -> Any:
    """Real values as the integers of a tensor: round half to even (as XNNPACK does), then saturate.

    q = round(x / scale) + zero_point, from the TFLite quantization specification.
    """
    scale, zero_point = detail["quantization"]
    if not np.isfinite(array).all():
        raise JobFailed("input", f"input {name!r} holds NaN or infinity, which an integer tensor cannot hold")
    limits = np.iinfo(detail["dtype"])
    levels = np.rint(array.astype(np.float32) / np.float32(scale)).astype(np.float64) + zero_point
    return np.clip(levels, limits.min, limits.max).astype(detail["dtype"])


def fit(array: Any, detail: dict[str, Any], name: str) -> Any:
    """An array in the tensor's own dtype: as it is, quantized, or cast where no value changes."""
    wanted = np.dtype(detail["dtype"])
    if array.dtype == wanted or wanted.kind in "OSU":
        return array
    if detail["quantization"][0] > 0:
        if array.dtype.kind == "f":
            return quantize(array, detail, name)
        raise JobFailed(
            "input",
            f"input {name!r} is {array.dtype}, the tensor is quantized {wanted}: give {wanted} or float32",
        )
    cast = array.astype(wanted) if array.dtype.kind in "biuf" else None
    if cast is None or (
        not (array.dtype.kind == wanted.kind == "f") and not np.array_equal(cast.astype(array.dtype), array)
    ):
        raise JobFailed("input", f"input {name!r} is {array.dtype} and does not fit the model's {wanted}")
    return cast


def collect(model: Any, plan: dict[str, Any], folder: str) -> tuple[dict[str, Any], int]:
    """The plan's arrays by input name, in the tensors' dtypes, and how many samples they hold."""
    with np.load(os.path.join(folder, "inputs.npz"), allow_pickle=False) as stored:
        return fitted(model, plan["inputs"], stored)


def fitted(model: Any, keys: dict[str, str], stored: Any) -> tuple[dict[str, Any], int]:
    """Stored arrays, by input name, in the dtypes of the model's tensors, and how many samples they hold.

    An array under the name ``""`` is the model's only input, whatever that is called.
    """
    if list(keys) == [""]:
        if len(model.inputs) != 1:
            raise JobFailed("input", f"inputs: one without a name; the model takes: {', '.join(model.inputs)}")
        keys = {next(iter(model.inputs)): keys[""]}
    missing, extra = sorted(set(model.inputs) - set(keys)), sorted(set(keys) - set(model.inputs))
    if missing or extra:
        parts = [f"{word} {', '.join(found)}" for word, found in (("missing", missing), ("unknown", extra)) if found]
        raise JobFailed("input", f"inputs: {', '.join(parts)}; the model takes: {', '.join(model.inputs)}")
    arrays = {name: stored[key] for name, key in keys.items()}
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    n = next(iter(counts.values()), 0)
    if n < 1 or len(set(counts.values())) > 1:
        raise JobFailed("input", f"inputs need the same number of samples, at least 1: {counts}")
    for name, array in arrays.items():
        signature = [int(d) for d in model.inputs[name].get("shape_signature", model.inputs[name]["shape"])]
        inner = signature[1:] if array.ndim == len(signature) else signature
        found = list(array.shape[1:])
        if len(found) != len(inner) or any(
            want not in (-1, have) for want, have in itertools.zip_longest(inner, found)
        ):
            shape = ["any" if d < 0 else d for d in signature]
            raise JobFailed("input", f"input {name!r} has samples of shape {found}, the model takes {shape}")
    return {name: np.ascontiguousarray(fit(a, model.inputs[name], name)) for name, a in arrays.items()}, n


def answer(plan: dict[str, Any], folder: str, stages: Stages, make: Callable[..., Any] = Model) -> dict[str, Any]:
    """Job ``answer``: every sample's outputs, each bit-identical to what batch 1 gives.

    The first batch is run one by one *and* as a batch. Only if both agree in every bit are the others run
    in batches of that same size, the last one padded: a kernel that depends on the batch size shows there.
    """
    stages.enter("load")
    model = make(plan)
    arrays, n = collect(model, plan, folder)
    stages.enter("allocate")
    batched = all(a.ndim == len(model.inputs[name]["shape"]) for name, a in arrays.items())
    leading = {int(d["shape"][0]) for d in model.inputs.values()} if batched else {1}
    fixed = leading.pop() if len(leading) == 1 else 1
    model.prepare({name: (fixed, *a.shape[1:]) if batched else a.shape[1:] for name, a in arrays.items()})
    delegation = model.delegation()
    stages.enter("infer")
    began = time.perf_counter()
    batch = int(plan.get("batch") or 1)
    why = None
    if not batched or fixed > 1 or batch < 2 or n <= batch:
        why = None if batched else "the model's inputs have no batch dimension"
        chunks, batch = [infer(model, arrays, 0, n, fixed, batched)], fixed
    elif plan.get("proven"):  # by an earlier job of this session
        larger = make(plan)
        larger.prepare({name: (batch, *a.shape[1:]) for name, a in arrays.items()})
        chunks = [infer(larger, arrays, 0, n, batch, True)]
    else:
        chunks = [infer(model, arrays, 0, batch, 1, True)]
        stages.enter("batch")
        larger, why = _larger(make, plan, arrays, batch, chunks[0])
        stages.enter("infer")
        start, batch = batch, batch if larger else 1
        chunks.append(infer(larger or model, arrays, start, n, batch, True))
    seconds = time.perf_counter() - began
    stages.enter("write")
    save_outputs(folder, {name: np.concatenate([c[name] for c in chunks]) for name in model.outputs})
    described = []
    for i, (name, detail) in enumerate(model.outputs.items()):
        scale, zero_point = detail["quantization"]
        described.append({"name": name, "key": f"o{i}", "scale": float(scale), "zero_point": int(zero_point)})
    done = {"outputs": described, "batch": batch, "not_batched": why, "seconds": seconds}
    return {**about(model.runtime), **done, **delegation, **model.facts()}


def infer(model: Any, arrays: dict[str, Any], start: int, stop: int, size: int, batched: bool) -> dict[str, Any]:
    """Outputs of the samples ``start`` to ``stop``, in groups of ``size``, the last one padded with its last row."""
    parts: dict[str, list[Any]] = {name: [] for name in model.outputs}
    for low in range(start, stop, size):
        rows = min(size, stop - low)
        feed = {n: padded(a[low : low + rows], size) if batched else np.asarray(a[low]) for n, a in arrays.items()}
        for name, output in model.run(feed).items():
            if batched and output.ndim and output.shape[0] == size:
                parts[name].append(output[:rows])
            elif size == 1:
                parts[name].append(output[np.newaxis])
            else:
                raise JobFailed("device", f"output {name!r} has no batch dimension")
    try:
        return {name: np.concatenate(found) for name, found in parts.items()}
    except ValueError as error:
        raise JobFailed("device", f"an output changes its shape from sample to sample: {error}") from error


def padded(rows: Any, size: int) -> Any:
    """``rows`` with the last one repeated up to ``size``."""
    return rows if len(rows) == size else np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])


def _larger(
    make: Callable[..., Any], plan: dict[str, Any], arrays: dict[str, Any], batch: int, single: dict[str, Any]
) -> tuple[Any, str | None]:
    """The model resized to ``batch``, or ``None`` and why it cannot be trusted to answer like batch 1."""
    try:
        model = make(plan)
        model.prepare({name: (batch, *a.shape[1:]) for name, a in arrays.items()})
        together = infer(model, arrays, 0, batch, batch, True)
    except (JobFailed, RuntimeError, ValueError) as error:
        return None, f"the model cannot be resized ({error})"
    if any(together[name].tobytes() != single[name].tobytes() for name in single):
        return None, f"batches of {batch} do not answer bit for bit like batch 1"
    return model, None


def seeded(details: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Eight inputs from a seed: the same real values for a float model and its quantized twin.

    Floats are uniform in [0, 1); quantized tensors get the same, quantized; other integers and booleans are 0
    or 1, which every vocabulary has.
    """
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(SEEDED_INPUTS):
        feed = {}
        for name, detail in details.items():
            values = rng.random(tuple(int(d) for d in detail["shape"]), dtype=np.float32)
            dtype = np.dtype(detail["dtype"])
            if detail["quantization"][0] > 0:
                feed[name] = quantize(values, detail, name)
            else:
                feed[name] = values.astype(dtype) if dtype.kind == "f" else (values * 2).astype(int).astype(dtype)
        made.append(feed)
    return made


def timed(plan: dict[str, Any], folder: str, stages: Stages, make: Callable[..., Any] = Model) -> dict[str, Any]:
    """Job ``time``: init, first inference, warm-up and samples of batch 1, apart from each other."""
    stages.enter("load")
    _runtime(plan.get("runtime"))  # the import is the runtime's cost, not the model's
    baseline = peak_memory()
    began = time.perf_counter_ns()
    model = make(plan)
    model.prepare({})
    init_ns = time.perf_counter_ns() - began
    feeds = samples_for(model, plan, folder)
    model.prepare({name: tuple(array.shape) for name, array in feeds[0].items()})
    delegation = model.delegation()
    rotation = itertools.cycle(feeds)
    measured = time_calls(model.invoke, lambda: model.feed(next(rotation)), plan, stages)
    stages.enter("write")
    return dict(
        about(model.runtime),
        init_us=init_ns / 1e3,
        memory=peak_memory(),
        memory_before=baseline,
        **measured,
        **delegation,
        **model.facts(),
    )


def samples_for(model: Any, plan: dict[str, Any], folder: str) -> list[dict[str, Any]]:
    """The inputs to time with: the plan's first eight samples, one at a time, or eight seeded ones."""
    if plan.get("inputs") is None:
        return seeded(model.inputs, int(plan.get("seed") or 0))
    arrays, n = collect(model, plan, folder)
    batched = all(a.ndim == len(model.inputs[name]["shape"]) for name, a in arrays.items())
    count = min(n, SEEDED_INPUTS)
    return [{k: a[i : i + 1] if batched else np.asarray(a[i]) for k, a in arrays.items()} for i in range(count)]


def about(runtime: str) -> dict[str, Any]:
    """What ran: the runtime's and Python's versions."""
    from importlib import metadata

    return {
        "runtime": runtime,
        "runtime_version": metadata.version(runtime),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


JOBS: dict[str, Callable[..., dict[str, Any]]] = {"answer": answer, "time": timed}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], JOBS, Model))
