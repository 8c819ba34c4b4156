"""The run directory: its layout, digests, atomic writes, and which stage is already done.

    RUN/
      run.json                  what this directory is
      bundle/                   bundle.json, model.keras, saved_model/<timestamp>/
      artifacts/                <recipe>.tflite and <recipe>.json; quarantine/ for what failed its gate
      measurements/<target>/    <recipe>.json, raw samples inside
      comparisons/<target>/     <recipe>.json
      evaluations/<key>/        of every row a few numbers of both sides, in blocks
      outputs/                  what a target answered, by digest of model and inputs
      stages/                   <stage>.json: key of the inputs, digest of every file the stage left
      embeddings/               <name>.json: what the model learned, as points in a plane
      logs/                     native output, TensorBoard events and projector files
      manifest.json             digests of the stages' records and of single files: see toolkit.manifest
      report.html

A stage counts as done when its record exists, was made from the same inputs (``key``) and every
file it left still has the recorded sha256.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from toolkit import manifest
from toolkit.disk import (
    TMP,
    alive,
    cache_dir,
    digest,
    disk_errors,
    gzip_size,
    key_of,
    read_json,
    remove,
    replacing,
    sha256_bytes,
    sha256_file,
    sha256_tree,
    write_bytes,
    write_json,
)
from toolkit.errors import BrokenInput, MissingError

__all__ = [
    "Run",
    "alive",
    "cache_dir",
    "disk_errors",
    "gzip_size",
    "key_of",
    "read_json",
    "remove",
    "replacing",
    "sha256_bytes",
    "sha256_file",
    "sha256_tree",
    "write_bytes",
    "write_json",
]

_KIND = "edge-export run directory"


class Run:
    """One run directory.

    Raises:
        MissingError: the folder cannot be made or written.
        BrokenInput: ``run.json`` is there and is not ours.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(root)
            for left_over in root.rglob(f"{TMP}*"):
                remove(left_over)
        self._mark(self.path("run.json"))

    def _mark(self, mark: Path) -> None:
        """Marks the folder as ours, unless it is marked; a damaged mark is made again where our stages lie."""
        if mark.exists():
            try:
                kind = read_json(mark).get("kind")
            except BrokenInput:
                if not self.path("stages").is_dir():
                    raise
                kind = None
            else:
                if kind != _KIND:
                    raise BrokenInput("is not a run directory", where=str(self.root), remedy="choose another --run-dir")
            if kind == _KIND:
                return
        write_json(mark, {"kind": _KIND})
        self.keep(mark)

    def path(self, *parts: str) -> Path:
        """A path inside the run directory."""
        return self.root.joinpath(*parts)

    def relative(self, path: Path) -> str:
        """``path`` relative to the run directory, with forward slashes."""
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def done(self, stage: str, key: str) -> bool:
        """Whether ``stage`` finished from the inputs ``key``, and its record and its files are undamaged."""
        try:
            record = read_json(self._record(stage))
            listed = manifest.read(self.root)["stages"].get(stage)
        except BrokenInput:
            return False
        own = sha256_file(self._record(stage))
        if record.get("key") != key or listed not in (own, None):
            return False
        if any(digest(self.path(name)) != expected for name, expected in record.get("files", {}).items()):
            return False
        # A process that was killed between the two left the record and not the entry.
        manifest.record(self.root, "stages", stage, own)
        return True

    def finish(self, stage: str, key: str, files: Iterable[Path]) -> None:
        """Records that ``stage`` is done and what it left."""
        digests = {self.relative(path): digest(path) for path in files}
        write_json(self._record(stage), {"stage": stage, "key": key, "files": digests})
        manifest.record(self.root, "stages", stage, sha256_file(self._record(stage)))

    def keep(self, path: Path) -> None:
        """Takes a file that belongs to no stage into the manifest, as it is now."""
        manifest.record(self.root, "files", self.relative(path), digest(path))

    def forget(self, stage: str) -> None:
        """Takes back that ``stage`` is done; what it left stays."""
        self._record(stage).unlink(missing_ok=True)
        manifest.record(self.root, "stages", stage, None)

    def stage(self, name: str, key: str, work: Callable[[], Iterable[Path]]) -> bool:
        """Runs ``work`` unless ``name`` is already done; returns whether it ran."""
        if self.done(name, key):
            return False
        self.forget(name)
        self.finish(name, key, work())
        return True

    def _record(self, stage: str) -> Path:
        return self.path("stages", f"{stage}.json")


def _locked(root: Path) -> BinaryIO:
    """Holds the run directory for this process (a dead process's hold is free): two writers would mix their files."""
    # One lock per process and folder: a second Run of the same process must not block on the first.
    stream = _locks.get(root.resolve())
    if stream is not None:
        return stream
    stream = open(root / ".lock", "ab")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise MissingError(
            "another edge-export is working in it", where=str(root), remedy="wait for it, or choose another --run-dir"
        ) from None
    _locks[root.resolve()] = stream
    return stream


_locks: dict[Path, BinaryIO] = {}
