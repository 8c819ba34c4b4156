"""FeatureSpec: which columns a model is built from, checked as a whole. Standard library only."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from toolkit.errors import BrokenInput, UsageError
from toolkit.features.columns import INT_MAX, TABLE_LIMIT, Column, IdColumn, identifier
from toolkit.features.kinds import Bucketized, Crossed, HashBucket, Identity, Numeric, Vocabulary
from toolkit.features.scaling import scaling
from toolkit.records import TensorSpec

TASKS = ("classification", "regression")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A label and the columns to predict it from, in the order in which the model sees them.

    Args:
        label: name of the value to predict; no column may read it.
        task: ``classification`` or ``regression``; ``None``: adapt decides, by whether the label is text.
        columns: at least one, of any kind; a cross may stand before what it crosses.

    Raises:
        BrokenInput: the columns do not fit together; the line names the column and what to do.
    """

    label: str
    task: str | None = None
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        if not isinstance(self.label, str) or not self.label:
            raise BrokenInput("has no label", where="feature spec", remedy='write label = "NAME"')
        if self.task is not None and self.task not in TASKS:
            near = ", ".join(TASKS)
            raise BrokenInput(f"task {self.task!r} is unknown", where="feature spec", remedy=f"there are: {near}")
        if not self.columns:
            raise BrokenInput("has no columns", where="feature spec", remedy="declare one at least")
        seen: dict[str, Column] = {}
        for column in self.columns:
            other = seen.get(identifier(column.name))
            if other is not None:
                twice = "is declared twice" if other.name == column.name else f"looks like {other.name!r} in a graph"
                column.refuse(twice, "give every column a name of its own")
            if self.label in (column.name, column.source):
                column.refuse(f"is made of the label {self.label!r}", "leave it out: it would give the answer away")
            if isinstance(column, Numeric) and not column.unlearned:
                scaling(column)  # refuses what cannot be normalised
            seen[identifier(column.name)] = column
        self._check_crosses()
        self._readers()

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            BrokenInput: there is none; the nearest names are offered.
        """
        for column in self.columns:
            if column.name == name:
                return column
        names = [c.name for c in self.columns]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
        raise BrokenInput(f"unknown column {name!r}", remedy=remedy)

    @property
    def numeric(self) -> tuple[Numeric, ...]:
        """The numeric columns, in order: column i of the numeric matrix is the i-th of them."""
        return tuple(c for c in self.columns if isinstance(c, Numeric))

    @property
    def id_columns(self) -> tuple[IdColumn, ...]:
        """The columns that give ids, every cross after what it crosses, else in order."""
        done: dict[str, IdColumn] = {}

        def visit(column: Column) -> None:
            if isinstance(column, IdColumn) and column.name not in done:
                for member in column.of if isinstance(column, Crossed) else ():
                    visit(self.column(member))
                done[column.name] = column

        for column in self.columns:
            visit(column)
        return tuple(done.values())

    def count(self, name: str) -> int:
        """How many ids an id column has: they run from 0 up to, but not, this.

        Raises:
            UsageError: the column has not been adapted.
        """
        column = self.column(name)
        self._need_learned(column)
        if isinstance(column, Bucketized):
            return len(column.boundaries or ()) + 2
        if isinstance(column, Vocabulary):
            return column.oov_buckets + len(column.vocabulary or ())
        if isinstance(column, Identity):
            return column.size or 0
        if isinstance(column, HashBucket):
            return column.size
        if isinstance(column, Crossed):
            return min(self.cells(column), column.size or TABLE_LIMIT)
        raise UsageError("a numeric column has no ids", where=f"column {name!r}", remedy="bucketize it")

    def cells(self, column: Crossed) -> int:
        """How many combinations a cross has, before any modulo."""
        return math.prod(self.count(member) for member in column.of)

    def is_exact(self, column: Crossed) -> bool:
        """Whether a cross counts its cells in int32 (mixed radix); else their ids are hashed."""
        return self.cells(column) <= INT_MAX

    def embedding_size(self, name: str) -> int | None:
        """Length of a column's embedding vector, ``None`` if it has none; ``auto`` is ceil(count ** 0.25)."""
        column = self.column(name)
        if not isinstance(column, IdColumn) or column.embedding is None:
            return None
        if column.embedding != "auto":
            return int(column.embedding)
        count = self.count(name)
        size = max(1, round(count**0.25) - 1)
        while size**4 < count:  # in whole numbers: 625 ** 0.25 need not be 5.0
            size += 1
        return size

    @property
    def unlearned(self) -> dict[str, tuple[str, ...]]:
        """Which options of which columns adapt has still to learn."""
        return {c.name: c.unlearned for c in self.columns if c.unlearned}

    def require_adapted(self) -> None:
        """Raises UsageError if anything is left to learn."""
        for column in self.columns:
            self._need_learned(column)

    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that encoded rows come in, one per raw input, in the order of their first column.

        Named like the raw input, with ``_`` for what a signature's name cannot hold (``hours-per-week``).
        float32 ``[N]`` for numbers; int32 ``[N]`` where any column reads integers; uint8 ``[N, L]`` for texts, where
        L is what the most demanding column looks at.

        Raises:
            UsageError: the spec has not been adapted.
        """
        self.require_adapted()
        return tuple(self._input(readers) for readers in self._readers().values())

    def _readers(self) -> dict[str, list[Column]]:
        """Tensor to the columns that read it; text never mixes with numbers."""
        found: dict[str, list[Column]] = {}
        for column in self.columns:
            if isinstance(column, Crossed):
                continue
            others = found.setdefault(column.tensor, [])
            for other in others:
                if other.source != column.source:
                    column.refuse(f"reads input {column.source!r}, which looks like {other.source!r}", "rename one")
                mine, theirs = wants(column), wants(other)
                if mine and theirs and (mine == "string") != (theirs == "string"):
                    column.refuse(
                        f"reads input {column.source!r} as {mine}, column {other.name!r} as {theirs}",
                        "let both read it alike",
                    )
            others.append(column)
        return found

    def _input(self, readers: list[Column]) -> TensorSpec:
        name = readers[0].tensor
        wanted = {wants(column) for column in readers}
        if "string" in wanted:
            width = max(c.width for c in readers if isinstance(c, (Vocabulary, HashBucket)))
            return TensorSpec(name=name, shape=(None, width), dtype="uint8")
        return TensorSpec(name=name, shape=(None,), dtype="int32" if "integer" in wanted else "float32")

    def _need_learned(self, column: Column) -> None:
        for member in column.of if isinstance(column, Crossed) else ():
            self._need_learned(self.column(member))
        if column.unlearned:
            options = " and ".join(column.unlearned)
            raise UsageError(
                f"{options} not known yet", where=f"column {column.name!r}", remedy="adapt the spec to data first"
            )

    def _check_crosses(self) -> None:
        def visit(column: Column, path: tuple[str, ...]) -> None:
            if column.name in path:
                circle = " -> ".join((*path[path.index(column.name) :], column.name))
                column.refuse(f"crosses itself ({circle})", "cross other columns only")
            for member in column.of if isinstance(column, Crossed) else ():
                try:
                    target = self.column(member)
                except BrokenInput as error:
                    raise BrokenInput(
                        f"crosses the {error.what}", where=f"column {column.name!r}", remedy=error.remedy
                    ) from None
                if isinstance(target, Numeric):
                    column.refuse(f"crosses the numeric column {member!r}", "bucketize that one first")
                visit(target, (*path, column.name))

        for column in self.columns:
            visit(column, ())


def wants(column: Column) -> str | None:
    """What a column takes its input for: ``number``, ``integer``, ``string``; ``None`` as long as nobody knows."""
    if isinstance(column, (Numeric, Bucketized)):
        return "number"
    if isinstance(column, (Vocabulary, HashBucket)):
        return column.dtype
    return "integer"
