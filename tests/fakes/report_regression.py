"""Made-up records of a run that regresses house prices: four recipes, judged by rmse, one of every verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fakes.report_records import artifact, bundle, measurement
from toolkit.records import Comparison

CLOUD = 56_234.0

# recipe: difference, interval, verdict
ERRORS: dict[str, tuple[float, tuple[float, float], str]] = {
    "float32": (0.0, (0.0, 0.0), "kept"),
    "float16": (12.5, (-20.25, 45.5), "kept"),
    "dynamic_range": (180.0, (-95.0, 455.0), "not enough samples: 1,640 more needed"),
    "int8": (2350.0, (1800.0, 2908.0), "broken"),
}


def comparison(recipe: str, *, cloud: float = CLOUD) -> Comparison:
    """Numbers for a cloud of :data:`CLOUD`, in proportion for another."""
    difference, interval, verdict = ERRORS[recipe]
    share = cloud / CLOUD
    worst = tuple(
        {"index": 10 * i, "label": 201_500.5, "cloud": 198_000.25, "edge": 150_125.75 + i, "max_abs": 47_874.5 - i}
        for i in range(0 if recipe == "float32" else 12)
    )
    return Comparison(
        recipe=recipe,
        target="cpu",
        against="saved-model",
        metric="rmse",
        cloud=cloud,
        edge=cloud + share * difference,
        difference=share * difference,
        interval=(share * interval[0], share * interval[1]),
        budget=0.005,
        passed=verdict == "kept",
        verdict=verdict,
        agreement=None,
        max_abs_error=47_874.5,
        mean_abs_error=3_100.0,
        cosine=0.9999,
        psnr_db=float("inf") if recipe == "float32" else 41.5,
        n=932,
        p_value=0.31,
        worst=worst,
        data={"mae": {"cloud": 40_100.0, "edge": 40_950.0, "difference": 850.0, "interval": [600.0, 1_100.0]}},
        unit="label unit",
        budget_kind="relative",
    )


def records() -> dict[str, Any]:
    """A whole run."""
    return {
        "bundle": replace(bundle(), name="dnn", metrics={"rmse": 56_234.0, "mae": 40_100.0}),
        "artifacts": [artifact(r) for r in ERRORS],
        "measurements": [measurement(r) for r in ERRORS],
        "comparisons": [comparison(r) for r in ERRORS],
    }
