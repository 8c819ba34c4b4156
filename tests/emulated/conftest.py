"""Emulated devices, where some are up: ``scripts/emulate up``. One after the other: they share this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.command import Done, call

from devices import emulated


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.emulated)


def up(target: str, **wanted: str) -> list[dict[str, Any]]:
    """The emulated devices of a target that are up; the test is skipped where there is none."""
    found = [d for d in emulated.up(target) if all(d.get(k) == v for k, v in wanted.items())]
    if not found:
        pytest.skip(f"no emulated {target} is up: scripts/emulate up {target}")
    return found


@pytest.fixture
def edge_export(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Done]:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: call(monkeypatch, capfd, *words)
