"""Files on disk: digests, atomic writes, JSON records, and what the operating system says when it cannot.

Nothing is written under its final name until it is whole: files and folders are made beside it and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput, MissingError, UsageError
from toolkit.serial import SCHEMA_VERSION, to_json

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TMP = ".tmp-"
"""How the names of unfinished files begin."""


def cache_dir() -> Path:
    """The user's cache: ``$EDGE_EXPORT_CACHE``, else ``$XDG_CACHE_HOME/edge-export``, else ``~/.cache/edge-export``."""
    own = os.environ.get("EDGE_EXPORT_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edge-export"


def alive(process_id: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sha256_bytes(data: bytes) -> str:
    """Hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_tree(folder: Path, *, ignore: Iterable[str] = ("fingerprint.pb",)) -> str:
    """Hex sha256 over the names and contents of a folder's files, in sorted order.

    ``fingerprint.pb`` of a SavedModel differs between equal exports, so it is left out by default.
    """
    skip = set(ignore)
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in skip):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def key_of(value: Any) -> str:
    """Hex sha256 of a value's canonical JSON: equal inputs, equal key."""
    return sha256_bytes(json.dumps(to_json(value), sort_keys=True, separators=(",", ":")).encode())


def gzip_size(path: Path) -> int:
    """Bytes of the file after gzip -9 (what an app store or a CDN would transfer)."""
    return len(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0))


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an ``OSError`` of writing near ``path`` into a one-line :class:`MissingError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MissingError(
                "the disk is full", where=str(path), remedy="free some space and run the same command again"
            ) from error
        raise MissingError(
            f"cannot write: {error.strerror or error}",
            where=str(error.filename or path),
            remedy="set EDGE_EXPORT_CACHE to a writable folder"
            if cache_dir() in (path, *path.parents)
            else "choose a writable folder with --run-dir",
        ) from error


@contextlib.contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``final``; renames it there on success, removes it on failure.

    Works for a file or a folder. An existing file is replaced in one step; an existing folder is moved
    aside first and removed once the new one is in place. Of a link, what it leads to is replaced.

    Raises:
        UsageError: there is something that is neither file nor folder: root would rename over ``/dev/null``.
        MissingError: see :func:`disk_errors`.
    """
    final = final.resolve() if final.is_symlink() else final
    if final.exists() and not (final.is_file() or final.is_dir()):
        raise UsageError("is neither a file nor a folder", where=str(final), remedy="give the result a name of its own")
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        beside = final.parent / f"{TMP}{secrets.token_hex(4)}-{final.name}"
        try:
            yield beside
            _sync(beside)
            if final.is_dir():
                old = final.parent / f"{TMP}{secrets.token_hex(4)}-old-{final.name}"
                os.rename(final, old)
                os.rename(beside, final)
                shutil.rmtree(old)
            else:
                os.replace(beside, final)
        finally:
            remove(beside)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file, or nothing."""
    with replacing(path) as beside:
        beside.write_bytes(data)


def write_json(path: Path, record: Any) -> None:
    """Writes a record with ``schema_version`` as JSON, whole or not at all."""
    data = {"schema_version": SCHEMA_VERSION, **to_json(record)}
    write_bytes(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BrokenInput: unreadable, not a JSON object, or of a newer schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenInput(f"cannot be read as JSON ({error})", where=str(path), remedy="run the stage again") from error
    if not isinstance(data, dict):
        raise BrokenInput("is not a JSON object", where=str(path), remedy="run the stage again")
    if data.get("schema_version", 0) > SCHEMA_VERSION:
        raise BrokenInput(
            f"has schema version {data['schema_version']}, this program reads up to {SCHEMA_VERSION}",
            where=str(path),
            remedy="update edge-export",
        )
    return data


def remove(path: Path) -> None:
    """Removes a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def digest(path: Path) -> str | None:
    """Hex sha256 of a file or of every file in a folder; ``None`` if there is nothing."""
    if path.is_dir():
        return sha256_tree(path, ignore=())
    return sha256_file(path) if path.is_file() else None


def _sync(path: Path) -> None:
    """Makes a file's content durable before its name is, so that a crash cannot leave a short file."""
    if path.is_file():
        with open(path, "rb") as stream:
            os.fsync(stream.fileno())
