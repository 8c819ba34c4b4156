"""What a runner says of itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux carries ru_maxrss across exec")
def test_memory_is_the_runners_own_and_not_its_parents() -> None:
    ballast = bytearray(400_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    code = "import json; from devices.runners.job import peak_memory; print(json.dumps(peak_memory()))"
    said = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 1_000_000 < said["bytes"] < 200_000_000
    assert said["kind"] == "VmHWM"
    assert len(ballast) == 400_000_000
