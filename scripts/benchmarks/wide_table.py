"""A wide table with and without its zero rows: bytes of the file and latency of the lookup, side by side.

Both lookups add up the weights of eight ids a row, as the feature layer does, half of the ids of rows that are kept.
Bytes are those of the recipes float32, float16 and dynamic_range; latency is that of the float32 files on
ai-edge-litert, one thread, batches of 1 and 256, timed in turns, the ids new for every inference. Ratios are compact to
dense: below 1 the compact one is better. Asked: ``toolkit.features.wide.pays`` says which float32 file is smaller, and
both give the same bits.

python scripts/benchmarks/wide_table.py [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from converters import recipes, tflite
from toolkit.features.lowering import sparse_rows
from toolkit.features.wide import NUMBER_BYTES, OVERHEAD_BYTES, WEIGHT_BYTES, pays

COLUMNS = 8
BATCHES = (1, 256)
FORMS = ("float32", "float16", "dynamic_range")
CASES = (
    *((65_536, 1, kept) for kept in (42, 655, 6_554, 19_661, 20_972, 21_627, 22_282, 32_768)),
    *((65_536, 10, kept) for kept in (42, 32_768, 53_740, 55_706)),
    *((1_024, 1, kept) for kept in (10, 240, 265)),
    *((1_048_576, 1, kept) for kept in (10_486, 314_573)),
)
"""Rows of the table, weights a row, rows that are kept."""


def files(whole: int, units: int, rows: np.ndarray, folder: Path) -> dict[tuple[str, str], bytes]:
    """The ``.tflite`` bytes by side, ``dense`` and ``compact``, and form."""
    table = np.zeros((whole, units), dtype=np.float32)
    table[rows] = np.random.default_rng(1).normal(size=(len(rows), units))
    found = {}
    for side, weights in (("dense", table), ("compact", table[rows])):
        save(weights, None if side == "dense" else rows, folder / side)
        for form in FORMS:
            found[side, form] = tflite.convert(folder / side, "serving_default", recipes.load(form), None)
    return found


def save(weights: np.ndarray, rows: np.ndarray | None, folder: Path) -> None:
    """A SavedModel of one lookup: of the whole table, or of these rows of it."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(weights)

    @tf.function(input_signature=[tf.TensorSpec([None, COLUMNS], tf.int32, name="ids")])
    def serve(ids: Any) -> dict[str, Any]:
        found = tf.gather(module.weights, ids) if rows is None else sparse_rows(module.weights, rows, ids)
        return {"wide": tf.reduce_sum(found, axis=1)}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve)


class Side:
    """One float32 file in an interpreter for one batch size."""

    def __init__(self, data: bytes, batch: int) -> None:
        self.interpreter = Interpreter(model_content=data, num_threads=1)
        self.index = self.interpreter.get_input_details()[0]["index"]
        self.interpreter.resize_tensor_input(self.index, (batch, COLUMNS))
        self.interpreter.allocate_tensors()

    def run(self, batches: np.ndarray) -> tuple[float, list[np.ndarray]]:
        """Median µs of an inference, and every answer."""
        output = self.interpreter.get_output_details()[0]["index"]
        times, answers = [], []
        for ids in batches:
            self.interpreter.set_tensor(self.index, ids)
            began = time.perf_counter_ns()
            self.interpreter.invoke()
            times.append((time.perf_counter_ns() - began) / 1e3)
            answers.append(self.interpreter.get_tensor(output))
        return statistics.median(times), answers


def latency(dense: bytes, compact: bytes, whole: int, rows: np.ndarray, batch: int, rounds: int) -> tuple[str, bool]:
    """Both medians and the median of their ratios over rounds, and whether all bits agree."""
    rng = np.random.default_rng(2)
    ids = rng.integers(0, whole, (500, batch, COLUMNS)).astype(np.int32)
    ids[:, :, ::2] = rng.choice(rows, ids[:, :, ::2].shape)
    sides = [Side(data, batch) for data in (dense, compact)]
    pairs, same = [], True
    for number in range(rounds + 1):
        # Forth and back, so that a drift of the machine hits both sides alike.
        order = sides if number % 2 else sides[::-1]
        done = {side: side.run(ids) for side in order}
        (slow, left), (fast, right) = (done[side] for side in sides)
        same &= all(a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True))
        if number:  # the first round warms up
            pairs.append((slow, fast))
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{a:.2f} -> {b:.2f} µs ({statistics.median(y / x for x, y in pairs):.1f}x)", same


def main() -> int:
    """Prints all cases; 1 if one was judged wrongly or a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    good, overheads = True, []
    for whole, units, kept in CASES:
        rows = np.sort(np.random.default_rng(0).choice(whole, kept, replace=False)).astype(np.int32)
        with tempfile.TemporaryDirectory() as folder:
            made = files(whole, units, rows, Path(folder))
        dense, compact = (made[side, "float32"] for side in ("dense", "compact"))
        weights = WEIGHT_BYTES * units
        overheads.append(len(compact) - len(dense) - (NUMBER_BYTES + weights) * (kept + 1) + weights * whole)
        ratios = ", ".join(f"{f} {len(made['compact', f]) / len(made['dense', f]):.3f}" for f in FORMS)
        times, bits = zip(
            *(latency(dense, compact, whole, rows, batch, given.rounds) for batch in BATCHES), strict=True
        )
        worth = pays(kept, whole, units)
        right = worth == (len(compact) < len(dense))
        good &= right and all(bits)
        share = f"{kept:,} of {whole:,} rows ({kept / whole:.2%})"
        print(
            f"{share}, {units} units: {len(dense):,} -> {len(compact):,} bytes, "
            f"{ratios}; "
            + ", ".join(f"batch {batch} {found}" for batch, found in zip(BATCHES, times, strict=True))
            + f"; {'pays' if worth else 'does not pay'}{'' if right else ' (WRONG)'}"
            + ("" if all(bits) else "; BITS DIFFER"),
            flush=True,
        )
    print(f"bytes of the operators: {min(overheads)} to {max(overheads)}, assumed {OVERHEAD_BYTES}")
    print(f"asked the same bits and the right judgement: {'ok' if good else 'NOT KEPT'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
