"""The Pythons on this machine: what an isolated runtime may need another one of than ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

Series = tuple[int, int]
"""``(3, 11)``."""

OLDEST: Series = (3, 9)
"""The oldest that the runner's program is written for."""

NEWEST: Series = (3, 14)


def of(series: Series) -> Path | None:
    """A Python of this series that really starts: this one, else one on the PATH, else pyenv's or uv's."""
    if series == sys.version_info[:2]:
        return Path(sys.executable)
    return next((path for path in _candidates(series) if _starts(path, series)), None)


def known() -> list[Series]:
    """All series that the runner is written for, ours first, then from the newest on."""
    own = sys.version_info[:2]
    others = [(3, minor) for minor in range(NEWEST[1], OLDEST[1] - 1, -1) if (3, minor) != own]
    return [own, *others]


def text(series: Series) -> str:
    """``3.11``."""
    return f"{series[0]}.{series[1]}"


def _candidates(series: Series) -> Iterator[Path]:
    import shutil

    name = f"python{text(series)}"
    found = shutil.which(name)
    if found:
        yield Path(found)
    # What version managers keep is seldom on the PATH under its own name.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{text(series)}.*/bin/{name}"), reverse=True)
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    yield from sorted(uv.glob(f"cpython-{text(series)}.*/bin/{name}"), reverse=True)


def _starts(python: Path, series: Series) -> bool:
    """Whether it runs and can make environments: a manager's name on the PATH may only say "command not found"."""
    import subprocess

    code = "import sys, venv; print(*sys.version_info[:2])"
    try:
        said = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=20, check=True).stdout
        return tuple(map(int, said.split()[:2])) == series
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
