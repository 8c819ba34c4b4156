"""A run that regresses: rmse in the label's unit everywhere, down is better, and no word of accuracy."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import report_records
from fakes.report_regression import CLOUD, comparison, records

from toolkit.report import charts, document, html, lines, metric, terminal
from toolkit.report.loading import Records

GOLDEN = Path(__file__).parent.parent / "golden" / "report_regression.txt"


def words(page: str) -> str:
    """The page's text, tags and style taken out."""
    bare = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(bare.replace("&#39;", "'").split())


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document.build(**records())


@pytest.fixture(scope="module")
def page(made: dict[str, Any]) -> str:
    return html.render(made, Records(**records()))


def test_the_table_is_the_golden_one(made: dict[str, Any]) -> None:
    assert terminal.render(made) == GOLDEN.read_text(encoding="utf-8")


def test_a_narrow_terminal_has_every_number(made: dict[str, Any]) -> None:
    shown = terminal.render(made, width=60)
    assert "  edge rmse    58,584 (+4.18)\n  difference   +2,350 (+1,800…+2,908)\n  budget       broken\n" in shown


def test_the_document_says_the_unit(made: dict[str, Any]) -> None:
    row = json.loads(json.dumps(made, allow_nan=False))["comparisons"][3]
    assert (row["metric"], row["unit"], row["budget_kind"]) == ("rmse", "label unit", "relative")
    assert (row["cloud"], row["difference"], row["interval"]) == (CLOUD, 2350.0, [1800.0, 2908.0])
    classes = document.build(comparisons=[report_records.comparison("int8")])["comparisons"][0]
    assert (classes["unit"], classes["budget_kind"]) == ("fraction", "absolute")


def test_the_page_says_rmse_and_not_accuracy(page: str) -> None:
    text = words(page)
    for expected in (
        "2 of 4 artifacts run, and are shown to keep their budget against the cloud.",
        "56,234 rmse of the trained model",
        "rmse at the edge edge − cloud, label unit 95 % interval change % of the cloud’s",
        "58,584 +2,350 +1,800 to +2,908 +4.18", "Size and rmse", "rmse at the edge, label unit: down is better",
        "Down and to the left is better", "rmse at the edge minus rmse in the cloud", "budget +0.50 %",
        "right end stays to the left of the dashed line", "40,100 / 40,950", "p (bootstrap)",
        "label 201,500 cloud 198,000 edge 150,126", "not enough samples: 1,640 more needed", "root of the mean square",
    ):  # fmt: skip
        assert expected in text, expected
    assert "accuracy" not in text.lower()
    assert "points" not in text
    assert "agreement" not in text
    assert 'class="blank"' not in page


def test_classes_have_no_word_of_rmse() -> None:
    made = report_records.records()
    page = html.render(document.build(**made), Records(**made))
    assert "rmse" not in page
    assert "rmse" not in terminal.render(document.build(**made))


def test_the_scatter_stands_in_the_labels_unit_down_is_better(made: dict[str, Any]) -> None:
    found = charts.scatter(lines.lines(made))
    assert found is not None
    tops = {mark["recipe"]: mark["top"] for mark in found["marks"]}
    assert tops["int8"] < tops["dynamic_range"] < tops["float32"], "a larger error stands higher"
    assert found["clouds"] == [(tops["float32"], "56,234")]
    assert [label for _, label in found["up"]] == sorted(label for _, label in found["up"])
    assert all("," in label for _, label in found["up"])


def test_the_forest_has_the_budget_to_the_right_of_zero(made: dict[str, Any]) -> None:
    found = charts.forest(lines.lines(made))
    assert found is not None
    ((budget, label),) = found["budgets"]
    rows = {row["recipe"]: row for row in found["rows"]}
    assert label == "budget +0.50 %"
    assert found["zero"] < budget < rows["int8"]["from"] < rows["int8"]["at"] < rows["int8"]["to"]
    assert rows["dynamic_range"]["from"] < found["zero"] < rows["dynamic_range"]["at"] < budget
    assert rows["float16"]["to"] < budget < rows["dynamic_range"]["to"]


@pytest.mark.parametrize(
    ("cloud", "shown"),
    [
        (CLOUD, ("58,584", "+2,350", "+1,800 to +2,908")),
        (5.6234, ("5.858", "+0.235", "+0.180 to +0.291")),
        (0.056234, ("0.05858", "+0.00235", "+0.00180 to +0.00291")),
        (5.6234e-9, ("5.86e-09", "+2.35e-10", "+1.80e-10 to +2.91e-10")),
    ],
)
def test_numbers_are_as_fine_as_the_clouds(cloud: float, shown: tuple[str, str, str]) -> None:
    row = vars(comparison("int8", cloud=cloud))
    assert (metric.value(row), metric.difference(row), metric.interval(row)) == shown
    assert metric.change(row) == "+4.18"


def test_signs_and_numbers_that_could_not_be_had() -> None:
    row = vars(comparison("float16"))
    assert metric.interval(row) == "−20 to +46"
    tiny = {**row, "difference": -1e-7, "cloud": 7.0}
    assert metric.difference(tiny) == "0.000"
    nothing = vars(replace(comparison("int8"), edge=None, difference=None, interval=None))
    said = [f(nothing) for f in (metric.value, metric.difference, metric.interval, metric.change)]
    assert said == ["–", "–", "", "–"]
    perfect = {**row, "cloud": 0.0, "edge": 0.25, "difference": 0.25}
    assert (metric.value(perfect), metric.change(perfect)) == ("0.250", "–")


def test_a_budget_of_nothing_or_of_nothing_known_has_no_line() -> None:
    for change in ({"budget": None}, {"cloud": None}):
        assert metric.bad_end({**vars(comparison("int8")), **change}) is None
    assert metric.bad_end(vars(comparison("int8"))) == pytest.approx(0.005 * CLOUD)
    assert metric.bad_end(vars(report_records.comparison("int8"))) == -0.005


def test_a_comparison_that_failed_altogether_still_has_a_page() -> None:
    broken = replace(
        comparison("int8"), cloud=None, edge=None, difference=None, interval=None, data={}, verdict="broken"
    )
    part = {"artifacts": [report_records.artifact("int8")], "comparisons": [broken]}
    assert "No artifact has both a size and an rmse" in html.render(document.build(**part), Records(**part))
    assert "broken" in terminal.render(document.build(**part))
