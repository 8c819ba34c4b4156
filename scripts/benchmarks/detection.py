"""Is a 5 % slowdown found, and is none claimed where there is none? And how far do reported medians scatter?

python scripts/benchmarks/detection.py [MODEL.tflite] [--runs 20] [--seconds 60] [--quick]

A run measures one file under two names, as two artifacts (A/A). Then the second one's real samples are stretched by
5 %: the injected slowdown. Its noise is the machine's own, and the same as of the A/A run: the two counts are not
independent. Asked of 20 full-mode runs (60 seconds): the slowdown found in at least 18, nothing claimed of equal
files in at least 19. Both are counted by the verdict, which asks for an interval that excludes 1 and a point of 5 %
or more, and by the interval alone; the exit code is the verdict's.

Then the A/A ratios of quick runs: within 3 % in at least 19; and the medians of quick runs beside those of the wheel's
own ``litert-benchmark`` with as many inferences, which rounds to 10 µs: give a model that takes milliseconds.
``--quick`` leaves out the full-mode runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import random_dnn

import devices.targets
from devices import harness
from toolkit.records import Measurement, Plan


def stretched(found: Measurement, factor: float) -> Measurement:
    """The same measurement of a file that takes ``factor`` times as long."""
    runs = (dataclasses.replace(run, samples_ns=tuple(s * factor for s in run.samples_ns)) for run in found.runs)
    return dataclasses.replace(found, runs=tuple(runs))


def verdicts(model: Path, twin: Path, plan: Plan, runs: int, factor: float) -> list[tuple[dict[str, Any], ...]]:
    """Of each run, what is said of the twin against the model: as it was measured, and slowed down."""
    found: list[tuple[dict[str, Any], ...]] = []
    for number in range(runs):
        device = devices.targets.open("cpu")
        a, b = harness.measure([("a", model), ("b", twin)], device, plan, seed=number, aa_control=False)
        found.append((harness.compare_speed(b, a), harness.compare_speed(stretched(b, factor), a)))
        words = map(_said, found[-1])
        print(f"  {number + 1}: {'; slowed: '.join(words)}", flush=True)
    return found


def judged(found: list[tuple[dict[str, Any], ...]]) -> bool:
    """Whether the verdict passes; prints how often the slowdown is found and equal files are left alone.

    A measure is held to both numbers: one that finds every slowdown may be one that finds them everywhere.
    """
    count, passed = len(found), []
    for name, says in (("verdict", _named), ("interval alone", _excluded)):
        hit, quiet = sum(says(slowed) > 0 for _, slowed in found), sum(says(equal) == 0 for equal, _ in found)
        print(
            f"{name}: slowdown found in {hit} of {count} (asked 18 of 20), equal files left alone in {quiet} (asked 19)"
        )
        passed.append(hit >= 0.9 * count and quiet >= 0.95 * count)
    return passed[0]


def _named(found: dict[str, Any]) -> int:
    """1 for "slower", -1 for "faster", else 0."""
    return {"slower": 1, "faster": -1}.get(found["verdict"], 0)


def _excluded(found: dict[str, Any]) -> int:
    """1 where the interval is above 1, -1 where it is below, else 0."""
    low, high = found["interval"] or (1.0, 1.0)
    return 1 if low > 1 else -1 if high < 1 else 0


def _said(found: dict[str, Any]) -> str:
    if found["interval"] is None:
        return str(found["verdict"])
    low, high = found["interval"]
    return f"{found['ratio']:.3f} [{low:.3f}, {high:.3f}] {found['verdict']}"


def theirs(model: Path, count: int) -> float:
    """The median that litert-benchmark reports, in µs."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        words = ["--model", str(model), "--num_runs", str(count), "--warmup_runs", "100", "--result_json", out.name]
        program = Path(sys.executable).with_name("litert-benchmark")
        subprocess.run([str(program), *words], capture_output=True, check=True)
        return float(json.loads(Path(out.name).read_text())["latency"]["median_ms"]) * 1e3


def main() -> int:
    """Prints the counts; 1 where fewer than asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="only the A/A ratios of quick runs, and the scatter")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = next(iter(random_dnn.models(parser, folder).values()))
        options = parser.parse_args()
        twin = folder / "twin.tflite"
        twin.write_bytes(model.read_bytes())
        good = True
        if not options.quick:
            plan = dataclasses.replace(harness.FULL, min_seconds=options.seconds)
            print(f"{options.runs} runs of {plan.processes} processes, {options.seconds:g} s; then slowed by 5 %:")
            full = verdicts(model, twin, plan, options.runs, 1.05)
            good = judged(full)
        print(f"A/A ratios of {options.runs} quick runs:")
        quick = verdicts(model, twin, harness.QUICK, options.runs, 1.05)
        near = sum(v["ratio"] is not None and abs(v["ratio"] - 1) <= 0.03 for v, _ in quick)
        print(f"within 3 %: {near} of {options.runs} (asked 19 of 20)")
        ours, other = [], []
        for number in range(options.runs):
            device = devices.targets.open("cpu")
            (found,) = harness.measure([("a", model)], device, harness.QUICK, aa_control=False, seed=number)
            samples = sum(len(run.samples_ns) * run.batch_k for run in found.runs)
            ours.append(harness.row(found)["median_us"])
            other.append(theirs(model, min(samples, 200_000)))
        for name, values in (("ours", ours), ("litert-benchmark", other)):
            reach = (max(values) - min(values)) / (statistics.median(values) or 1)
            print(f"{name}: medians {min(values):.2f} to {max(values):.2f} µs, spread {reach:.1%}")
    return 0 if good and near >= 0.95 * options.runs else 1


if __name__ == "__main__":
    sys.exit(main())
