"""Times one file in one process, a sample a call, one thread: python time_one.py FILE SAMPLES.npy SECONDS

Prints a line of JSON: median µs of a call through the runtime's Python API with its input in place, bytes, top classes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Call = Callable[[], np.ndarray]
Opened = tuple[Callable[[np.ndarray], None], Callable[[], None], Callable[[], np.ndarray]]


def litert(path: str) -> Opened:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (asked,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = given["quantization"]

    def feed(sample: np.ndarray) -> None:
        values = sample if not scale else np.clip(np.round(sample / scale + zero), -128, 127)
        interpreter.set_tensor(given["index"], values.astype(given["dtype"]))

    return feed, interpreter.invoke, lambda: interpreter.get_tensor(asked["index"])


def onnxruntime(path: str) -> Opened:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_output("y")

    def feed(sample: np.ndarray) -> None:
        binding.bind_cpu_input("x", sample)

    return feed, lambda: session.run_with_iobinding(binding), lambda: binding.copy_outputs_to_cpu()[0]


def openvino(path: str) -> Opened:
    import openvino as ov

    core = ov.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    request = core.compile_model(path, "CPU", options).create_infer_request()

    def feed(sample: np.ndarray) -> None:
        request.set_input_tensor(ov.Tensor(np.ascontiguousarray(sample)))

    def run() -> None:
        request.start_async()
        request.wait()

    return feed, run, lambda: np.array(request.get_output_tensor().data)


def mnn(path: str) -> Opened:
    import MNN

    interpreter = MNN.Interpreter(path)
    session = interpreter.createSession({"numThread": 1, "precision": "high"})
    given, asked = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)

    def feed(sample: np.ndarray) -> None:
        host = MNN.Tensor(sample.shape, MNN.Halide_Type_Float, sample, MNN.Tensor_DimensionType_Caffe)
        given.copyFrom(host)

    def read() -> np.ndarray:
        shape = asked.getShape()
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), MNN.Tensor_DimensionType_Caffe)
        asked.copyToHostTensor(host)
        return np.array(host.getData(), np.float32).reshape(shape)

    return feed, lambda: interpreter.runSession(session), read


def executorch(path: str) -> Opened:
    import torch
    from executorch.runtime import Runtime

    torch.set_num_threads(1)
    method = Runtime.get().load_program(path).load_method("forward")
    held: list = [None, None]

    def feed(sample: np.ndarray) -> None:
        held[0] = (torch.from_numpy(sample),)

    def run() -> None:
        held[1] = method.execute(held[0])

    return feed, run, lambda: held[1][0].numpy()


OPEN = {".tflite": litert, ".onnx": onnxruntime, ".xml": openvino, ".mnn": mnn, ".pte": executorch}


def main() -> None:
    """Warms up for a third of the time, then times batches of calls."""
    path, samples, seconds = Path(sys.argv[1]), np.load(sys.argv[2]), float(sys.argv[3])
    feed, run, read = OPEN[path.suffix](str(path))
    feed(samples[:1])
    run()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds / 3:
        run()
        count += 1
    batch = max(1, int(count / (seconds / 3) * 1e-3))  # about a millisecond at a time
    found = []
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds * 2 / 3:
        start = time.perf_counter_ns()
        for _ in range(batch):
            run()
        found.append((time.perf_counter_ns() - start) / batch / 1000)
    tops = []
    for i in range(len(samples)):
        feed(samples[i : i + 1])
        run()
        tops.append(int(np.argmax(read())))
    size = path.stat().st_size + (path.with_suffix(".bin").stat().st_size if path.suffix == ".xml" else 0)
    print(json.dumps({"median_us": float(np.median(found)), "bytes": size, "tops": tops}))


if __name__ == "__main__":
    main()
