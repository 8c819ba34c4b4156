"""What devices say of themselves: recorded answers of shells, and what follows from them."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from devices import readings

PI = """@@time
2026-11-25T15:20:56Z
@@os
Linux 6.6.31+rpt-rpi-v8 aarch64
@@machine
aarch64
@@distribution
"Debian GNU/Linux 12 (bookworm)"
@@model
Raspberry Pi 4 Model B Rev 1.4
@@cpu
0xd08
@@cores
4
@@load_average
1.28 0.44 0.16 3/57 152
@@memory
MemTotal:        3885396 kB
MemFree:         1507140 kB
MemAvailable:    1478740 kB
@@governor
ondemand
ondemand
@@frequency_khz
1800000
600000
@@max_frequency_khz
0 1800000
1 1800000
@@temperature_c
thermal_zone0 48300 cpu-thermal
@@emulated
raspberrypi,4-model-b
brcm,bcm2711
@@throttled
throttled=0x50005
@@core_temperature_c
temp=48.3'C
"""

PHONE = """@@machine
aarch64
@@max_frequency_khz
0 1800000
1 1800000
2 2400000
3 2400000
@@qemu
1
@@thermal
IsStatusOverride: false
Thermal Status: 2
@@battery
Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 87
  temperature: 273
@@time_in_state
300000 100
1800000 42
"""


def test_a_raspberry_pi_is_read() -> None:
    found, unknown = readings.parse(PI)
    assert unknown == {}
    assert found["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert found["distribution"] == "Debian GNU/Linux 12 (bookworm)"
    assert (found["memory_bytes"], found["memory_available_bytes"]) == (3885396 * 1024, 1478740 * 1024)
    assert found["governor"] == ["ondemand"]
    assert found["frequency_khz"] == [1800000, 600000]
    assert found["temperature_c"] == {"thermal_zone0 cpu-thermal": 48.3}
    assert found["emulated"] is False
    assert (found["throttled"], found["core_temperature_c"]) == (0x50005, 48.3)


def test_a_phone_is_read() -> None:
    found, unknown = readings.parse(PHONE)
    assert unknown == {}
    assert found["emulated"] is True
    assert found["thermal_status"] == 2
    assert (found["battery_percent"], found["battery_temperature_c"], found["powered"]) == (87, 27.3, True)
    assert found["time_in_state"] == {"300000": "100", "1800000": "42"}
    assert readings.big_cores(found) == [2, 3]


def test_what_cannot_be_read_says_why() -> None:
    found, unknown = readings.parse(
        "@@throttled\n@@cores\n@@temperature_c\nthermal_zone*  \n@@thermal\n@@battery\nlevel: x\n",
        "sh: 20: vcgencmd: not found\nCan't find service: dumpsys\n",
    )
    assert found == {}
    assert unknown["throttled"] == "sh: 20: vcgencmd: not found"
    assert unknown["cores"] == "nothing was printed"
    assert unknown["temperature_c"] == "no thermal zone can be read"
    assert set(unknown) == {"throttled", "cores", "temperature_c", "thermal", "battery"}


@pytest.mark.parametrize("script", [readings.RASPBERRY_PI, readings.ANDROID])
def test_the_scripts_run_in_a_plain_shell(script: str) -> None:
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    found, unknown = readings.parse(done.stdout, done.stderr)
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 0
    assert "nothing" not in unknown


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {}, []),
        ({"throttled": 0}, {"throttled": 0}, []),
        ({"throttled": 0}, {"throttled": 0x1}, ["under-voltage"]),
        ({"throttled": 0x50000}, {"throttled": 0x50000}, []),  # since it was booted, and before us
        ({"throttled": 0}, {"throttled": 0x40000}, ["in the meantime, it is throttled"]),
        ({"throttled": 0}, {"throttled": 0xA}, ["the ARM frequency is capped", "the soft temperature limit"]),
        ({"thermal_status": 0}, {"thermal_status": 3}, ["thermal status 3"]),
        ({}, {"battery_percent": 9, "powered": False}, ["its battery is at 9 %"]),
        ({}, {"battery_percent": 9, "powered": True}, []),
    ],
)
def test_a_device_speaks_against_its_measurement(
    before: dict[str, Any], after: dict[str, Any], said: list[str]
) -> None:
    found = readings.throttling(before, after)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_hot_devices_wait() -> None:
    assert readings.hot({}) is None
    assert readings.hot({"throttled": 0x1, "thermal_status": 0}) is None  # under-voltage does not go by waiting
    assert readings.hot({"throttled": 0x4}) == "it is throttled"
    assert readings.hot({"thermal_status": 1}) == "thermal status 1"


def test_big_cores_only_where_some_are_bigger() -> None:
    assert readings.big_cores({}) == []
    assert readings.big_cores({"max_frequency_khz": {"0": 1, "1": 1}}) == []
    assert readings.big_cores({"max_frequency_khz": {"0": 1, "7": 3, "4": 2}}) == [7]
