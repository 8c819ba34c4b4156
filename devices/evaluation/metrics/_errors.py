"""The error of a side's rows."""

from __future__ import annotations

import numpy as np

from devices.evaluation.metrics import Columns


def of(columns: Columns, side: str) -> np.ndarray:
    """Output minus label, float64 ``[N]``; of several numbers a sample the root of their mean square."""
    found = columns.get(f"{side}_error")
    if found is not None:
        return found
    return columns[f"{side}_value"].astype(np.float64) - columns["label"]
