"""Answers as JSON lines or CSV."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from toolkit.errors import UsageError
from toolkit.prediction.meaning import Answers

Writer = Callable[[Answers], Iterator[str]]


def writer_for(path: Path) -> Writer:
    """How a file of that name is written.

    Raises:
        UsageError: the name does not say, or is a folder's.
    """
    if path.is_dir():
        raise UsageError("is a folder", where=str(path), remedy="give the name of a file")
    if path.suffix.lower() == ".csv":
        return Csv()
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return json_lines
    raise UsageError("the name does not say what to write", where=str(path), remedy="let it end in .jsonl or .csv")


def json_lines(answers: Answers) -> Iterator[str]:
    """One object a row, with its line end."""
    text: Callable[[str], str] = _quoted if answers.named else str
    keys = [_quoted(name) for name in answers.classes]
    for i, number in enumerate(answers.numbers):
        parts = [f'{{"row": {number}']
        if answers.prediction is not None:
            said = answers.prediction[i]
            parts.append(f'"prediction": {"null" if said is None else text(said)}')
        if answers.kind:
            pairs = ", ".join(f"{key}: {column[i]}" for key, column in zip(keys, answers.scores, strict=True))
            parts.append(f'"{answers.kind}": {{{pairs}}}')
        if answers.outputs:
            pairs = ", ".join(f"{_quoted(name)}: {_nested(values[i])}" for name, values in answers.outputs.items())
            parts.append(f'"outputs": {{{pairs}}}')
        yield ", ".join(parts) + "}\n"


class Csv:
    """One line a row, below a header: ``row``, ``prediction``, one column for each score or number of an output."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, answers: Answers) -> Iterator[str]:
        """The lines of some rows; the header with the first."""
        names, columns = ["row"], [list(map(str, answers.numbers))]
        if answers.prediction is not None:
            names.append("prediction")
            columns.append(["" if said is None else said for said in answers.prediction])
        names += [f"{answers.kind}.{name}" for name in answers.classes]
        columns += [_cells(np.array(column)) for column in answers.scores]
        for name, values in answers.outputs.items():
            for place in np.ndindex(values.shape[1:]):
                names.append(f"outputs.{name}{''.join(f'[{i}]' for i in place)}")
                columns.append(_cells(values[(slice(None), *place)]))
        buffer = io.StringIO()
        out = csv.writer(buffer, lineterminator="\n")
        if not self._begun:
            out.writerow(names)
            self._begun = True
        out.writerows(zip(*columns, strict=True))
        yield buffer.getvalue()


def write(answers: Answers, writer: Writer, stream: TextIO) -> int:
    """Writes some answers; returns how many."""
    stream.writelines(writer(answers))
    return len(answers.numbers)


def _cells(texts: np.ndarray) -> list[str]:
    return ["" if text == "null" else text for text in texts.tolist()]


def _nested(texts: np.ndarray | str) -> str:
    if not isinstance(texts, np.ndarray) or not texts.ndim:
        return str(texts)
    return "[" + ", ".join(map(_nested, texts)) + "]"


@functools.lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return json.dumps(text)
