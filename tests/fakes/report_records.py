"""Made-up records of a whole run: seven recipes and one odd file, of every verdict a report has to show."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.records import (
    Artifact,
    Check,
    Comparison,
    Conditions,
    Embedding,
    Failure,
    Gate,
    Measurement,
    Memory,
    ModelBundle,
    Plan,
    ProcessRun,
    Signature,
    Sparsity,
    Target,
    TensorSpec,
)
from toolkit.store import Run, write_json

LONG = "pruned_clustered_quantization_aware_int8_with_a_very_long_name"
PLAN = Plan(mode="quick", processes=2, min_samples=64, min_seconds=1.0, max_seconds=6.0)
SIGNATURE = Signature(
    key="serving_default",
    inputs=(TensorSpec(name="image", shape=(None, 28, 28), dtype="float32"),),
    outputs=(TensorSpec(name="probabilities", shape=(None, 10), dtype="float32"),),
)
VERSIONS = {"tensorflow": "2.21.0", "tf_keras": "2.21.0", "numpy": "2.4.0", "python": "3.11.2"}

# recipe: (bytes, gzip, median µs, accuracy edge, gained, lost of 5,000, psnr)
NUMBERS: dict[str, tuple[int, int, float, float, int, int, float]] = {
    "float32": (481_012, 446_120, 14.2, 0.954, 0, 0, float("inf")),
    "float16": (243_344, 223_018, 14.4, 0.954, 0, 0, 71.3),
    "dynamic_range": (128_208, 97_311, 6.31, 0.953, 5, 10, 41.0),
    "int8": (127_904, 96_870, 5.42, 0.951, 10, 25, 38.4),
    "int8_float_io": (128_304, 97_010, 5.77, 0.952, 10, 20, 38.9),
    "int16x8": (131_104, 99_120, 128.0, 0.954, 0, 0, 63.0),
    LONG: (127_904, 41_442, 5.51, 0.941, 45, 110, 30.6),
}
CONTROL = {"ratio": 1.004, "interval": [0.99, 1.02], "p_value": 0.4, "verdict": "no difference"}
QUARANTINED = "pruned_int8"


def bundle() -> ModelBundle:
    return ModelBundle(
        name="mnist",
        keras_file="bundle/model.keras",
        keras_version=2,
        saved_model="bundle/saved_model/1700000000",
        signature=SIGNATURE,
        sha256="b" * 64,
        seed=7,
        options={"model": "dnn", "epochs": 5},
        metrics={"accuracy": 0.954, "loss": 0.151},
        data={"source": "offline digits", "train": 4000, "evaluation": 5000},
        versions=VERSIONS,
    )


def artifact(recipe: str, /, *, passed: bool = True, **changes: Any) -> Artifact:
    size, packed = NUMBERS.get(recipe, (127_904, 31_442))[:2]
    checks = (
        Check(name="label", passed=True, detail="input and output float32; weights as promised; no Flex"),
        Check(name="loads with XNNPACK", passed=True, detail="ai-edge-litert 2.3.0, 8 inputs"),
        Check(
            name="tolerance", passed=passed, detail="PSNR 38.4 dB, at least 30 dB" if passed else "PSNR 12.1 dB < 30 dB"
        ),
    )
    values: dict[str, Any] = {
        "recipe": recipe,
        "path": f"artifacts/{'' if passed else 'quarantine/'}{recipe}.tflite",
        "sha256": "a" * 64,
        "size_bytes": size,
        "gzip_bytes": packed,
        "ops": {"FULLY_CONNECTED": 4, "RESHAPE": 1, "SOFTMAX": 1},
        "parent_sha256": "b" * 64,
        "calibration_digest": "c" * 64 if "int" in recipe else None,
        "signature": SIGNATURE,
        "runtime_floor": {"tflite-runtime": "2.14.0"},
        "gate": Gate(passed=passed, checks=checks),
        "versions": VERSIONS,
    }
    return Artifact(**{**values, **changes})


def process(number: int, centre_us: float, *, count: int = 64) -> ProcessRun:
    rng = np.random.default_rng([number, int(centre_us * 100)])
    samples = (centre_us * (1 + 0.01 * number) + rng.gamma(2.0, 0.015 * centre_us, count)) * 1e3
    return ProcessRun(
        round=number,
        batch_k=100,
        init_us=1800.0 + number,
        first_us=3 * centre_us,
        warmup_inferences=40,
        warmup_steady=True,
        doubling_ratio=2.01,
        samples_ns=tuple(float(round(v, 1)) for v in samples),
        memory=Memory(bytes=61_000_000, kind="ru_maxrss"),
        started_at=f"2026-01-02T03:04:0{number}+00:00",
    )


def measurement(
    recipe: str, *, verdict: str = "valid", reasons: tuple[str, ...] = (), target: str = "cpu"
) -> Measurement:
    failed = verdict == "failed"
    centre = NUMBERS.get(recipe, NUMBERS["int8"])[2]
    return Measurement(
        recipe=recipe,
        artifact_sha256="a" * 64,
        target=Target(
            name=target, platform="linux-x86_64", runtime="ai-edge-litert", runtime_version="2.3.0", delegate="XNNPACK"
        ),
        plan=PLAN,
        runs=() if failed else (process(0, centre), process(1, centre)),
        delegated_ops=None if failed else (6, 6),
        partitions=None if failed else 1,
        conditions=Conditions(
            before={"cpu": "Some CPU @ 2.1 GHz", "cores": 2, "load_1m": 0.4},
            after={"cpu": "Some CPU @ 2.1 GHz", "cores": 2, "load_1m": 1.1},
            unknown={"governor": "no cpufreq in this virtual machine"},
        ),
        verdict=verdict,
        reasons=reasons,
        failure=Failure(stage="time", message="the runner died of SIGSEGV", stderr_tail="Fatal\x1b[31m error")
        if failed
        else None,
        provenance={"runner": "portable.py", "aa_control": CONTROL}
        if recipe == "float32"
        else {"runner": "portable.py"},
    )


def picture(seed: int) -> dict[str, Any]:
    ys, xs = np.mgrid[0:28, 0:28]
    radius = np.hypot(xs - 13.5, (ys - 13.5) / 1.2) - 4 - seed % 4
    pixels = np.clip(255 * np.exp(-(radius**2) / 3), 0, 255).astype(np.uint8)
    return {"shape": [28, 28], "dtype": "uint8", "base64": base64.b64encode(pixels.tobytes()).decode()}


def comparison(recipe: str, *, passed: bool = True, verdict: str = "kept", target: str = "cpu") -> Comparison:
    from toolkit.statistics import mcnemar_exact, paired_difference

    edge, gained, lost, psnr = NUMBERS[recipe][3:]
    difference, interval = paired_difference(gained, lost, 5000)
    worst = tuple(
        {
            "index": 10 * i,
            "label": i % 10,
            "cloud": i % 10,
            "edge": (i + 3) % 10,
            "cloud_p": 0.61,
            "edge_p": 0.55,
            "max_abs": round(0.5 - 0.03 * i, 3),
            "image": picture(i),
        }
        for i in range(min(12, gained + lost))
    )
    return Comparison(
        recipe=recipe,
        target=target,
        against="saved-model",
        metric="accuracy",
        cloud=0.954,
        edge=edge,
        difference=difference,
        interval=interval,
        budget=0.005,
        passed=passed,
        verdict=verdict,
        agreement=1 - (gained + lost) / 5000,
        max_abs_error=0.0 if psnr == float("inf") else 0.31,
        mean_abs_error=0.0 if psnr == float("inf") else 0.002,
        cosine=0.9999,
        psnr_db=psnr,
        n=5000,
        flips={"gained": gained, "lost": lost},
        p_value=mcnemar_exact(gained, lost),
        worst=worst,
    )


def codes(*, per_class: int = 30) -> Embedding:
    """Ten classes on a circle."""
    rng = np.random.default_rng(8)
    labels = np.arange(10 * per_class) % 10
    turns = labels / 10 * 2 * np.pi
    points = np.column_stack([3 * np.cos(turns), 2 * np.sin(turns)]) + 0.3 * rng.normal(size=(len(labels), 2))
    return Embedding(
        name="hidden_2",
        kind="codes",
        method="PCA",
        size=64,
        total=5_000,
        explained=(0.41, 0.1925),
        points=tuple((round(x, 3), round(y, 3)) for x, y in points.tolist()),
        labels=tuple(map(str, labels.tolist())),
        classes=tuple("0123456789"),
    )


def column(*names: str, unseen: tuple[str, ...] = ()) -> Embedding:
    """Ids in a row of three; those ``unseen`` do not occur in the samples."""
    found = (*(names or ("Cash", "Credit Card", "Prcard")), *unseen)
    return Embedding(
        name="payment",
        kind="column",
        method="PCA",
        size=4,
        total=len(found),
        explained=(0.75, 0.125),
        points=tuple((float(i % 3), float(i // 3)) for i in range(len(found))),
        labels=found,
        counts=tuple(0 if name in unseen else 10 + i for i, name in enumerate(found)),
    )


def sparsity() -> list[Sparsity]:
    """A first kernel with zeros and inputs that nobody listens to, a second with some, a third without any."""

    def kernel(name: str, inputs: int, units: int, zeros: float, dead: tuple[int, int], packed: int) -> Sparsity:
        size = 4 * inputs * units
        return Sparsity(
            name=f"{name}/kernel",
            shape=(inputs, units),
            zeros=zeros,
            inputs=inputs,
            dead_inputs=dead[0],
            units=units,
            dead_units=dead[1],
            bytes=size,
            gzip_bytes=packed,
        )

    return [
        kernel("hidden_1", 784, 128, 0.460748, (196, 64), 221_017),
        kernel("hidden_2", 128, 128, 0.125, (0, 0), 55_000),
        kernel("probabilities", 128, 10, 0.000781, (0, 0), 4_801),
    ]


def records() -> dict[str, list[Any]]:
    """Everything of a run in which something of every kind went wrong."""
    odd = {
        "int8": ("unstable", ("cv 14 %, at most 10 %",)),
        "int16x8": ("throttled", ("the last fifth took 1.09 times the first",)),
        "float16": ("failed", ("the runner died of SIGSEGV",)),
    }
    judged = {
        "int8": (False, "not enough samples: 2,380 more needed"),
        LONG: (False, "broken"),
    }
    return {
        "artifacts": [*(artifact(r) for r in NUMBERS), artifact(QUARANTINED, passed=False)],
        "measurements": [
            measurement(r, verdict=odd.get(r, ("valid", ()))[0], reasons=odd.get(r, ("valid", ()))[1]) for r in NUMBERS
        ],
        "comparisons": [
            comparison(r, passed=judged.get(r, (True, "kept"))[0], verdict=judged.get(r, (True, "kept"))[1])
            for r in NUMBERS
        ],
        "warnings": ["the offline digits were used: 5,000 in all"],
        "embeddings": [codes(), column(unseen=("(unknown)",))],
        "sparsity": sparsity(),
    }


def make_run(root: Path) -> Run:
    """A run directory that holds :func:`records`."""
    run, made = Run(root), records()
    write_json(run.path("bundle", "bundle.json"), bundle())
    write_json(run.path("bundle", "training.json"), {"metrics": bundle().metrics, "sparsity": made["sparsity"]})
    for a in made["artifacts"]:
        write_json(run.path(a.path).with_suffix(".json"), a)
    for m in made["measurements"]:
        write_json(run.path("measurements", m.target.name, f"{m.recipe}.json"), m)
    for c in made["comparisons"]:
        write_json(run.path("comparisons", c.target, f"{c.recipe}.json"), c)
    for e in made["embeddings"]:
        write_json(run.path("embeddings", f"{e.name}.json"), e)
    write_json(run.path("warnings.json"), {"warnings": made["warnings"]})
    return run
