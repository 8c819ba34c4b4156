"""The facts of an evaluation, a file a block, in a folder: made in any order, by anybody, read in the rows' order.

A block that is there is whole (files are written beside and renamed) and belongs to the same question: the folder is
named by everything that decides the facts. So an evaluation that was killed goes on where it was, and blocks that were
made on other machines are simply put into the folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devices.evaluation.facts import Facts
from devices.evaluation.question import Question
from toolkit import parity
from toolkit.errors import BrokenInput
from toolkit.records import from_json
from toolkit.store import read_json, replacing, write_json

ROWS = 8192
"""Rows of a block. What decides facts is the row, and what is lost by a kill is a block of each worker."""

_NAME = "block-{:07d}.npz"
_QUESTION = "question.json"
_WHOLE = "whole.json"
_ABOUT = "about "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A block: its facts and its samples that differ most, as they are kept, and what slices are made of, which is not.

    Args:
        index: the block's, from 0: rows from ``index * ROWS`` on.
        facts: of its rows.
        slices: columns by name, numbers ``[N]`` or texts ``[N]``; empty until slices are asked for.
        worst: as of :func:`devices.evaluation.worst.of`.
    """

    index: int
    facts: Facts
    slices: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    worst: tuple[dict[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def start(self) -> int:
        """The number of its first row."""
        return self.index * ROWS


class Table:
    """The blocks in ``folder``.

    Args:
        folder: made when the first block is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, index: int) -> Path:
        """Where a block is, or will be."""
        return self.folder / _NAME.format(index)

    def has(self, index: int) -> bool:
        """Whether the block is there and can be read."""
        if not self.path(index).exists():
            return False
        try:
            self.read(index)
        except BrokenInput:
            return False
        return True

    @property
    def whole(self) -> bool:
        """Whether all blocks are there, as :meth:`finish` noted; a lost one makes it incomplete again."""
        path = self.folder / _WHOLE
        return path.exists() and read_json(path).get("blocks") == len(self._files())

    def finish(self) -> None:
        """Notes that all blocks are there."""
        write_json(self.folder / _WHOLE, {"blocks": len(self._files())})

    def asked(self) -> Question | None:
        """The question that the blocks answer, if there are some."""
        path = self.folder / _QUESTION
        return from_json(Question, read_json(path)) if path.exists() else None

    def write(self, block: Block, asked: Question) -> None:
        """Keeps a block, whole or not at all."""
        if not (self.folder / _QUESTION).exists():
            write_json(self.folder / _QUESTION, asked)
        facts = block.facts
        about = {
            "sums": {name: dataclasses.asdict(found) for name, found in facts.sums.items()},
            "steps": None if facts.steps is None else {str(k): v for k, v in facts.steps.items()},
            "worst": block.worst,
        }
        arrays: dict[str, Any] = {f"f {name}": column for name, column in facts.columns.items()}
        arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        with replacing(self.path(block.index)) as beside, open(beside, "wb") as stream:
            np.savez(stream, **arrays)

    def read(self, index: int) -> Block:
        """A block.

        Raises:
            BrokenInput: it is not there, or damaged.
        """
        path = self.path(index)
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                about = json.loads(stored[_ABOUT].tobytes())
                kept = {name: stored[name] for name in stored.files}
        except Exception as error:  # a damaged archive makes zipfile, zlib, json and numpy raise what they like
            raise _damaged(path, error) from error
        steps = about["steps"]
        sums = {k: parity.Sums(**{**v, "behind": tuple(v["behind"])}) for k, v in about["sums"].items()}
        facts = Facts(
            columns={name[2:]: array for name, array in kept.items() if name.startswith("f ")},
            sums=sums,
            steps=None if steps is None else {int(k): v for k, v in steps.items()},
        )
        return Block(index=index, facts=facts, worst=tuple(about["worst"]))

    def __iter__(self) -> Iterator[Block]:
        """All blocks in the rows' order, one in memory at a time."""
        for path in self._files():
            yield self.read(int(path.stem.split("-")[1]))

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("block-*.npz"))


def _damaged(path: Path, error: Exception) -> BrokenInput:
    return BrokenInput(
        f"is damaged ({type(error).__name__}: {error})", where=str(path), remedy="delete it: the block is made again"
    )
