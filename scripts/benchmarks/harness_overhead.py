"""The harness's medians against bare loops of the same API, one thread. Asked: within 5 %.

python scripts/benchmarks/harness_overhead.py [MODEL.tflite ...]

Two pairs, for two APIs are never mixed in one comparison: the runner in Python against a loop around
``Interpreter.invoke``, and the native runner against a loop in C (bare_loop.c, compiled here by cc) on the same
library, whose C API is that of CompiledModel: a run of it takes some 0.2 µs more than the interpreter's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ai_edge_litert
import random_dnn
from ai_edge_litert.interpreter import Interpreter

from devices import exchange, targets
from devices.programs import build
from devices.programs.native import Native
from devices.runners import portable
from toolkit.records import Plan

ROUNDS = 7
ASKED = 0.05
PLAN = Plan(mode="benchmark", processes=1, min_samples=64, min_seconds=0.5, max_seconds=20.0)


def compiled(folder: Path) -> list[str]:
    """The loop in C, made by cc, and the library that it takes: the words before the model."""
    made = folder / "bare_loop"
    source = Path(__file__).with_name("bare_loop.c")
    subprocess.run(["cc", "-O2", "-w", "-o", str(made), str(source), "-ldl"], check=True)
    return [str(made), str(Path(ai_edge_litert.__file__).with_name("libLiteRt.so"))]


def c_median_us(loop: list[str], model: Path) -> float:
    """What the loop in C prints."""
    done = subprocess.run([*loop, str(model)], capture_output=True, text=True, check=True)
    return float(done.stdout.strip())


def native_median_us(model: Path) -> float:
    """The native runner's median."""
    program = Native({"native": build.native(os.uname().machine)})
    library = Path(ai_edge_litert.__file__).with_name("libLiteRt.so")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        job = {"job": "time", "model": str(model.resolve()), "library": str(library), "threads": 1, "xnnpack": True}
        program.write(folder, {**job, **exchange.time_job(PLAN)}, None, model)
        words = [str(program.files["native"]), "plan.txt"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
        result = program.read(folder, where=str(model), stderr=done.stderr, model=model)
        return statistics.median(result["samples_ns"]) / 1e3


class Bare:
    """The loop anyone would write: load, warm up, invoke, divide."""

    def __init__(self, model: Path) -> None:
        self.interpreter = Interpreter(str(model), num_threads=1)
        self.interpreter.allocate_tensors()
        details = {d["name"]: d for d in self.interpreter.get_input_details()}
        for name, array in portable.seeded(details, 0)[0].items():
            self.interpreter.set_tensor(details[name]["index"], array)
        self.count = max(10, int(2e-3 / self._seconds(50)))

    def _seconds(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            self.interpreter.invoke()
        return (time.perf_counter() - began) / count

    def median_us(self) -> float:
        """Median over loops of about 2 ms, half a second of them after half a second of warm-up."""
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            self._seconds(self.count)
        found, end = [], time.perf_counter() + 0.5
        while time.perf_counter() < end:
            found.append(self._seconds(self.count))
        return statistics.median(found) * 1e6


def main() -> int:
    """Prints both sides and their ratio; 1 if one is off by more than asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        device = targets.open("cpu", threads=1)
        loop = compiled(Path(folder))
        for name, model in random_dnn.models(parser, Path(folder)).items():
            bare = Bare(model)

            def ours(number: int, model: Path = model) -> float:
                return statistics.median(device.time(model, None, PLAN, round=number).run.samples_ns) / 1e3

            rounds = []
            for number in range(ROUNDS):
                # Forth and back, so that a drift of the machine hits all sides alike.
                sides = {"python": lambda n=number: ours(n), "loop in python": bare.median_us}
                sides |= {"native": lambda model=model: native_median_us(model)}
                sides |= {"loop in C": lambda model=model: c_median_us(loop, model)}
                order = list(sides)[:: -1 if number % 2 else 1]
                rounds.append({side: sides[side]() for side in order})
            medians = {side: statistics.median(r[side] for r in rounds) for side in rounds[0]}
            print(f"{name}: " + ", ".join(f"{side} {value:.3f} µs" for side, value in medians.items()))
            for runner, other in (("python", "loop in python"), ("native", "loop in C")):
                each = [r[runner] / r[other] for r in rounds]
                ratio = statistics.median(each)
                print(f"  {runner} over {other}: {ratio:.3f} (rounds {min(each):.3f} to {max(each):.3f})")
                worst = max(worst, abs(ratio - 1))
    print(f"largest difference {worst:.1%}, asked {ASKED:.0%}: {'ok' if worst <= ASKED else 'NOT REACHED'}")
    return 0 if worst <= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
