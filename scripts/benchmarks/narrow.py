"""What leaving narrow convolutions in float gains recipe dynamic_int8_float_depthwise, on any float32 file.

python scripts/benchmarks/narrow.py FLOAT32.tflite [--rounds 3]

FLOAT32.tflite: e.g. the one that recipes_table.py mobilenet-v3-small --folder DIR leaves in DIR/run/artifacts. It, and
the file quantized with and without narrow convolutions, are timed interleaved in every round.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import warnings
from pathlib import Path

import devices.targets
from converters import aeq
from converters.recipes import dynamic_int8_float_depthwise as recipe
from devices import harness


def main() -> int:
    """Prints the medians' ratios to float32 of every round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = options.file.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        every = Path(folder, "every.tflite")
        every.write_bytes(aeq.weights(data, [aeq.Weights(op=op, bits=bits) for op, bits in recipe.PARTS.items()]))
        wide = Path(folder, "wide.tflite")
        wide.write_bytes(recipe.finish(data, None))
        models = [("float32", options.file), ("every convolution", every), (f"from {recipe.NARROW} channels", wide)]
        plan = dataclasses.replace(harness.QUICK, processes=4, min_seconds=8.0)
        print(f"{'round':<8}" + "".join(f"{name:>22}" for name, _ in models))
        for number in range(options.rounds):
            found = harness.measure(models, devices.targets.open("cpu"), plan, seed=number, aa_control=False)
            base = harness.row(found[0])["median_us"]
            print(f"{number:<8}" + "".join(f"{harness.row(m)['median_us'] / base:>22.3f}" for m in found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
