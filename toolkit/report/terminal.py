"""The report as one table on a terminal, with what needs a word below it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

from toolkit.report import lines as fmt
from toolkit.report import metric, zeros

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_STYLES = {
    "pass": "green",
    "valid": "green",
    "kept": "green",
    "faster": "green",
    "slower": "yellow",
    "too few": "yellow",
}

_SHORTEST_NAME = 13
"""Columns that a recipe's name gets at least; longer ones are folded."""

Columns = dict[str, tuple[str, Literal["left", "right"]]]

_COLUMNS: Columns = {
    "bytes": ("bytes\ngzip", "right"),
    "size ×": ("size ×\ngzip ×", "right"),
    "median µs": ("median µs\n95 %", "right"),
    "time ×": ("time ×\n", "right"),
    "timing": ("timing", "left"),
    "accuracy": ("edge %\n", "right"),
    "difference": ("points\n95 %", "right"),
    "agree": ("agree %\nbudget", "right"),
    "gate": ("gate", "left"),
}

_REGRESSION: Columns = {
    "accuracy": ("edge rmse\nchange %", "right"),
    "difference": ("difference\n95 %", "right"),
    "agree": ("budget", "left"),
}
"""Columns of a run that is judged by rmse: its value, which has no right or wrong to agree on."""


def render(document: dict[str, Any], *, width: int | None = None) -> str:
    """The report as plain text without colour.

    Args:
        document: what :func:`toolkit.report.document.collect` or ``build`` returned.
        width: columns, 100 by default.
    """
    from rich.console import Console

    stream = io.StringIO()
    show(document, Console(file=stream, width=width or 100, color_system=None, force_terminal=False))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def show(document: dict[str, Any], console: Console) -> None:
    """Prints the report to a rich console, in its colours and width."""
    rows = fmt.lines(document)
    if rows:
        several = len({row["target"] for row in rows if row["target"]}) > 1
        columns = _columns(document)
        table = _table(rows, columns, several, console.width)
        _print(console, table or _blocks(rows, columns))
        console.print()
    line = zeros.line(document)
    if line:
        _print(console, _text("zeros:", "bold", f" {line}"))
    for note in fmt.notes(document):
        subject = f" {note['subject']}" if note["subject"] else ""
        _print(console, _text(f"{note['kind']}:{subject}{',' if subject else ''}", "bold", f" {note['text']}"))
    against = sorted({row["comparison"]["against"] for row in rows if row["comparison"]})
    if against:
        console.print()
        name, unit = ("Points: accuracy", "percentage points")
        if metric.of(document) == "rmse":
            name, unit = ("Difference: rmse", "the label's unit (change: in % of the cloud's; down is better)")
        _print(
            console,
            _text(
                f"{name} at the edge minus {', '.join(against)}, in {unit}, with its 95 % "
                "interval; × is the ratio to float32.",
                "dim",
            ),
        )


def _columns(document: dict[str, Any]) -> Columns:
    return {**_COLUMNS, **_REGRESSION} if metric.of(document) == "rmse" else _COLUMNS


def _print(console: Console, what: RenderableType) -> None:
    # Old terminals and redirected files may not take a real minus or a dash; a report must not fail there.
    with console.capture() as captured:
        console.print(what, soft_wrap=False)
    text = captured.get()
    encoding = console.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    console.file.write(text)


_ASCII = {ord("–"): "-", ord(fmt.MINUS): "-", ord("×"): "x", ord("µ"): "u", ord("─"): "-", ord("…"): "~"}


def _table(rows: list[dict[str, Any]], columns: Columns, several: bool, width: int) -> RenderableType | None:
    """The table, or ``None`` where it would break numbers over lines: those cannot be read."""
    from rich import box
    from rich.table import Table

    names = [
        fmt.plain(r["recipe"]) + (f"\non {fmt.plain(r['target'])}" if several and r["target"] else "") for r in rows
    ]
    cells = [_cells(row, columns) for row in rows]
    numbers = sum(
        2 + max(len(part) for part in [*heading.split("\n"), *(p for c in cells for p in c[column])])
        for column, (heading, _) in columns.items()
    )
    longest = max(len(part) for name in names for part in name.split("\n"))
    room = min(max(longest, len("recipe")), width - numbers)
    if room < min(longest, _SHORTEST_NAME):
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("recipe", overflow="fold", width=room)
    for heading, justify in columns.values():
        table.add_column(heading, justify=justify, no_wrap=True)
    for name, row in zip(names, cells, strict=True):
        table.add_row(_text(name), *(_cell(*row[column]) for column in columns))
    return table


def _blocks(rows: list[dict[str, Any]], columns: Columns) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    blocks: list[Text] = []
    for row in rows:
        where = f" on {fmt.plain(row['target'])}" if row["target"] else ""
        blocks.append(_text(fmt.plain(row["recipe"]) + where, "bold"))
        for name, (value, below) in _cells(row, columns).items():
            if value != fmt.NOTHING:
                heading, _, second = columns[name][0].partition("\n")
                unit = f" {second}" if name == "bytes" else ""
                blocks.append(_text(f"  {heading:<12} {value}" + (f" ({below}{unit})" if below else "")))
    return Group(*blocks, Text())


def _cells(row: dict[str, Any], columns: Columns) -> dict[str, tuple[str, str]]:
    """What each column says, and what stands below it."""
    artifact, measured, compared = row["artifact"] or {}, row["measurement"] or {}, row["comparison"]
    speed = row["speed"] or {}
    gate = fmt.NOTHING if not artifact else "FAIL" if artifact["quarantined"] else "pass"
    return {
        "bytes": (fmt.integer(artifact.get("size_bytes")), fmt.integer(artifact.get("gzip_bytes")) if artifact else ""),
        "size ×": (
            _bare(fmt.ratio(artifact.get("size_ratio"))),
            _bare(fmt.ratio(artifact.get("gzip_ratio"))) if artifact else "",
        ),
        "median µs": (fmt.number(measured.get("median_us")), fmt.between(measured.get("interval_us"))),
        "time ×": (_bare(fmt.ratio(speed.get("ratio"))), fmt.speed_word(speed.get("verdict"))),
        "timing": (measured.get("verdict", fmt.NOTHING), ""),
        **_compared(compared, columns),
        "gate": (gate, ""),
    }


def _compared(compared: dict[str, Any] | None, columns: Columns) -> dict[str, tuple[str, str]]:
    if not compared:
        return dict.fromkeys(_REGRESSION, (fmt.NOTHING, ""))
    regression = columns["agree"] == _REGRESSION["agree"]
    agreement, word = _bare(fmt.percent(compared["agreement"])), fmt.budget_word(compared)
    return {
        "accuracy": (_bare(metric.value(compared)), metric.change(compared) if regression else ""),
        "difference": (metric.difference(compared), metric.interval(compared).replace(" to ", "…")),
        "agree": (word, "") if regression else (agreement, word),
    }


def _bare(value: str) -> str:
    """Without its unit, which the heading has."""
    return value.rstrip("× %")


def _cell(value: str, below: str) -> Text:
    text = _text(value, _style(value))
    return text.append_text(_text("\n" + below, _STYLES.get(below, "dim"))) if below else text


def _style(value: str) -> str:
    if value in ("FAIL", "failed", "implausible"):
        return "bold red"
    if value in ("unstable", "throttled"):
        return "yellow"
    return _STYLES.get(value, "")


def _text(first: str, style: str = "", rest: str = "") -> Text:
    # Text, never markup: a recipe may be called "[red]".
    from rich.text import Text

    return Text(first, style=style).append(rest, style="default" if rest else "")
