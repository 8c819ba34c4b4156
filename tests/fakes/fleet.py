"""Older runtimes that some tests need, and why one is not here."""

from __future__ import annotations

import os

from devices import environments, runtimes
from toolkit.errors import MissingError


def absent(text: str) -> str | None:
    """Why ``NAME==VERSION`` is not here, ``None`` if it is. Where tests are run for a landing it is fetched."""
    name, version = runtimes.parse(text)
    if runtimes.exact(name, version):
        return None
    if not os.environ.get("CI"):
        return runtimes.why_not(name) or f"edge-export doctor --fix --runtime {text} makes it"
    try:
        environments.ready([text])
    except MissingError as error:
        return str(error)
    return None
