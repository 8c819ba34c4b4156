"""What a device behind a shell is like at this moment: one script, one round trip; what cannot be read says why.

The script prints ``@@NAME`` before what belongs to a reading. Everything in it is POSIX, and missing tools are told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

LINUX = r"""
echo @@time; date -u +%Y-%m-%dT%H:%M:%SZ
echo @@os; uname -srm
echo @@machine; uname -m
echo @@distribution; sed -n 's/^PRETTY_NAME=//p' /etc/os-release
echo @@model; tr -d '\000' </proc/device-tree/model; echo
echo @@cpu; sed -n 's/^\(model name\|Hardware\|CPU part\)[[:space:]]*:[[:space:]]*//p' /proc/cpuinfo | head -1
echo @@cores; grep -c ^processor /proc/cpuinfo
echo @@load_average; cat /proc/loadavg
echo @@memory; cat /proc/meminfo | head -3
echo @@governor; cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor
echo @@frequency_khz; cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq
echo @@max_frequency_khz
for f in /sys/devices/system/cpu/cpu[0-9]*; do echo "${f##*/cpu} $(cat $f/cpufreq/cpuinfo_max_freq)"; done
echo @@temperature_c
for z in /sys/class/thermal/thermal_zone*; do echo "${z##*/} $(cat $z/temp) $(cat $z/type)"; done
echo @@emulated; [ -e /etc/edge-export-emulated ] && echo marked
cat /proc/device-tree/compatible 2>/dev/null | tr '\000' '\n'
"""
"""For every Linux, Android's too."""

RASPBERRY_PI = (
    LINUX
    + r"""
echo @@throttled; vcgencmd get_throttled
echo @@core_temperature_c; vcgencmd measure_temp
"""
)

ANDROID = (
    LINUX
    + r"""
echo @@android; getprop ro.build.version.release; getprop ro.build.fingerprint
echo @@soc; getprop ro.soc.model; getprop ro.board.platform
echo @@product; getprop ro.product.manufacturer; getprop ro.product.model
echo @@qemu; getprop ro.kernel.qemu; getprop ro.boot.qemu
echo @@thermal; dumpsys thermalservice
echo @@battery; dumpsys battery
echo @@foreground; dumpsys activity activities | grep -m1 ResumedActivity
echo @@time_in_state; head -40 /sys/devices/system/cpu/cpu0/cpufreq/stats/time_in_state
"""
)

LOW_BATTERY_PERCENT = 15
"""Android's own threshold of its battery saver's offer (config_lowBatteryWarningLevel)."""

THROTTLED_NOW = {
    0: "under-voltage",
    1: "the ARM frequency is capped",
    2: "it is throttled",
    3: "the soft temperature limit is reached",
}
"""Bits of ``vcgencmd get_throttled``; the same from bit 16 on: since it was booted (Raspberry Pi documentation)."""


