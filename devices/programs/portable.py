"""The portable runner under a Python of the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange, runners

_HERE = Path(runners.__file__).parent


class Portable:
    """``portable.py`` under a Python of the device.

    Args:
        python: there.
        site: the folder there that holds the runtime's packages; ``None`` for the Python's own.
    """

    files: Mapping[str, Path] = {name: _HERE / name for name in ("portable.py", "job.py")}
    results: tuple[str, ...] = ("result.json", "outputs.npz")

    def __init__(self, python: str, site: str | None) -> None:
        self._python = python
        self._site = site

    def words(self, folder: str) -> list[str]:
        """See :class:`devices.remote.Program`."""
        env = ["env", f"PYTHONPATH={self._site}"] if self._site else []
        return [*env, self._python, "-s", f"{folder}/portable.py", "plan.json"]

    def write(self, folder: Path, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray] | None, model: Path) -> None:
        """See :class:`devices.remote.Program`."""
        exchange.write_job(folder, job, inputs)

    def read(self, folder: Path, *, where: str, stderr: str, model: Path) -> dict[str, Any]:
        """See :class:`devices.remote.Program`."""
        return exchange.read_result(folder, where=where, stderr=stderr)
