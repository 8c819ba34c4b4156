"""The manifest of a run directory: what every file in it has to be, so that one changed byte is found.

``manifest.json`` holds the sha256 of every stage's record, which holds those of the files that the stage left, and the
sha256 of single files that belong to no stage. It holds a digest of itself and is written in one form alone, so no byte
of it can change unseen either. It says what was written, not by whom: whoever rewrites a file, its record and the
manifest together is not found out.

Files that are not in it: logs, the lock, and what a command is just writing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolkit.disk import digest, key_of, sha256_file, write_bytes
from toolkit.errors import BrokenInput
from toolkit.serial import SCHEMA_VERSION

NAME = "manifest.json"

OUTSIDE = ("logs", ".lock", NAME)
"""Names in a run directory that the manifest does not cover: what is written while others read, and itself."""


def read(root: Path) -> dict[str, dict[str, str]]:
    """``stages`` (name to the sha256 of its record) and ``files`` (path to sha256); both empty without a manifest.

    Raises:
        BrokenInput: it is damaged.
    """
    path = root / NAME
    if not path.is_file():
        return {"stages": {}, "files": {}}
    data = path.read_bytes()
    try:
        found = json.loads(data)
        content = {part: dict(found[part]) for part in ("stages", "files")}
        whole = data == _bytes(content)
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenInput(f"is damaged ({error})", where=str(path), remedy="convert the run again") from error
    if not whole:
        raise BrokenInput("is damaged (its own digest differs)", where=str(path), remedy="convert the run again")
    return content


def record(root: Path, part: str, name: str, sha256: str | None) -> None:
    """Takes in what a stage's record (``part`` is ``"stages"``) or a file (``"files"``) is now; ``None`` takes it out.

    A damaged manifest is begun anew: what it knew is lost, and ``verify`` names what it no longer covers.
    """
    try:
        content = read(root)
    except BrokenInput:
        content = {"stages": {}, "files": {}}
    if content[part].get(name) == sha256:
        return  # also where there is nothing to take out
    if sha256 is None:
        del content[part][name]
    else:
        content[part][name] = sha256
    write_bytes(root / NAME, _bytes(content))


def mismatches(root: Path) -> list[tuple[str, str]]:
    """Every path that is not what it has to be, with the reason; empty if all are.

    Raises:
        BrokenInput: the manifest itself is damaged, so nothing can be said.
    """
    content = read(root)
    wrong: list[tuple[str, str]] = []
    covered: set[str] = set()
    for stage, sha256 in sorted(content["stages"].items()):
        path = root / "stages" / f"{stage}.json"
        covered.add(f"stages/{stage}.json")
        if reason := _reason(path, sha256):
            wrong.append((f"stages/{stage}.json", reason))
            continue
        for name, expected in json.loads(path.read_bytes())["files"].items():
            covered.add(name)
            # A later stage may have replaced what an earlier one left, and answers for it.
            if (reason := _reason(root / name, expected)) and not _replaced(root, content, stage, name):
                wrong.append((name, reason))
    for name, sha256 in sorted(content["files"].items()):
        covered.add(name)
        if reason := _reason(root / name, sha256):
            wrong.append((name, reason))
    wrong += [(name, "is in no stage's record") for name in _uncovered(root, covered)]
    return wrong


def _replaced(root: Path, content: dict[str, dict[str, str]], stage: str, name: str) -> bool:
    for other in content["stages"]:
        path = root / "stages" / f"{other}.json"
        if other == stage or not path.is_file() or sha256_file(path) != content["stages"][other]:
            continue
        expected = json.loads(path.read_bytes())["files"].get(name)
        if expected is not None and _reason(root / name, expected) is None:
            return True
    return False


def _uncovered(root: Path, covered: set[str]) -> list[str]:
    found = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or name.split("/")[0] in OUTSIDE:
            continue
        if not any(parent in covered for parent in _parents(name)):
            found.append(name)
    return found


def _parents(name: str) -> list[str]:
    """A path and every folder above it, within the run."""
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(len(parts), 0, -1)]


def _reason(path: Path, expected: str | None) -> str | None:
    found = digest(path)
    if found == expected:
        return None
    if found is None:
        return "is missing"
    return "should not be there" if expected is None else f"has sha256 {found[:12]}…, not {expected[:12]}…"


def _bytes(content: dict[str, dict[str, str]]) -> bytes:
    parts: dict[str, Any] = {part: dict(sorted(content[part].items())) for part in ("stages", "files")}
    data = {"schema_version": SCHEMA_VERSION, "digest": key_of(parts), **parts}
    return (json.dumps(data, indent=1) + "\n").encode()
