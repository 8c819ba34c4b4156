"""Rows a second of ``validate`` against a plain loop, and whether its memory stays flat.

python scripts/benchmarks/evaluation_rows.py [--rows 100000 1000000] [--batch 256] [--workers 1 2] [--recipe NAME]

A wide-and-deep model of taxi fares is trained for an epoch on made-up rides; then as many such rides as asked, in
a CSV, are validated: the SavedModel against an int8 artifact. The plain loop is what one would write:
``model.predict`` of a batch, then ``interpreter.invoke()`` of the same batch, one after the other, on rows that are
encoded in memory already; it is timed on the first 20,000 rows. Asked: one worker at least as fast as the loop, memory
flat from 100,000 to 1,000,000 rows, near-linear in the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.progress import Progress
from toolkit.tables import generate

LOOP_ROWS = 20_000
PROGRAM = (sys.executable, "-c", "from toolkit.cli import main; main()")


def main() -> int:
    """Prints rows a second and peak memory; 1 where one worker is slower than the loop or memory grows by a tenth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--recipe", default="int8_dense_only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = folder / "run"
        edge_export("train", "wide-deep", "--data", "nyc", "--epochs", "1", "--run-dir", str(run))
        edge_export("convert", str(run), "--recipe", options.recipe)
        loop = plain(run, options.recipe, options.batch, folder)
        print(f"plain loop, batches of {options.batch}: {loop:,.0f} rows/s", flush=True)
        good, peaks = True, []
        for count in options.rows:
            table = folder / f"rides-{count}.csv"
            generate.write(table, count, seed=7, progress=Progress(quiet=True))
            first = None
            for workers in options.workers:
                rate, own, child = validated(run, options.recipe, table, count, options.batch, workers, folder)
                first = first or rate
                peaks += [own] if workers == options.workers[0] else []
                said = f"{rate:,.0f} rows/s, {rate / loop:.2f} of the loop, {rate / first:.2f} of one worker"
                print(f"validate, {count:,} rows, {workers} workers: {said}; {own:.0f} MB, TensorFlow's {child:.0f}")
                good = good and rate >= loop
        print(f"memory from {options.rows[0]:,} to {options.rows[-1]:,} rows: {peaks[-1] / peaks[0]:.2f} times")
        return 0 if good and peaks[-1] <= 1.1 * peaks[0] else 1


def edge_export(*words: str) -> None:
    """Runs the command; its own words go nowhere."""
    subprocess.run([*PROGRAM, *words], check=True, capture_output=True, env=_environment())


def validated(
    run: Path, recipe: str, table: Path, rows: int, batch: int, workers: int, folder: Path
) -> tuple[float, float, float]:
    """Rows a second of the command as a whole, starting included, and the peaks of it and of its largest child, MB."""
    words = ["validate", str(run), recipe, "--data", str(table), "--batch", str(batch), "--workers", str(workers)]
    words += ["--run-dir", str(folder / f"kept-{rows}-{workers}"), "--budget", "1", "--json"]
    peaks = folder / "peaks"
    code = _MEASURED.format(str(peaks))
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=_environment())
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    (found,) = json.loads(done.stdout)["comparisons"]
    if found["n"] != rows:
        sys.exit(f"{found['n']:,} rows were validated, not {rows:,}")
    own, child = (int(text) / 1024 for text in peaks.read_text().split())
    return rows / seconds, own, child


_MEASURED = """
import resource
from toolkit.cli import main
try:
    main()
finally:
    own = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open({!r}, "w"))
"""


def plain(run: Path, recipe: str, batch: int, folder: Path) -> float:
    """Rows a second of the loop."""
    code = folder / "loop.py"
    code.write_text(_LOOP)
    rides = np.concatenate(list(generate.rides(LOOP_ROWS, 7)))
    np.savez(folder / "rides.npz", **dict(zip(generate.SCHEMA.names, rides.T, strict=True)))
    words = [sys.executable, str(code), str(run), recipe, str(batch), str(folder / "rides.npz")]
    done = subprocess.run(words, capture_output=True, text=True, env=_environment())
    if done.returncode:
        sys.exit(done.stderr)
    return LOOP_ROWS / float(done.stdout.split()[-1])


_LOOP = """
import sys, time
from pathlib import Path
import numpy as np
import tensorflow as tf
import toolkit.features.layer
from converters import keras_models
from toolkit.features import encode
from toolkit.cli import samples
from converters import bundle as bundles
from toolkit.store import Run
from ai_edge_litert.interpreter import Interpreter
root, recipe, batch, data = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), np.load(sys.argv[4])
spec = samples.spec_of(bundles.load(Run(root)))
inputs = encode(spec, {name: data[name] for name in data.files})
model = keras_models.load(root / "bundle" / "model.keras", 2)
edge = Interpreter(str(root / "artifacts" / (recipe + ".tflite")), num_threads=1)
details = {name: {"index": int(d["index"])} for name, d in edge.get_signature_runner().get_input_details().items()}
edge = Interpreter(str(root / "artifacts" / (recipe + ".tflite")), num_threads=1)
n = len(next(iter(inputs.values())))
for name, detail in details.items():
    edge.resize_tensor_input(detail["index"], (batch, *inputs[name].shape[1:]))
edge.allocate_tensors()
def once(low):
    part = {name: values[low : low + batch] for name, values in inputs.items()}
    model.predict({name: part[name] for name in model.input_names}, batch_size=batch, verbose=0)
    if len(next(iter(part.values()))) < batch:
        return
    for name, detail in details.items():
        edge.set_tensor(detail["index"], part[name])
    edge.invoke()
    [edge.get_tensor(d["index"]) for d in edge.get_output_details()]
once(0)
began = time.perf_counter()
for low in range(0, n, batch):
    once(low)
print(time.perf_counter() - began)
"""


def _environment() -> dict[str, Any]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}


if __name__ == "__main__":
    sys.exit(main())
