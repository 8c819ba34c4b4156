"""Runs ``predict``: finds the model, its contract and a device, and writes what comes out."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click

import devices.targets
from converters import contract as contracts
from converters import sources
from devices import spec as target_spec
from toolkit import prediction
from toolkit.cli import files as named
from toolkit.errors import UsageError
from toolkit.prediction import Numbered, rows, writing
from toolkit.progress import Progress, native_output_to
from toolkit.store import replacing


def answer(
    model: Path,
    given: str,
    *,
    output: Path | None,
    target: str | None,
    threads: int,
    spec: Path | None,
    bad_rows: str,
    as_json: bool,
    run_dir: Path | None,
) -> None:
    """Answers the rows of ``given``; arguments are the command's."""
    progress, tally = Progress(), Numbered(bad_rows)
    rows.reader_of(given)
    writer = writing.writer_for(output) if output is not None else writing.json_lines
    if output is not None and given != rows.STDIN and output.resolve() == Path(given).resolve():
        raise UsageError("is the input itself", where=str(output), remedy="give the answers another name")
    with tempfile.TemporaryDirectory() as folder, native_output_to(Path(folder, "native.log")):
        path, usual = _model(model, run_dir, progress)
        device = devices.targets.open(target or usual, threads=threads)
        if path.is_dir() and target_spec.split(target or usual)[0] == "cpu":
            raise UsageError("is no .tflite, and cpu runs nothing else", where=str(model), remedy=_artifacts(model))
        contract, key = contracts.find(path, spec, origin=model)
        interpret = prediction.Interpreter(contract, where=str(model), warn=progress.warn)
        count = 0
        with _sink(output, as_json) as stream:
            for block in prediction.open_rows(given, contract, tally):
                found = device.answer(path, block.tensors, signature=key)
                count += writing.write(interpret(block.numbers, found.outputs, found.raw), writer, stream)
            _name_bad_rows(tally, progress)
            about = {
                "schema_version": 1,
                "model": str(model),
                "target": device.target.name,
                "input": given,
                "output": str(output) if output is not None else None,
                "n": count,
                "bad_rows": tally.left_out,
                "warnings": progress.warnings,
            }
            if as_json and output is None:
                _document(about, stream)
    if as_json and output is not None:
        _document(about, ())
    elif output is not None:
        left_out = f"; left out as malformed: {tally.left_out:,}" if tally.left_out else ""
        click.echo(f"{output}: {count:,} answers{left_out}")


def _model(model: Path, run_dir: Path | None, progress: Progress) -> tuple[Path, str]:
    """The file or folder to run, and the target that usually runs it. A run is only read: nothing locks it."""
    source = sources.identify(model)
    if source.kind == "run":
        # A run's bundle names its SavedModel; identify() has found that there is a bundle.
        return contracts.saved_model_of(model), "saved-model"
    if source.kind in ("keras", "h5"):
        target, path = named.cloud(str(model), named.run_for([model], run_dir, "predict"), progress)
        return path, target
    return source.path, "cpu" if source.kind == "tflite" else "saved-model"


def _artifacts(model: Path) -> str:
    found = sorted(str(path) for path in model.glob("artifacts/*.tflite"))
    return f"give one of {', '.join(found)}" if found else "give a .tflite, or leave --target out"


@contextlib.contextmanager
def _sink(output: Path | None, as_json: bool) -> Iterator[TextIO]:
    """Where answers go: the file; stdout as they come; or, for one whole document, a file that nobody sees."""
    if output is not None:
        with replacing(output) as beside, open(beside, "w", encoding="utf-8", newline="") as stream:
            yield stream
    elif as_json:
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as stream:
            yield stream
    else:
        yield sys.stdout


def _name_bad_rows(tally: Numbered, progress: Progress) -> None:
    for row in tally.named:
        progress.warn(f"left out: {row}")
    if tally.left_out > len(tally.named):
        progress.warn(f"and {tally.left_out - len(tally.named):,} malformed rows more")


def _document(about: dict[str, object], predictions: TextIO | tuple[()]) -> None:
    """One JSON document on stdout, with its predictions, one a line, at the end: they may be many."""
    if not isinstance(predictions, tuple):
        predictions.seek(0)
    head = json.dumps(about, indent=2, allow_nan=False).removesuffix("\n}")
    sys.stdout.write(head + ',\n  "predictions": [')
    for i, line in enumerate(predictions):
        sys.stdout.write(f"{',' if i else ''}\n    {line.rstrip()}")
    sys.stdout.write("\n  ]\n}\n")
