"""The harness's median against a bare ``Interpreter.invoke`` loop in one process, one thread. Asked: within 5 %.

python scripts/benchmarks/harness_overhead.py [MODEL.tflite ...]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import random_dnn
from ai_edge_litert.interpreter import Interpreter

from devices import targets
from devices.runners import portable
from toolkit.records import Plan

ROUNDS = 7
ASKED = 0.05
PLAN = Plan(mode="benchmark", processes=1, min_samples=64, min_seconds=0.5, max_seconds=20.0)


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
        for name, model in random_dnn.models(parser, Path(folder)).items():
            bare = Bare(model)
            pairs = []
            for number in range(ROUNDS):
                # Forth and back, so that a drift of the machine hits both sides alike.
                if number % 2:
                    ours = statistics.median(device.time(model, None, PLAN, round=number).run.samples_ns) / 1e3
                    pairs.append((ours, bare.median_us()))
                else:
                    theirs = bare.median_us()
                    ours = statistics.median(device.time(model, None, PLAN, round=number).run.samples_ns) / 1e3
                    pairs.append((ours, theirs))
            ratio = statistics.median(a / b for a, b in pairs)
            ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
            spread = f"{min(a / b for a, b in pairs):.3f} to {max(a / b for a, b in pairs):.3f}"
            print(f"{name}: harness {ours:.3f} µs, bare loop {theirs:.3f} µs, ratio {ratio:.3f} (rounds {spread})")
            worst = max(worst, abs(ratio - 1))
    print(f"largest difference {worst:.1%}, asked {ASKED:.0%}: {'ok' if worst <= ASKED else 'NOT REACHED'}")
    return 0 if worst <= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
