"""A trained model's feature ids and outputs on every side: numpy, training graph, SavedModel, .tflite on two runtimes.

python scripts/benchmarks/ids_agree.py RUN [--rows 10000]

RUN is a run directory of a model of tables, e.g. left by `edge-export export wide-deep`. The rows are its evaluation
split and made-up ones, a third of whose values are nasty: NaN, infinities, numbers next to boundaries, huge and
negative ids, unknown, empty and long words. Asked: no id differs; float outputs within 1e-4 of each other, relative.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters import bundle as bundles
from converters import keras_models
from devices import runtimes, targets
from toolkit.cli import samples
from toolkit.errors import EdgeExportError
from toolkit.features import FeatureSpec, transform
from toolkit.features.lowering import lower
from toolkit.progress import Progress
from toolkit.store import Run

ASKED = 1e-4
FLOATS = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 3.4e38, -3.4e38, 2.0**96, 0.5)
WORDS = ("", "unknown", "É", "日本語", "a" * 300, " ", "\x00", "Cash ")
INTS = (-(2**31), -1, 0, 1, 2**31 - 1, 2**24 + 1)


def nasty(spec: FeatureSpec, usual: Mapping[str, np.ndarray], count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows as the graph takes them: two thirds of the values from ``usual``, the others to trip it up."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for tensor in spec.inputs():
        values = usual[tensor.name]
        chosen = values[rng.integers(0, len(values), count)].copy()
        hit = rng.random(count) < 1 / 3
        if tensor.dtype == "uint8":
            words = encode_words(tensor.shape[1] or 0)
            chosen[hit] = words[rng.integers(0, len(words), hit.sum())]
        elif tensor.dtype == "int32":
            chosen[hit] = np.array(INTS, np.int64).astype(np.int32)[rng.integers(0, len(INTS), hit.sum())]
        else:
            edges = [b for c in spec.columns if c.tensor == tensor.name for b in getattr(c, "boundaries", None) or ()]
            near = np.float32([*FLOATS, *edges])
            near = np.concatenate(
                [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
            )
            near[np.abs(near) < np.finfo(np.float32).tiny] = 0  # no subnormal number travels: encode sees to that
            chosen[hit] = near[rng.integers(0, len(near), hit.sum())]
        made[tensor.name] = chosen
    return made


def encode_words(width: int) -> np.ndarray:
    """Texts as zero-padded bytes ``[W, width]``."""
    found = np.zeros((len(WORDS), width), np.uint8)
    for row, word in zip(found, WORDS, strict=True):
        data = word.encode()[:width]
        row[: len(data)] = list(data)
    return found


def with_ids(spec: FeatureSpec, model: Any, folder: Path) -> tuple[Any, Path, Path]:
    """The model with its ids beside the output: as a function, a SavedModel and a float .tflite."""
    import tensorflow as tf

    signature = {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in spec.inputs()}

    @tf.function(input_signature=[signature])
    def serve(inputs: Any) -> dict[str, Any]:
        _, ids = lower(spec, inputs)
        return {"output": model(inputs), **{f"id_{name}": found for name, found in ids.items()}}

    saved = folder / "saved"
    tf.saved_model.save(model, str(saved), signatures={"serving_default": serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    path = folder / "ids.tflite"
    path.write_bytes(converter.convert())
    return serve, saved, path


def main() -> int:
    """Prints one line per side and kind of rows; 1 if an id differs or an output is too far off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, default=10_000)
    given = parser.parse_args()
    progress = Progress(quiet=True)
    run = Run(given.run)
    bundle = bundles.load(run)
    dataset = samples.dataset_of(bundle, progress)
    if dataset is None or dataset.spec is None or bundle.keras_file is None:
        print(f"{given.run}: is no model of a table", file=sys.stderr)
        return 2
    spec = dataset.spec
    model = keras_models.load(run.path(bundle.keras_file), 2)
    evaluation = dataset.evaluation().inputs
    kinds = {"evaluation": evaluation, "made up": nasty(spec, evaluation, given.rows)}
    good = True
    with tempfile.TemporaryDirectory() as name:
        graph, saved, tflite = with_ids(spec, model, Path(name))
        sides: dict[str, Any] = {
            "training graph": lambda rows: {k: v.numpy() for k, v in graph(dict(rows)).items()},
            "SavedModel": lambda rows: targets.open("saved-model").answer(saved, rows).outputs,
        }
        for runtime in ("", f"runtime={'=='.join(runtimes.OLDEST)}"):
            for delegate in ("on", "off"):
                target = f"cpu:{runtime},xnnpack={delegate}".replace(":,", ":")
                sides[f".tflite {target}"] = lambda rows, t=target: targets.open(t).answer(tflite, rows).raw
        for kind, rows in kinds.items():
            truth = transform(spec, rows)
            reference: np.ndarray | None = None
            for side, answer in sides.items():
                try:
                    found = answer(rows)
                except EdgeExportError as error:
                    print(f"{kind:<10}  {side:<52}  not run: {error}")
                    continue
                wrong = sum(int((found[f"id_{c}"] != ids).sum()) for c, ids in truth.ids.items())
                output = np.asarray(found["output"], np.float64)
                reference = output if reference is None else reference
                # Relative to the value, and near 0 to the outputs' own size.
                scale = np.maximum(np.abs(reference), np.abs(reference).mean())
                off = float((np.abs(output - reference) / scale).max())
                good &= wrong == 0 and off <= ASKED
                count = len(next(iter(truth.ids.values())))
                of = f"{count:,} rows x {len(truth.ids)} columns"
                print(f"{kind:<10}  {side:<50}  {of}: {wrong} ids differ; output {off:.1e}")
    print("as asked" if good else "NOT as asked")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
