"""The document as lines of a table, one per artifact and target, and its numbers as a reader wants them."""

from __future__ import annotations

import unicodedata
from typing import Any

NOTHING = "–"
"""What stands where there is no number."""

MINUS = "\u2212"


def lines(document: dict[str, Any]) -> list[dict[str, Any]]:
    """One line per artifact and target, in the document's order.

    Each has ``recipe``, ``target`` (``None`` if it ran nowhere) and the rows ``artifact``, ``measurement``,
    ``comparison`` and ``speed``, each ``None`` where there is none. A file that was measured without having
    been converted here has a line too.
    """
    found: list[dict[str, Any]] = []
    taken: set[tuple[str, str]] = set()
    for artifact in document["artifacts"]:
        recipe = artifact["recipe"]
        # A quarantined file went nowhere, whatever an older file of that name did.
        places: list[str | None] = [t for r, t in _places(document) if r == recipe and not artifact["quarantined"]]
        taken.update((recipe, t) for t in places if t)
        found += [_line(document, recipe, target, artifact) for target in places or [None]]
    found += [_line(document, r, t, None) for r, t in _places(document) if (r, t) not in taken]
    return found


def _places(document: dict[str, Any]) -> list[tuple[str, str]]:
    rows = document["measurements"] + document["comparisons"]
    return list(dict.fromkeys((row["recipe"], row["target"]) for row in rows))


def _line(document: dict[str, Any], recipe: str, target: str | None, artifact: dict[str, Any] | None) -> dict[str, Any]:
    def first(kind: str) -> dict[str, Any] | None:
        return next((r for r in document[kind] if r["recipe"] == recipe and r["target"] == target), None)

    return {
        "recipe": recipe,
        "target": target,
        "artifact": artifact,
        "measurement": first("measurements"),
        "comparison": first("comparisons"),
        "speed": first("speed"),
    }


def notes(document: dict[str, Any]) -> list[dict[str, str]]:
    """What a reader must know besides the numbers, as ``kind``, ``subject`` and ``text``."""
    found = [
        _note("quarantined", artifact["path"], f"{check['name']}: {check['detail']}")
        for artifact in document["artifacts"]
        for check in artifact["gate"]["checks"]
        if artifact["quarantined"] and not check["passed"]
    ]
    for row in document["measurements"]:
        subject = f"{row['recipe']} on {row['target']}"
        if row["verdict"] == "failed":
            failure = row["failure"] or {"stage": "measuring", "message": "; ".join(row["reasons"])}
            found.append(_note("failed", subject, f"{failure['stage']}: {failure['message']}"))
        elif row["verdict"] != "valid":
            found.append(_note(row["verdict"], subject, "; ".join(row["reasons"])))
    for row in document["comparisons"]:
        if not row["passed"]:
            subject = f"{row['recipe']} on {row['target']} against {row['against']}"
            found.append(_note("not shown", subject, row["verdict"]))
    return found + [_note("warning", "", text) for text in document["warnings"]]


def _note(kind: str, subject: str, text: str) -> dict[str, str]:
    return {"kind": kind, "subject": plain(subject), "text": plain(text)}


def plain(text: str) -> str:
    """The text on one line, without control characters: a runner's stderr must not drive a terminal."""
    return " ".join("".join(" " if unicodedata.category(c)[0] == "C" else c for c in text).split())


def integer(value: int | None) -> str:
    """``2145320`` as ``2,145,320``."""
    return NOTHING if value is None else f"{value:,}"


def number(value: float | None) -> str:
    """Three significant digits below 1,000, whole numbers above: ``0.0123``, ``5.51``, ``38.1``, ``1,234``."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size >= 999.5:
        text = f"{size:,.0f}"
    elif size >= 99.95:
        text = f"{size:.0f}"
    elif size >= 9.995:
        text = f"{size:.1f}"
    elif size >= 0.9995 or size == 0:
        text = f"{size:.2f}"
    else:
        text = f"{size:#.3g}"
    return MINUS + text if value < 0 else text


def between(interval: list[float] | None) -> str:
    """An interval of positive numbers: ``5.48–5.60``."""
    return "" if interval is None else f"{number(interval[0])}–{number(interval[1])}"


def ratio(value: float | None) -> str:
    """``0.38×``."""
    return NOTHING if value is None else f"{value:.2f}×"


def percent(value: float | None) -> str:
    """A fraction as ``97.42 %``."""
    return NOTHING if value is None else f"{100 * value:.2f} %"


def points(value: float | None) -> str:
    """A difference of fractions in percentage points, always with its sign: ``−0.20``."""
    if value is None:
        return NOTHING
    text = f"{abs(100 * value):.2f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+") + text


def points_between(interval: list[float] | None) -> str:
    """An interval of differences in points: ``−0.61 to +0.12``."""
    return "" if interval is None else f"{points(interval[0])} to {points(interval[1])}"


def speed_word(verdict: str | None) -> str:
    """A speed verdict in one word, for a narrow column."""
    short = {"about the same, maybe": "maybe", "no difference": "same"}
    if verdict is None or verdict.startswith("not compared"):
        return ""
    return short.get(verdict, verdict)


def budget_word(comparison: dict[str, Any]) -> str:
    """A budget verdict in two words: ``kept``, ``broken``, ``too few`` samples, ``not judged``."""
    if comparison["passed"]:
        return "not judged" if comparison["verdict"].startswith("not judged") else "kept"
    return "too few" if comparison["verdict"].startswith("not enough") else "broken"
