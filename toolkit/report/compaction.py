"""The search for a smaller network, and the layers that stay in float, as sections of the page."""

from __future__ import annotations

from typing import Any

from toolkit.report import lines as fmt


def of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Every width that was tried, the one chosen, and the control; ``None`` where nothing was compacted."""
    found = next((a["data"]["compaction"] for a in document["artifacts"] if a["data"].get("compaction")), None)
    if found is None:
        return None
    accuracy = found["metric"] == "accuracy"
    reference = found["reference"]
    rows = [_row("as trained", reference, reference, accuracy, "the reference")]
    for trial in found["trials"]:
        chosen = trial["width"] == found["chosen"]
        said = "chosen" if chosen else "keeps the budget" if trial["kept"] else "breaks the budget"
        rows.append({**_row(f"{100 * trial['width']:g} %", trial, reference, accuracy, said), "chosen": chosen})
    control = found.get("control")
    if control:
        width = next((t for t in found["trials"] if t["width"] == found["chosen"]), None)
        said = f"the chosen width trained from scratch, {control['epochs']} epochs"
        row = {**(width or reference), "metric": control["metric"]}
        rows.append(_row("control", row, reference, accuracy, said))
    names = [a["recipe"] for a in document["artifacts"] if a["data"].get("compaction")]
    return {
        "rows": rows,
        "metric": found["metric"],
        "recipes": ", ".join(map(fmt.plain, names)),
        "budget": f"{100 * found['budget']:.2g} {'points' if accuracy else '%'}",
        "held_out": found["held_out"],
    }


def kept_float(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Which layers an artifact has in float, and by what they were chosen."""
    found = []
    for artifact in document["artifacts"]:
        kept = artifact["data"].get("kept_float")
        if kept is not None:
            found.append({"recipe": artifact["recipe"], **kept, "shown": f"{100 * kept['loss']:.3g}"})
    return found


def _row(name: str, row: dict[str, Any], reference: dict[str, Any], accuracy: bool, said: str) -> dict[str, Any]:
    metric = row["metric"]
    units = row.get("units", {})
    layers = ", ".join(f"{fmt.plain(key)} {count}" for key, count in units.items())
    return {
        "name": name,
        "units": layers,
        "parameters": row["parameters"],
        "ratio": row["parameters"] / reference["parameters"] if reference["parameters"] else None,
        "metric": f"{100 * metric:.2f} %" if accuracy else f"{metric:.4g}",
        "said": said,
        "chosen": False,
    }
