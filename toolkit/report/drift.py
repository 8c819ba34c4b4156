"""How a measurement's samples went over time: medians of consecutive samples, process after process."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.records import Measurement

POINTS = 40
"""Most points drawn of a process."""

GAP = 2.0
"""Between processes, in points."""


def drift(measurement: Measurement) -> dict[str, Any] | None:
    """Lines in a box ``width`` wide and 100 high, of one scale, and the last fifth over the first in words.

    Returns:
        ``None`` where there are no samples, or too few to have a course.
    """
    groups = [np.asarray(run.samples_ns, dtype=np.float64) for run in measurement.runs if len(run.samples_ns) >= 10]
    if not groups:
        return None
    courses = [
        np.array([np.median(part) for part in np.array_split(group, min(POINTS, len(group) // 5 or 1))])
        for group in groups
    ]
    low, high = min(float(c.min()) for c in courses), max(float(c.max()) for c in courses)
    reach = (high - low) or 1.0
    paths, start = [], 0.0
    for course in courses:
        points = [(start + i, 96 - 92 * (float(v) - low) / reach) for i, v in enumerate(course)]
        if len(points) == 1:
            points.append((start + 0.5, points[0][1]))
        paths.append("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points))
        start += len(course) + GAP
    slowdown = float(
        np.median([np.median(g[-(len(g) // 5) :]) / np.median(g[: len(g) // 5]) for g in groups if len(g) >= 5])
    )
    return {"width": round(start - GAP, 1), "paths": paths, "slowdown": slowdown, "spread": high / low - 1}