def parse(text: str, errors: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """The readings in what a script printed, and for each that could not be taken the reason.

    Args:
        text: its stdout.
        errors: its stderr, where missing tools and files are named.
    """
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if re.fullmatch(r"@@\w+", line):
            current = sections.setdefault(line[2:], [])
        elif line.strip():
            current.append(line.strip())
    readings: dict[str, Any] = {}
    unknown: dict[str, str] = {}
    for name, lines in sections.items():
        try:
            readings.update(_PARSERS.get(name, _first)(name, lines))
        except (ValueError, LookupError, TypeError) as error:
            said = [line for line in errors.splitlines() if name in _HINTS and _HINTS[name] in line]
            unknown[name] = (said[-1].strip() if said else str(error).strip("'")) or type(error).__name__
    return readings, unknown


def throttling(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What a device says against its own measurement: reasons, empty where it has none."""
    found = []
    bits, was = after.get("throttled"), before.get("throttled")
    if isinstance(bits, int):
        for bit, what in THROTTLED_NOW.items():
            if bits >> bit & 1:
                found.append(f"the device says: {what}")
            elif isinstance(was, int) and bits >> (16 + bit) & 1 and not was >> (16 + bit) & 1:
                found.append(f"the device says: in the meantime, {what}")
    status = after.get("thermal_status")
    if isinstance(status, int) and status > 0:
        found.append(f"the device says: thermal status {status}, not 0")
    level = after.get("battery_percent")
    if isinstance(level, int) and level < LOW_BATTERY_PERCENT and not after.get("powered"):
        found.append(f"the device says: its battery is at {level} %, where it saves power")
    return found


def hot(readings: Mapping[str, Any]) -> str | None:
    """Why a measurement should not start yet, if it should not."""
    status = readings.get("thermal_status")
    if isinstance(status, int) and status > 0:
        return f"thermal status {status}"
    bits = readings.get("throttled")
    if isinstance(bits, int) and bits & 0xE:
        return next(what for bit, what in THROTTLED_NOW.items() if bit and bits >> bit & 1)
    return None


def big_cores(readings: Mapping[str, Any]) -> list[int]:
    """The cores of the highest frequency; none where all are alike, or nothing is known."""
    each = readings.get("max_frequency_khz") or {}
    top = max(each.values(), default=0)
    found = sorted(int(core) for core, khz in each.items() if khz == top)
    return [] if len(found) == len(each) else found


def _first(name: str, lines: list[str]) -> dict[str, Any]:
    if not lines:
        raise LookupError("nothing was printed")
    return {name: lines[0].strip('"')}


def _all(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: " ".join(_must(lines))}


def _must(lines: list[str]) -> list[str]:
    if not lines:
        raise LookupError("nothing was printed")
    return lines


def _number(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: int(_must(lines)[0])}


def _load(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: [float(v) for v in _must(lines)[0].split()[:3]]}


def _memory(name: str, lines: list[str]) -> dict[str, Any]:
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in _must(lines)}
    return {"memory_bytes": found["MemTotal"], "memory_available_bytes": found["MemAvailable"]}


def _per_core(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: [int(line) for line in _must(lines)]}


def _max_frequency(name: str, lines: list[str]) -> dict[str, Any]:
    pairs = [line.split() for line in lines]
    found = {core: int(khz) for core, khz in (pair for pair in pairs if len(pair) == 2)}
    if not found:
        raise LookupError("no core tells its frequency")
    return {name: found}


def _temperatures(name: str, lines: list[str]) -> dict[str, Any]:
    rows = [line.split(None, 2) for line in lines]
    found = {f"{r[0]} {r[2]}": int(r[1]) / 1000 for r in rows if len(r) == 3 and r[1].lstrip("-").isdigit()}
    if not found:
        raise LookupError("no thermal zone can be read")
    return {name: found}


def _emulated(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: any(line == "marked" or "dummy-virt" in line for line in lines)}


def _qemu(name: str, lines: list[str]) -> dict[str, Any]:
    return {"emulated": True} if "1" in lines else {}


def _throttled(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: int(re.search(r"0x[0-9a-fA-F]+", _must(lines)[0])[0], 16)}  # type: ignore[index]


def _core_temperature(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: float(re.search(r"temp=([\d.]+)", _must(lines)[0])[1])}  # type: ignore[index]


def _thermal(name: str, lines: list[str]) -> dict[str, Any]:
    match = next((m for line in lines if (m := re.match(r"Thermal Status: (\d+)", line))), None)
    if match is None:
        raise LookupError("the thermal service does not tell its status")
    return {"thermal_status": int(match[1])}


def _battery(name: str, lines: list[str]) -> dict[str, Any]:
    found = dict(re.findall(r"^(level|temperature|status|AC powered|USB powered): (\S+)$", "\n".join(lines), re.M))
    return {
        "battery_percent": int(found["level"]),
        "battery_temperature_c": int(found["temperature"]) / 10,
        "powered": "true" in (found.get("AC powered"), found.get("USB powered")),
    }


def _raw(name: str, lines: list[str]) -> dict[str, Any]:
    return {name: dict(line.split() for line in _must(lines) if len(line.split()) == 2)}


_PARSERS: dict[str, Callable[[str, list[str]], dict[str, Any]]] = {
    **dict.fromkeys(("android", "soc", "product"), _all),
    "cores": _number,
    "load_average": _load,
    "memory": _memory,
    "frequency_khz": _per_core,
    "governor": lambda name, lines: {name: sorted(set(_must(lines)))},
    "max_frequency_khz": _max_frequency,
    "temperature_c": _temperatures,
    "emulated": _emulated,
    "qemu": _qemu,
    "throttled": _throttled,
    "core_temperature_c": _core_temperature,
    "thermal": _thermal,
    "battery": _battery,
    "time_in_state": _raw,
}
_HINTS = {"throttled": "vcgencmd", "core_temperature_c": "vcgencmd", "thermal": "dumpsys", "battery": "dumpsys"}
