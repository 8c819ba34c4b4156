"""What this machine is like at this moment: CPU, frequency, load, memory, system. What cannot be read says why."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_CPU = Path("/sys/devices/system/cpu")
_THERMAL = Path("/sys/class/thermal")


def read() -> tuple[dict[str, Any], dict[str, str]]:
    """The readings, and for each that could not be taken the reason. Takes a few milliseconds, starts nothing."""
    readings: dict[str, Any] = {}
    unknown: dict[str, str] = {}
    for name, take in _READINGS.items():
        try:
            value = take()
        except (OSError, ValueError, AttributeError, LookupError) as error:
            unknown[name] = f"{type(error).__name__}: {error}"
        else:
            readings[name] = value
    return readings, unknown


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.lower().startswith(("model name", "hardware")):
            return line.partition(":")[2].strip()
    raise LookupError("/proc/cpuinfo names no model")


def _memory(field: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/meminfo has no {field}")


def _per_core(file: str) -> list[str]:
    found = [_CPU / f"cpu{core}" / "cpufreq" / file for core in sorted(os.sched_getaffinity(0))]
    return [path.read_text(encoding="utf-8").strip() for path in found]


def _temperatures() -> dict[str, float]:
    found = {}
    for zone in sorted(_THERMAL.glob("thermal_zone*")):
        kind = (zone / "type").read_text(encoding="utf-8").strip()
        found[f"{zone.name} {kind}"] = int((zone / "temp").read_text(encoding="utf-8")) / 1000
    if not found:
        raise LookupError(f"no thermal zone in {_THERMAL}")
    return found


_READINGS: dict[str, Callable[[], Any]] = {
    "time": lambda: datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    "os": platform.platform,
    "machine": platform.machine,
    "python": platform.python_version,
    "cpu": _cpu_model,
    "cores": lambda: os.cpu_count() or 0,
    "affinity": lambda: sorted(os.sched_getaffinity(0)),
    "load_average": lambda: [round(value, 2) for value in os.getloadavg()],
    "governor": lambda: sorted(set(_per_core("scaling_governor"))),
    "frequency_khz": lambda: [int(text) for text in _per_core("scaling_cur_freq")],
    "temperature_c": _temperatures,
    "memory_bytes": lambda: _memory("MemTotal"),
    "memory_available_bytes": lambda: _memory("MemAvailable"),
}
