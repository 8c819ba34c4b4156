"""The HTML page: everything in it, nothing from outside, every text harmless."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.report_records import LONG, NUMBERS, artifact, comparison, make_run, measurement, process, records

from toolkit.errors import BrokenInput
from toolkit.records import Check, Gate
from toolkit.report import charts, document, html, lines, pictures
from toolkit.report.loading import Records


class Page(HTMLParser):
    """Tags with their attributes, ids, and the text of a page; complains of tags that do not nest."""

    VOID = frozenset({"meta", "link", "br", "img", "wbr", "line"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def page(**made: Any) -> str:
    return html.render(document.build(**made), Records(**made))


@pytest.fixture(scope="module")
def whole() -> str:
    return page(**records())


def test_the_page_says_everything(whole: str) -> None:
    read = Page(whole)
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {
        "summary",
        "overview",
        "accuracy",
        "latency",
        "gate",
        "disagreements",
        "learned",
        "zeros",
        "conditions",
        "method",
    } <= set(ids)
    for words in (
        "5 of 8 artifacts run, and are shown to keep their budget against the cloud.",
        *NUMBERS, "127,904", "96,870", "5.55–5.63",
        "−0.30", "−0.56 to −0.07", "not enough samples: 2,380 more needed", "PSNR 12.1 dB < 30 dB", "identical",
        "cv 14 %, at most 10 %", "Some CPU @ 2.1 GHz", "no cpufreq in this virtual machine", "2.21.0",
        "1.00× (0.990–1.02), no difference", "by the quick plan", "label 3", "the runner died of SIGSEGV",
        "What the model learned", "Codes at layer hidden_2", "axis 1: 41 %", "axis 2: 19 %",
        "300 of 5,000 evaluation samples",
        "196of 784", "64of 128", "221,017", "of 472,064 bytes of kernels gzip leaves 280,818, 59 %",
        "Column payment", "axis 1: 75 %", "Credit Card", "Pale: the 1 that no evaluation sample has",
    ):  # fmt: skip
        assert words in read.text, words
    assert sum(tag == "img" for tag, _ in read.tags) == 4 * 12


def test_nothing_comes_from_outside_and_nothing_runs(whole: str) -> None:
    read = Page(whole)
    assert not {tag for tag, _ in read.tags} & {"script", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in read.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "xlink:href", "action", "data", "poster"):
                assert (value or "").startswith("data:"), (tag, value)
    assert not re.search(r"url\(|@import|https?://", whole)
    assert "default-src 'none'" in whole


def test_the_page_is_reproducible(whole: str) -> None:
    assert page(**records()) == whole


def test_every_text_is_escaped() -> None:
    evil = '<script>alert("x")</script>_&"\'><img src=x onerror=y>'
    gate = Gate(passed=False, checks=(Check(name=evil, passed=False, detail=evil),))
    bad = artifact(
        "int8", recipe=evil, path=evil, ops={evil: 1}, runtime_floor={evil: evil}, gate=gate, versions={evil: evil}
    )
    measured = replace(measurement("int8", target=evil, verdict="unstable", reasons=(evil,)), recipe=evil)
    conditions = replace(measured.conditions, before={evil: evil}, unknown={evil + "?": evil})
    measured = replace(measured, conditions=conditions)
    compared = replace(comparison("int8", passed=False, verdict=evil, target=evil), recipe=evil, against=evil)
    compared = replace(compared, worst=({"index": 1, "label": evil, "cloud": evil, "edge": evil, "max_abs": 0.1},))
    made = {"artifacts": [bad], "measurements": [measured], "comparisons": [compared], "warnings": [evil]}
    shown = html.render(document.build(model=evil, run_dir=Path("/x") / "<b>", **made), Records(**made))
    read = Page(shown)
    assert not [tag for tag, _ in read.tags if tag in ("script", "b>", "img")]
    assert not [name for _, a in read.tags for name in a if name.startswith("on")]
    assert read.text.count('<script>alert("x")</script>') >= 15


def test_write_leaves_the_page_in_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = html.write(run)
    assert path == run.path("report.html")
    first = path.read_text(encoding="utf-8")
    assert Page(first).text.startswith("mnist · Edge Export")
    assert html.write(run, document.collect(run)).read_text(encoding="utf-8") == first


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    broken = replace(
        comparison("int8"), worst=({"index": 7, "image": {"shape": [28, 28], "dtype": "uint8", "base64": "AA=="}},)
    )
    with pytest.raises(BrokenInput, match=r"int8 on cpu, sample 7: 1 bytes do not fill"):
        page(comparisons=[broken])


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"artifacts": [artifact("int8")]},
        {"measurements": [measurement("int8")]},
        {"measurements": [measurement("int8", verdict="failed")]},
        {"measurements": [replace(measurement("int8"), runs=(process(0, 5.0, count=1),))]},
        {"comparisons": [comparison("int8")]},
        {"comparisons": [replace(comparison("int8"), metric="parity", cloud=None, edge=None, difference=None,
                                 interval=None, budget=None, agreement=None, worst=({"index": 1, "max_abs": None},))]},
        {"artifacts": [artifact(LONG)], "comparisons": [comparison(LONG)], "measurements": [measurement(LONG)]},
    ],
)  # fmt: skip
def test_a_part_of_a_run_has_a_page_too(made: dict[str, Any]) -> None:
    assert "How each number was measured" in Page(page(**made)).text


def test_a_program_that_keeps_no_samples_has_a_page() -> None:
    """Google's benchmark_model tells a median and no interval: it is drawn as a point, beside others with theirs."""
    told = {"median_us": 100.0, "mean_us": 101.0, "std_us": 5.0, "min_us": 90.0, "max_us": 120.0}
    kept = measurement("float32")
    runs = tuple(replace(run, samples_ns=(), reported=told) for run in kept.runs)
    bare = replace(measurement("int8"), runs=runs)
    drawn = charts.latencies(lines.lines(document.build(measurements=[kept, bare])))
    assert drawn is not None
    by_recipe = {row["recipe"]: row for row in drawn["rows"]}
    assert (by_recipe["int8"]["from"], by_recipe["int8"]["to"], by_recipe["int8"]["p90"]) == (None, None, None)
    assert by_recipe["float32"]["from"] < by_recipe["float32"]["at"] < by_recipe["int8"]["at"]
    text = page(measurements=[kept, bare])
    assert "no samples kept" in text
    assert "None" not in text
    assert "100 µs" in page(measurements=[bare])


