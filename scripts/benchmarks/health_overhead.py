"""What watching a training's health costs: ``fit`` with the callback over ``fit`` without, side by side.

Random images of the digits' shape, as many as the offline digits that are trained on. Both sides of a pair are new
models of one seed, trained one after the other in one process, in changing order; the ratio is the median over rounds.

python scripts/benchmarks/health_overhead.py [--variant dnn] [--epochs 20] [--rows 3000] [--probe 512] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tf_keras

from toolkit.models import Blueprint, Task, mnist
from toolkit.training import health
from toolkit.training.fit import seed_everything


def seconds(variant: str, images: np.ndarray, labels: np.ndarray, *, epochs: int, probe: int) -> float:
    """Of one ``fit`` in batches of 32; ``probe`` rows are looked at, 0 leaves the callback out."""
    seed_everything(0)
    model = mnist.build(Blueprint(variant=variant, task=Task(kind="classification", classes=10)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        # TensorBoard's own callback is in every training of the toolkit, and takes part in batches as well.
        callbacks = [tf_keras.callbacks.TensorBoard(f"{folder}/logs", write_graph=False, profile_batch=0)]
        start = time.perf_counter()
        if probe:
            loss = tf_keras.losses.SparseCategoricalCrossentropy()
            sample = {"image": images[:probe]}, labels[:probe]
            callbacks.append(health.monitor(model, loss=loss, probe=sample, logs=Path(folder), warn=lambda line: None))
        model.fit(images, labels, epochs=epochs, verbose=0, callbacks=callbacks)
        return time.perf_counter() - start


def main() -> None:
    """Prints every round and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="dnn", help="of the mnist family (default dnn)")
    for name, default in (("epochs", 20), ("rows", 3000), ("probe", 512), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"(default {default})")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.random((options.rows, 28, 28), dtype=np.float32)
    labels = rng.integers(0, 10, options.rows)
    seconds(options.variant, images, labels, epochs=1, probe=options.probe)  # TensorFlow's own first time
    ratios = []
    for i in range(options.rounds):
        sides = (0, options.probe) if i % 2 else (options.probe, 0)
        took = {n: seconds(options.variant, images, labels, epochs=options.epochs, probe=n) for n in sides}
        ratios.append(took[options.probe] / took[0])
        print(f"round {i + 1}: {took[0]:.2f} s without, {took[options.probe]:.2f} s with: {ratios[-1]:.3f}", flush=True)
    print(
        f"mnist {options.variant}, {options.epochs} epochs of {options.rows}, a probe of {options.probe}: "
        f"median ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
