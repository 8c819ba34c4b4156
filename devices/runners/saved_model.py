"""Runs a SavedModel's signature: ``python saved_model.py plan.json``, the protocol of ``portable.py``.

The only file here that imports TensorFlow, and only in this process. TensorFlow writes to stderr as it likes; the
result is a file, so nothing mixes. ``runtime``, ``xnnpack`` of the plan have no meaning here; ``threads`` does.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __package__:
    from devices.runners import portable
    from devices.runners.job import JobFailed, Stages, main, peak_memory, save_outputs, time_calls
else:  # run as a program: the files lie side by side
    import portable  # type: ignore
    from job import JobFailed, Stages, main, peak_memory, save_outputs, time_calls  # type: ignore

RUNTIME = "tensorflow"
_NO_DELEGATE = {
    "delegated_ops": None,
    "partitions": None,
    "ops_left": None,
    "delegation_unknown": "TensorFlow runs a SavedModel without a delegate",
}


class SavedModel:
    """A loaded SavedModel with one signature chosen; the face of ``portable.Model`` that the jobs use."""

    def __init__(self, plan: dict[str, Any]) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            import tensorflow as tf
        except ImportError as error:
            raise JobFailed("missing", f"no runtime to import ({error})") from error
        threads = int(plan.get("threads") or 0)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.baseline = peak_memory()
        began = time.perf_counter_ns()
        try:
            self.loaded = tf.saved_model.load(plan["model"])
        except Exception as error:  # TensorFlow raises whatever its protobuf and file layers raise
            raise JobFailed("input", f"the SavedModel does not load: {type(error).__name__}: {error}") from error
        signatures = dict(self.loaded.signatures)
        key = plan.get("signature") or "serving_default"
        if key not in signatures:
            known = ", ".join(signatures) or "none"
            raise JobFailed("input", f"the model has no signature {key!r}; it has: {known}")
        self.call = signatures[key]
        self.init_ns = time.perf_counter_ns() - began
        self.tf = tf
        self.inputs = {n: _detail(spec) for n, spec in self.call.structured_input_signature[1].items()}
        self.outputs = dict(sorted(self.call.structured_outputs.items()))

    def tensors(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Arrays as TensorFlow's tensors."""
        return {name: self.tf.constant(array) for name, array in arrays.items()}

    def finish(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs as arrays; reading them is what ends an asynchronous call."""
        return {name: outputs[name].numpy() for name in self.outputs}


def _detail(spec: Any) -> dict[str, Any]:
    if spec.shape.rank is None:
        raise JobFailed("input", f"input {spec.name!r} has no known rank")
    signature = [-1 if size is None else int(size) for size in spec.shape]
    return {
        "shape": [1 if size < 0 else size for size in signature],
        "shape_signature": signature,
        "dtype": spec.dtype.as_numpy_dtype,
        "quantization": (0.0, 0),
    }


def answer(
    plan: dict[str, Any], folder: str, stages: Stages, make: Callable[[dict[str, Any]], Any] = SavedModel
) -> dict[str, Any]:
    """Job ``answer``: outputs of all samples, ``batch`` at a time."""
    stages.enter("load")
    model = make(plan)
    arrays, n = portable.collect(model, plan, folder)
    stages.enter("infer")
    began = time.perf_counter()
    fixed = {int(d["shape_signature"][0]) for d in model.inputs.values() if len(d["shape_signature"])} - {-1}
    batch = fixed.pop() if fixed else max(1, int(plan.get("batch") or 1))
    parts: dict[str, list[Any]] = {name: [] for name in model.outputs}
    for low in range(0, n, batch):
        rows = min(batch, n - low)
        size = batch if fixed else rows
        feed = {name: portable.padded(array[low : low + rows], size) for name, array in arrays.items()}
        for name, output in model.finish(model.call(**model.tensors(feed))).items():
            if not output.ndim or len(output) != size:
                raise JobFailed("device", f"output {name!r} has no batch dimension")
            parts[name].append(output[:rows])
    seconds = time.perf_counter() - began
    stages.enter("write")
    save_outputs(folder, {name: np.concatenate(found) for name, found in parts.items()})
    described = [{"name": n, "key": f"o{i}", "scale": 0.0, "zero_point": 0} for i, n in enumerate(model.outputs)]
    about = portable.about(RUNTIME)
    return dict(about, outputs=described, batch=batch, not_batched=None, seconds=seconds, **_NO_DELEGATE)


def timed(plan: dict[str, Any], folder: str, stages: Stages) -> dict[str, Any]:
    """Job ``time``: batch 1 through the signature, outputs read inside the timed region."""
    stages.enter("load")
    model = SavedModel(plan)
    feeds = [model.tensors(feed) for feed in portable.samples_for(model, plan, folder)]
    rotation = itertools.cycle(feeds)
    chosen = {"feed": feeds[0]}

    def rotate() -> None:
        chosen["feed"] = next(rotation)

    measured = time_calls(lambda: model.finish(model.call(**chosen["feed"])), rotate, plan, stages)
    stages.enter("write")
    return dict(
        portable.about(RUNTIME),
        init_us=model.init_ns / 1e3,
        memory=peak_memory(),
        memory_before=model.baseline,
        **measured,
        **_NO_DELEGATE,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], {"answer": answer, "time": timed}, SavedModel))