def test_headlines() -> None:
    def said(**made: Any) -> str:
        return html.headline(document.build(**made))

    assert said(measurements=[measurement("int8")]) == "1 measurement, nothing converted here."
    assert said(artifacts=[artifact("int8")]) == (
        "1 of 1 artifacts passed their gate; none was judged against the cloud."
    )
    assert said(artifacts=[artifact("int8")], comparisons=[comparison("int8")]).startswith(
        "The artifact runs, and is shown"
    )
    both = [comparison("int8"), comparison("int8", target="phone", passed=False, verdict="broken")]
    assert said(artifacts=[artifact("int8")], comparisons=both).startswith("The artifact is not shown")


@pytest.mark.parametrize("shape", [[4, 5], [4, 5, 1], [4, 5, 3]])
def test_a_picture_comes_back_from_its_png(shape: list[int]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8)
    image = {"shape": shape, "dtype": "uint8", "base64": base64.b64encode(pixels.tobytes()).decode()}
    png = base64.b64decode(pictures.data_uri(image).removeprefix("data:image/png;base64,"))
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert (width, height, depth, colour) == (5, 4, 8, 2 if shape[-1] == 3 else 0)
    length = struct.unpack(">I", png[33:37])[0]
    rows = np.frombuffer(zlib.decompress(png[41 : 41 + length]), np.uint8).reshape(4, -1)
    assert not rows[:, 0].any()
    assert (rows[:, 1:].ravel() == pixels).all()


@pytest.mark.parametrize(
    "image",
    [
        None,
        {},
        {"shape": [2, 2], "dtype": "float32", "base64": ""},
        {"shape": [2, 2, 2], "dtype": "uint8", "base64": ""},
        {"shape": [0, 2], "dtype": "uint8", "base64": ""},
        {"shape": [1, 1], "dtype": "uint8", "base64": "?"},
        {"shape": [1, 1], "dtype": "uint8", "base64": 3},
        {"shape": [1, 1], "dtype": "uint8"},
    ],
)
def test_what_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match=r"picture|base64"):
        pictures.data_uri(image)


