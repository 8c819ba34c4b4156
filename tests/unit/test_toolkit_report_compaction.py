"""Compaction and layers in float on the report's page, and the page of ``inspect``."""

from __future__ import annotations

import re
from typing import Any

from fakes.report_records import artifact

from toolkit.report import compaction, document, html, inspection
from toolkit.report.loading import Records

FOUND = {
    "metric": "accuracy",
    "budget": 0.005,
    "held_out": 600,
    "reference": {"metric": 0.92, "parameters": 1000, "units": {"hidden_<1>": 128}},
    "trials": [
        {"width": 0.5, "units": {"hidden_<1>": 64}, "parameters": 500, "metric": 0.921, "loss": 0, "kept": True},
        {"width": 0.25, "units": {"hidden_<1>": 32}, "parameters": 250, "metric": 0.9, "loss": 0.02, "kept": False},
    ],
    "chosen": 0.5,
    "control": {"metric": 0.91, "epochs": 20},
}
KEPT = {
    "names": ["net/<weak>/MatMul"],
    "metric": "accuracy",
    "budget": 0.005,
    "loss": 0.0012,
    "samples": 700,
    "smallest": True,
    "judged_by": "training samples that set no range",
}


def page(**data: Any) -> str:
    artifacts = [artifact("int8", data=data)]
    return html.render(document.build(artifacts=artifacts), Records(artifacts=artifacts))


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_every_width_and_the_control_are_on_the_page() -> None:
    shown = compaction.of(document.build(artifacts=[artifact("compacted", data={"compaction": FOUND})]))
    assert shown is not None
    assert [(row["name"], row["metric"], row["said"]) for row in shown["rows"]] == [
        ("as trained", "92.00 %", "the reference"),
        ("50 %", "92.10 %", "chosen"),
        ("25 %", "90.00 %", "breaks the budget"),
        ("control", "91.00 %", "the chosen width trained from scratch, 20 epochs"),
    ]
    assert shown["rows"][3]["parameters"] == 500
    made = page(compaction=FOUND)
    assert 'id="compaction"' in made
    assert "hidden_&lt;1&gt; 64" in made
    assert "hidden_<1>" not in made
    assert "budget 0.5 points of accuracy" in words(made)


def test_layers_in_float_are_named() -> None:
    made = page(kept_float=KEPT)
    assert "1 layer stays in float (net/&lt;weak&gt;/MatMul); accuracy loss 0.12 % on 700 samples" in words(made)
    assert "budget 0.5 %. No smaller set of layers keeps it." in words(made)
    assert "no layer has to stay in float" in words(page(kept_float={**KEPT, "names": []}))


def test_without_either_there_are_no_such_sections() -> None:
    made = page()
    assert 'id="compaction"' not in made
    assert 'id="kept-float"' not in made


def test_the_page_of_inspect_escapes_and_says_what_is_not_known() -> None:
    tensor = {"name": "<b>", "shape": [None, 3], "dtype": "int8", "bytes": 12, "sparse": True, "zero_share": 0.5}
    edge = {"name": "<x>", "dtype": "int8", "shape": [None, 3], "scale": 0.1, "zero_point": -3}
    found = {
        "path": "a/<f>.tflite",
        "sha256": "0" * 64,
        "size_bytes": 10,
        "gzip_bytes": 5,
        "macs": 7,
        "moved_bytes": None,
        "inputs": [edge],
        "outputs": [{**edge, "scale": None, "zero_point": None}],
        "signatures": [],
        "tensors": [tensor],
        "bytes_by_op": {},
        "ops": {"ADD": 1},
        "op_versions": {},
        "duplicates": [],
        "stayed_float": [{"name": "<s>", "op": "ADD", "bytes": 9, "why": "<w>"}],
        "delegation": {"taken": None, "ops": None, "partitions": None, "left": None, "why": "it <crashed>"},
    }
    made = inspection.render(found)
    assert "it &lt;crashed&gt;" in made
    assert "[any, 3]" in made
    for evil in ("<b>12", "<x>", "<f>", "<s>", "<w>", "<crashed>"):
        assert evil not in made
    assert made.count("<script") == 0
