"""Batched evaluation of 10,000 digits-like inputs against one-by-one invoke. Asked for int8: 4x, the same bits.

python scripts/benchmarks/evaluation_throughput.py [MODEL.tflite ...]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import random_dnn
from ai_edge_litert.interpreter import Interpreter

from devices import targets
from devices.runners import portable

SAMPLES = 10_000
ROUNDS = 5
ASKED = 4.0


def one_by_one(model: Path, inputs: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds and answers of set, invoke, get for one sample after the other; inputs already in the tensor's dtype."""
    interpreter = Interpreter(str(model), num_threads=1)
    signature = interpreter.get_signature_runner()
    given, asked = signature.get_input_details(), signature.get_output_details()
    del signature  # it holds on to the interpreter, which then refuses to invoke
    interpreter.allocate_tensors()
    arrays = [(given[name]["index"], portable.fit(array, given[name], name)) for name, array in inputs.items()]
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in asked}
    began = time.perf_counter()
    for i in range(SAMPLES):
        for index, array in arrays:
            interpreter.set_tensor(index, array[i : i + 1])
        interpreter.invoke()
        for name, detail in asked.items():
            outputs[name].append(interpreter.get_tensor(detail["index"]))
    seconds = time.perf_counter() - began
    return seconds, {name: np.concatenate(found) for name, found in outputs.items()}


def samples(model: Path) -> dict[str, np.ndarray]:
    """Seeded inputs in 0..1 of the model's shapes, four in five values 0 as in a digit."""
    details = Interpreter(str(model)).get_signature_runner().get_input_details()
    rng = np.random.default_rng(0)
    shapes = {name: tuple(int(d) for d in detail["shape"][1:]) for name, detail in details.items()}
    values = {name: rng.random((SAMPLES, *shape), dtype=np.float32) for name, shape in shapes.items()}
    return {name: np.where(rng.random(v.shape) < 0.8, np.float32(0), v) for name, v in values.items()}


def main() -> int:
    """Prints both sides, their ratio and whether all bits agree; 1 if int8 is slower than asked or a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        device = targets.open("cpu", threads=1)
        for name, model in random_dnn.models(parser, Path(folder)).items():
            inputs = samples(model)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                answer = device.answer(model, inputs)
                seconds, singles = one_by_one(model, inputs)
                ours.append(answer.seconds)
                theirs.append(seconds)
                same = all(answer.raw[key].tobytes() == singles[key].tobytes() for key in singles)
                good &= same
            batched, single = statistics.median(ours), statistics.median(theirs)
            print(
                f"{name}: batches of {answer.provenance['batch']} {SAMPLES / batched:,.0f} samples/s, one by one "
                f"{SAMPLES / single:,.0f} samples/s, {single / batched:.2f}x, bit-identical: {'yes' if same else 'NO'}"
            )
            if "int8" in name and single / batched < ASKED:
                good = False
    print(f"asked {ASKED:g}x for int8 and the same bits: {'ok' if good else 'NOT REACHED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
