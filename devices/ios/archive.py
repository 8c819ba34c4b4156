"""A result folder or zip as it came back: the files of each job, under names that we choose."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from devices.ios import jobs
from devices.transports import local
from toolkit.errors import BrokenInput, UsageError

MAX_RESULT_BYTES = 256 << 20
"""Of one file. A full run has at most 600 s of samples of at least 1 ms, which is 12 MB as JSON."""

_LOOSE = ("manifest.json", "udid.txt", "details.json")


@contextlib.contextmanager
def opened(result: Path, names: Sequence[str], outputs: Mapping[str, int]) -> Iterator[Path]:
    """A temporary folder with ``JOB/result.json``, ``JOB/stage``, ``JOB/oN.bin`` and the loose files that there are.

    Nothing is taken by the name that it has in the archive: a file counts if its last two parts are a job's and one
    of the few a job leaves, wherever it lies (how deep a copied folder comes to lie differs). Links are not followed.

    Args:
        result: the folder or the zip.
        names: of the jobs.
        outputs: how many outputs the model of each job has.

    Raises:
        UsageError: nothing at ``result``.
        BrokenInput: no zip, a truncated one, or a file larger than any result is.
    """
    if not result.exists():
        raise UsageError("does not exist", where=str(result), remedy="give the results.zip that run.sh left")
    wanted = {(job, file) for job in names for file in _of(outputs[job])}
    with local.workspace() as folder:
        if result.is_dir():
            _from_folder(result, wanted, folder)
        else:
            _from_zip(result, wanted, folder)
        yield folder


def _of(outputs: int) -> list[str]:
    return ["result.json", "stage", *(jobs.output_file(i) for i in range(outputs))]


def _place(parts: Sequence[str], wanted: set[tuple[str, str]], folder: Path) -> Path | None:
    """Where a file goes, or ``None`` for one that is no result's."""
    if len(parts) >= 2 and (parts[-2], parts[-1]) in wanted:
        return folder / parts[-2] / parts[-1]
    return folder / parts[-1] if len(parts) <= 2 and parts[-1] in _LOOSE else None


def _from_folder(result: Path, wanted: set[tuple[str, str]], folder: Path) -> None:
    # A whole bundle may come back: its own plans hold no result, and its results lie below.
    root = result / "results" if (result / "results").is_dir() else result
    for path in sorted(root.rglob("*")):
        target = _place(path.relative_to(root).parts, wanted, folder)
        if target is None or path.is_symlink() or not path.is_file():
            continue
        _check_size(path.stat().st_size, str(path))
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)


def _from_zip(result: Path, wanted: set[tuple[str, str]], folder: Path) -> None:
    try:
        with zipfile.ZipFile(result) as archive:
            for info in archive.infolist():
                target = _place(PurePosixPath(info.filename).parts or ("",), wanted, folder)
                if target is None or info.is_dir():
                    continue
                _check_size(info.file_size, f"{result}: {info.filename}")
                target.parent.mkdir(exist_ok=True)
                with archive.open(info) as source, open(target, "wb") as sink:
                    _copy(source, sink, str(result))
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise BrokenInput(
            f"is no intact zip ({error})", where=str(result), remedy="copy results.zip from the Mac again"
        ) from error


def _copy(source: Any, sink: Any, where: str) -> None:
    """In blocks, counted: an archive's word about a file's size is not trusted."""
    left = MAX_RESULT_BYTES
    while block := source.read(1 << 20):
        left -= len(block)
        if left < 0:
            _check_size(MAX_RESULT_BYTES + 1, where)
        sink.write(block)


def _check_size(size: int, where: str) -> None:
    if size > MAX_RESULT_BYTES:
        raise BrokenInput(f"is larger than any result ({MAX_RESULT_BYTES >> 20} MB)", where=where)
