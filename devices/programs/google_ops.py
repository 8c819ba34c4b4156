"""The op profile of ``--op_profiling_output_mode=csv``: a text of headings and comma-separated tables.

Format, after ``StatsCalculator`` (TensorFlow's ``xla/tsl/util/stats_calculator.cc``) and TFLite's
``profile_summary_formatter.cc`` and ``profile_summarizer.cc``: for the initialisation and for the measured runs, and in
them for each subgraph and for what the delegates tell of their insides, the tables ``Run Order``, ``Top by Computation
Time`` (its first ten over again) and ``Summary by node type``. Commas in names are written as tabs; commas in types
(XNNPACK's ``Convolution (NHWC, F32) IGEMM``) stay as they are, so rows are split from their right end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.programs.google_log import failed, read_lines

_STAGES = {
    "Profiling Info for Benchmark Initialization:": "initialization",
    "Operator-wise Profiling Info for Regular Benchmark Runs:": "run",
}
_TITLE = re.compile(r"=+ (?P<title>[A-Za-z ]+) =+")
_SUBGRAPH = re.compile(r"Subgraph \(index: (\d+), name: .*\) profile:")
_EXECUTED = re.compile(r"Number of nodes executed: (\d+)")


@dataclass(frozen=True, kw_only=True)
class OpRow:
    """One node: the mean of one call in µs, and its share of its graph's time (``None``: of no time at all).

    ``times_called`` is in one run. ``memory_bytes`` is what the process grew by in the last call, which the tool looks
    at in steps of the initialisation only.
    """

    type: str
    name: str
    first_us: float
    mean_us: float
    share: float | None
    memory_bytes: int
    times_called: int


@dataclass(frozen=True, kw_only=True)
class OpType:
    """All nodes of a type together, ``mean_us`` being their time in one run; the rest as in :class:`OpRow`."""

    type: str
    count: int
    mean_us: float
    share: float | None
    memory_bytes: int
    times_called: int


@dataclass(frozen=True, kw_only=True)
class OpSection:
    """One graph's profile. ``stage`` is ``"initialization"`` or ``"run"``.

    ``graph`` is ``"primary"``, ``"subgraph 1"`` and so on, or ``"delegate"`` for the insides of delegates. ``rows`` are
    in the order they ran, ``types`` from the one that takes most time to the one that takes least.
    """

    stage: str
    graph: str
    rows: tuple[OpRow, ...]
    types: tuple[OpType, ...]


@dataclass
class _Draft:
    stage: str
    graph: str
    rows: list[OpRow] = field(default_factory=list)
    types: list[OpType] = field(default_factory=list)
    executed: int | None = None


def read_ops(text: str) -> tuple[OpSection, ...]:
    """All sections of a profile, in the file's order; sections of a kind that is not known are skipped.

    Raises:
        RunnerFailed: no profile of the runs in it, a row that cannot be read, or tables that were cut off.
    """
    drafts: list[_Draft] = []
    columns: list[str] = []
    stage, graph, title = "run", "primary", ""
    try:
        for _, line in read_lines(text):
            heading = line.strip()
            named = _TITLE.fullmatch(heading)
            subgraph = _SUBGRAPH.fullmatch(heading)
            executed = _EXECUTED.fullmatch(heading)
            if heading in _STAGES:
                stage, graph, columns = _STAGES[heading], "primary", []
            elif subgraph:
                graph, columns = f"subgraph {int(subgraph[1])}", []
            elif heading == "Delegate internal:":
                graph, columns = "delegate", []
            elif named:
                title, columns = named["title"], []
                if title == "Run Order":
                    drafts.append(_Draft(stage, graph))
            elif executed and drafts:
                drafts[-1].executed = int(executed[1])
            elif heading.startswith("node type, "):
                columns = [column.strip() for column in heading.split(",")]
            elif not heading:
                columns = []
            elif columns and drafts and title == "Run Order":
                drafts[-1].rows.append(_row(_cells(line, columns)))
            elif columns and drafts and title == "Summary by node type":
                drafts[-1].types.append(_type(_cells(line, columns)))
        sections = [_section(draft) for draft in drafts]
        if not any(section.stage == "run" for section in sections):
            raise ValueError("it holds no profile of the runs")
    except ValueError as error:
        raise failed("profile", f"the op profile cannot be read: {error}", text) from None
    return tuple(sections)


def _section(draft: _Draft) -> OpSection:
    if draft.executed != len(draft.rows) or sum(kind.count for kind in draft.types) != len(draft.rows):
        raise ValueError(f"the tables of {draft.stage}, {draft.graph}, were cut off")
    return OpSection(stage=draft.stage, graph=draft.graph, rows=tuple(draft.rows), types=tuple(draft.types))


def _cells(line: str, columns: list[str]) -> dict[str, str]:
    cells = line.rsplit(",", len(columns) - 1)
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells where the header has {len(columns)}: {line.strip()}")
    return dict(zip(columns, (cell.strip(" ") for cell in cells), strict=True))


def _row(cells: Mapping[str, str]) -> OpRow:
    return OpRow(
        type=_cell(cells, "node type"),
        name=_cell(cells, "name").replace("\t", ","),
        first_us=_number(cells, "first") * 1000,
        mean_us=_number(cells, "avg_ms") * 1000,
        share=_share(cells, "%"),
        memory_bytes=_bytes(cells),
        times_called=_whole(cells, "times called"),
    )


def _type(cells: Mapping[str, str]) -> OpType:
    return OpType(
        type=_cell(cells, "node type"),
        count=_whole(cells, "count"),
        mean_us=_number(cells, "avg_ms") * 1000,
        share=_share(cells, "avg %"),
        memory_bytes=_bytes(cells),
        times_called=_whole(cells, "times called"),
    )


def _cell(cells: Mapping[str, str], column: str) -> str:
    if column not in cells:
        raise ValueError(f"a table without the column {column!r}")
    return cells[column]


def _number(cells: Mapping[str, str], column: str) -> float:
    number = float(_cell(cells, column))
    if not math.isfinite(number):
        raise ValueError(f"{column} is {number}")
    return number


def _bytes(cells: Mapping[str, str]) -> int:
    size = _number(cells, "mem KB") * 1024
    if not math.isfinite(size):
        raise ValueError(f"mem KB is {_cell(cells, 'mem KB')}")
    return round(size)


def _whole(cells: Mapping[str, str], column: str) -> int:
    return int(_cell(cells, column))


def _share(cells: Mapping[str, str], column: str) -> float | None:
    percent = float(_cell(cells, column).removesuffix("%"))
    return percent / 100 if math.isfinite(percent) else None
