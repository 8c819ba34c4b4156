"""The legality table as rows for programs, as text for a terminal, and as Markdown for docs/legality.md."""

from __future__ import annotations

from typing import Any

from converters import legality
from converters.legality import Answer, Row, Runtime

REPRODUCE = "python scripts/benchmarks/legality_table.py --only '{}'"


def rows() -> list[dict[str, Any]]:
    """One for every kind and runtime: verdict, evidence as a sentence, how to see it again, what to take instead."""
    return [
        {
            "layer": row.kind.layer,
            "pattern": row.kind.pattern,
            "dtype": row.kind.dtype,
            "made_by": row.by,
            "runtime": f"{runtime.name}=={runtime.version}",
            "xnnpack": runtime.xnnpack,
            "verdict": row.answer(runtime).verdict,
            "evidence": sentence(row.answer(runtime), runtime),
            "reproduce": REPRODUCE.format("/".join(row.kind)),
            "instead": row.instead or None,
            "since": f"tflite-runtime {row.since[0]}; before it {row.since[1]}" if row.since else None,
        }
        for row in legality.table().rows
        for runtime in legality.table().runtimes
    ]


def sentence(answer: Answer, runtime: Runtime) -> str:
    """The evidence of a cell in a sentence."""
    if answer.verdict == legality.REFUSED:
        return f"{runtime.title} does not load it and says: {answer.evidence}."
    what = "NaN" if answer.evidence == "NaN" else f"at a PSNR of {answer.evidence} to the float model"
    judged = "" if answer.verdict == legality.RIGHT else ", without a word that something is wrong"
    return f"{runtime.title} loads and runs it and answers {what}{judged}."


def text() -> str:
    """The table with aligned columns; below it what to take instead."""
    table = legality.table()
    lines = [["kind", *(runtime.title for runtime in table.runtimes)]]
    lines += [["/".join(row.kind), *(_short(answer) for answer in row.answers)] for row in table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    others = [f"{'/'.join(row.kind)}: take {row.instead}{_since(row)}" for row in table.rows if row.instead]
    return "\n".join([*shown, "", *others])


def markdown() -> str:
    """The table for the docs, a section for each layer."""
    table = legality.table()
    parts = []
    for layer in dict.fromkeys(row.kind.layer for row in table.rows):
        head = ["encoding", "dtype", *(runtime.title for runtime in table.runtimes), "take instead"]
        parts += [f"### `{layer}`", "", _line(head), _line(["---"] * len(head))]
        parts += [_line(_cells(row)) for row in table.rows if row.kind.layer == layer]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _cells(row: Row) -> list[str]:
    said = [_short(answer) for answer in row.answers]
    return [row.kind.pattern, row.kind.dtype, *said, row.instead + _since(row)]


def _since(row: Row) -> str:
    return f"; tflite-runtime before {row.since[0]} {row.since[1]}" if row.since else ""


def _short(answer: Answer) -> str:
    if answer.verdict == legality.REFUSED:
        return "does not load"
    return answer.evidence if answer.verdict == legality.RIGHT else f"WRONG, {answer.evidence}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