def test_axes_hold_their_values_and_round_ticks() -> None:
    axis = charts.linear([0.0, 10.0])
    assert [label for _, label in axis.ticks] == ["0.0", "2.5", "5.0", "7.5", "10.0"]
    assert axis.at(5.0) == 50.0
    assert 0 < axis.at(0.0) < axis.at(10.0) < 100
    log = charts.logarithmic([5.0, 130.0])
    assert [label for _, label in log.ticks] == ["5", "10", "20", "50", "100"]
    assert log.at(10.0) == pytest.approx((log.at(5.0) + log.at(20.0)) / 2, abs=0.01)
    assert charts.linear([3.0]).at(3.0) == 50.0


def test_labels_are_kept_apart_and_moved_little() -> None:
    placed = charts.apart([50.0, 50.0, 50.0, 300.0], gap=20, height=340)
    assert placed == [30.0, 50.0, 70.0, 300.0]
    crowded = charts.apart([0.0] * 30, gap=20, height=340)
    assert crowded[0] == 0.0
    assert crowded[-1] <= 340
    assert crowded == sorted(set(crowded))


def test_the_forest_stands_where_the_numbers_are() -> None:
    found = charts.forest(lines.lines(document.build(comparisons=[comparison("int8")])))
    assert found is not None
    (row,) = found["rows"]
    ((budget, label),) = found["budgets"]
    assert row["from"] < budget < row["at"] < row["to"] < found["zero"]
    assert label == "budget −0.50"


def test_a_distribution_counts_what_its_axis_leaves_out() -> None:
    slow = replace(process(0, 5.0), samples_ns=(*[5000.0 + i for i in range(999)], 90_000.0))
    found = charts.distribution(replace(measurement("int8"), runs=(slow, process(1, 5.0))))
    assert found is not None
    assert found["outside"] >= 1
    assert found["most"] == "90.0"
    assert [p["count"] for p in found["processes"]] == [1000, 64]


def test_conditions_of_many_measurements_become_a_range() -> None:
    first = measurement("int8")
    second = replace(first, conditions=replace(first.conditions, before={"load_1m": 0.9, "cores": 2}))
    shown = Page(page(measurements=[first, second])).text
    assert "load_1m0.4 to 0.9" in shown
    assert "cores22" in shown


def test_metrics_slices_and_the_rows_that_differ_most() -> None:
    evil = "<b>taxi</b>"
    metric = {
        "metric": "rmse", "cloud": 3.14732, "edge": 3.16362, "difference": 0.0163, "interval": [-0.00165, 0.0417],
        "budget": 0.02, "verdict": "broken",
    }  # fmt: skip
    group = {
        "name": f"payment_type: {evil}", "n": 1984, "cloud": 2.85, "edge": None, "difference": None,
        "p_adjusted": 0.004, "verdict": "worse",
    }  # fmt: skip
    found = replace(
        comparison("int8"),
        metrics=(metric, {**metric, "metric": "mae", "budget": None, "interval": None}),
        slices={"slices": [group], "tested": 1, "worse": 1, "too_small": 3, "smallest": 30, "budget": 0.02},
        worst=({"index": 1, "max_abs": 0.5, "row": {evil: evil, "trip_miles": 1.60000002, "hour": None}},),
    )
    source = page(comparisons=[found], artifacts=[artifact("int8")])
    shown = Page(source)
    assert evil not in source
    cells = "|".join(word for word in shown.words if word.strip()).replace("\u200b", "")
    assert "rmse|3.1473|3.1636|+0.0163|\u22120.00165 to +0.0417|broken" in cells
    assert "mae|3.1473|3.1636|+0.0163|\u2013" in cells
    assert "slices tested: 1, worse by more than 0.02: 1; not tested, with fewer than 30 rows: 3." in shown.text
    assert "|1,984|2.85|\u2013|\u2013|0.004|worse" in cells
    assert [attrs["class"] for tag, attrs in shown.tags if tag == "td" and "bad-text" in (attrs.get("class") or "")]
    assert "trip_miles 1.6" in shown.text.replace("\u200b", "")
    assert "hour \u2013" in shown.text
    assert 'id="evaluation"' not in page(comparisons=[comparison("int8")], artifacts=[artifact("int8")])
