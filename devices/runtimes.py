"""TFLite runtimes by name and version: ours, and those in environments of their own in the user's cache.

``devices/environments.py`` makes the environments; this file finds them and asks whether they work. It looks at files
only and imports nothing heavy, but for :func:`probe`. An import is no health check: tflite-runtime 2.14 imports beside
numpy 2 and dies later, so :func:`probe` builds an interpreter and runs an inference.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

from devices import pythons
from toolkit import store
from toolkit.errors import BrokenInput, EdgeExportError, MissingError, UsageError, unknown_name

NAMES = ("ai-edge-litert", "tflite-runtime")
"""The packages that hold a TFLite interpreter for Python: the one that lives, and the one before it."""

OLDEST = ("tflite-runtime", "2.14.0")
"""The last release of tflite-runtime: the oldest runtime that every artifact is tried on."""

PROBE = Path(__file__).parent / "runners" / "probe.tflite"
"""One operator: ``y = x + 1`` of four floats."""

_PYTHONS: dict[str, tuple[pythons.Series, ...]] = {"tflite-runtime": ((3, 11), (3, 10), (3, 9))}
_SYSTEMS = {"tflite-runtime": ("Linux",)}
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)?")


def parse(text: str, *, where: str = "--runtime") -> tuple[str, str]:
    """Name and version of ``NAME==VERSION``.

    Raises:
        UsageError: no such name, or no version: never a path or an address.
    """
    name, equals, version = text.partition("==")
    if name not in NAMES:
        raise unknown_name("runtime", name, NAMES)
    if not equals or not _VERSION.fullmatch(version):
        what = f"{text!r} names no version" if not version else f"{version!r} is no version"
        raise UsageError(what, where=where, remedy=f"write NAME==VERSION, e.g. {'=='.join(OLDEST)}")
    return name, version


def order(version: str) -> tuple[Any, ...]:
    """What versions are compared by: equal for ``2.14`` and ``2.14.0``, a pre-release before its release."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in release.group().split(".")] if release else []
    while numbers and not numbers[-1]:
        numbers.pop()
    rest = version[release.end() :] if release else version
    return (tuple(numbers), not rest or rest.startswith(".post"), rest)


def home() -> Path:
    """The folder of all runtime environments."""
    return store.cache_dir() / "runtimes"


def locate(name: str, version: str) -> Path | None:
    """The Python of a complete environment with this runtime, or ``None``."""
    return next((python for found, python in _complete(name) if order(found) == order(version)), None)


def available() -> list[str]:
    """Every runtime there is, as ``name==version``: our own first."""
    found = []
    own = installed(NAMES[0])
    if own is not None:
        found.append(f"{NAMES[0]}=={own}")
    for name in NAMES:
        found += [f"{name}=={version}" for version, _ in _complete(name)]
    return list(dict.fromkeys(found))


def exact(name: str, version: str) -> str | None:
    """``name==version`` as the runtime that is here calls itself (``2.14.0`` for ``2.14``), ``None`` if it is not."""
    for text in available():
        known, _, found = text.partition("==")
        if known == name and order(found) == order(version):
            return text
    return None


def _complete(name: str) -> list[tuple[str, Path]]:
    """Versions of a runtime that have a complete environment, oldest first, and its Python."""
    found = []
    for marker in home().glob(f"{name}-*-py3.*/complete.json"):
        python = marker.parent / "bin" / "python"
        if python.exists():
            found.append((marker.parent.name[len(name) + 1 :].rsplit("-py", 1)[0], python))
    return sorted(found, key=lambda pair: (order(pair[0]), pair[1]))


def installed(name: str) -> str | None:
    """The version of a package in our own environment, from its folder's name; ``importlib.metadata`` takes 20 ms."""
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    for folder in Path(spec.origin).parent.parent.glob(f"{module}-*.dist-info"):
        return folder.name[len(module) + 1 : -len(".dist-info")]
    return None


def python_of(name: str, version: str | None) -> Path:
    """The Python to run a runtime with: ours, or that of its environment.

    Args:
        name: of :data:`NAMES`.
        version: ``None`` for our own, or the one there is.

    Raises:
        MissingError: it is not there; the remedy says how to get it, the message why not if it cannot be had.
    """
    own = installed(name)
    if own is not None and (version is None or order(version) == order(own)):
        return Path(sys.executable)
    wanted = version or (OLDEST[1] if name == OLDEST[0] else "")
    python = locate(name, wanted)
    if python is None:
        why = why_not(name)
        remedy = f"edge-export doctor --fix --runtime {name}=={wanted} makes it"
        if why or not wanted:
            remedy = "use ai-edge-litert instead" if name != NAMES[0] else "run edge-export doctor"
        elif (name, wanted) == OLDEST:
            remedy = "run scripts/bootstrap"
        raise MissingError(f"is not here{f' ({why})' if why else ''}", where=f"runtime {name}=={wanted}", remedy=remedy)
    return python


def why_not(name: str = OLDEST[0]) -> str | None:
    """Why no environment for any version of ``name`` can be made here; ``None`` if it may be. Asks nobody."""
    systems = _SYSTEMS.get(name)
    if systems and os.uname().sysname not in systems:
        return f"{name} has no wheels for {os.uname().sysname}"
    fitting = _PYTHONS.get(name)
    if fitting and not any(pythons.of(series) for series in fitting):
        wanted = ", ".join(pythons.text(series) for series in fitting)
        return f"{name} needs a Python of {wanted}; this is {sys.version.split()[0]} and none of them is here"
    return None


def probe(name: str, version: str | None = None) -> dict[str, Any]:
    """Builds an interpreter of the runtime in a process of its own and runs one inference.

    Returns:
        ``{"runtime", "version", "works", "why"}``; ``why`` is ``None`` if it works.
    """
    from devices.targets.cpu import Cpu  # imported late: the target asks this file for its Python

    try:
        answer = Cpu(runtime=name, version=version).answer(PROBE, {"x": probe_input()})
        check_probe(answer.outputs["y"])
        return {"runtime": name, "version": answer.provenance["runtime_version"], "works": True, "why": None}
    except EdgeExportError as error:
        return {"runtime": name, "version": version, "works": False, "why": str(error)}


def probe_input() -> Any:
    """What the probe is given: float32 ``[1, 4]``."""
    import numpy as np

    return np.array([[1.0, -2.0, 3.5, 0.0]], dtype=np.float32)


def check_probe(answer: Any) -> None:
    """Raises :class:`BrokenInput` unless ``answer`` is the probe's."""
    import numpy as np

    if not np.array_equal(answer, probe_input() + 1):
        raise BrokenInput(f"x + 1 came out as {answer.tolist()}")
