"""The report as one self-contained page: nothing is fetched, nothing runs, nothing is left out.

Every text is escaped by jinja2. The page forbids itself all requests by its content security policy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput
from toolkit.records import Comparison, Measurement
from toolkit.report import lines as fmt
from toolkit.report.document import from_records
from toolkit.report.drift import drift
from toolkit.report.loading import Records, load
from toolkit.store import Run, write_bytes

COLOURS = 8
"""Recipe colours in ``page.css``; a ninth recipe starts again with the first, and is told apart by its label."""

_NO_SAMPLE = dict.fromkeys(("index", "label", "cloud", "edge", "cloud_p", "edge_p", "max_abs", "row"))


def write(run: Run, document: dict[str, Any] | None = None) -> Path:
    """Writes ``report.html`` into the run directory and returns its path.

    Args:
        run: whose records to show.
        document: what ``collect(run)`` returned, if it is there already: its intervals take a while.

    Raises:
        BrokenInput: a record file or a picture in it is damaged.
        MissingError: the page cannot be written.
    """
    records = load(run)
    path = run.path("report.html")
    document = document or from_records(records, run_dir=run.root)
    write_bytes(path, render(document, records).encode("utf-8"))
    run.keep(path)
    return path


def render(document: dict[str, Any], details: Records) -> str:
    """The page.

    Args:
        document: what :mod:`toolkit.report.document` built from the same records.
        details: the records themselves, for raw samples and pictures.

    Raises:
        BrokenInput: a picture in a comparison is damaged.
    """
    from toolkit.report import charts, compaction, evaluation, maps, metric, zeros

    environment = page_environment()
    environment.filters.update(
        between=fmt.between, ratio=fmt.ratio, percent=fmt.percent,
        metric_value=metric.value, difference=metric.difference, difference_between=metric.interval,
        change=metric.change, reading=_reading,
    )  # fmt: skip
    rows = fmt.lines(document)
    names = list(dict.fromkeys(row["recipe"] for row in rows))
    return environment.get_template("page.html.j2").render(
        document=document,
        rows=rows,
        several=len({row["target"] for row in rows if row["target"]}) > 1,
        colour={name: f"c{i % COLOURS}" for i, name in enumerate(names)},
        notes=fmt.notes(document),
        headline=headline(document),
        budget_word=fmt.budget_word,
        metric=metric.of(document),
        forest=charts.forest(rows),
        scatter=charts.scatter(rows),
        latencies=charts.latencies(rows),
        distributions=[d for d in map(_samples, details.measurements) if d],
        evaluations=[e for e in map(evaluation.tables, document["comparisons"]) if e["metrics"]],
        evaluation_heads={"metrics": evaluation.METRICS, "slices": evaluation.SLICES},
        disagreements=[_disagreement(c) for c in details.comparisons if c.worst],
        learned=[maps.of(e) for e in details.embeddings],
        zeros=zeros.of(document),
        compaction=compaction.of(document),
        kept_float=compaction.kept_float(document),
        plans=_plans(details.measurements),
        controls=_controls(details.measurements),
        conditions=_conditions(details.measurements),
        versions=_versions(details),
    )


def page_environment() -> Any:
    """Where pages are rendered: every text is escaped, and what is not defined is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(integer=fmt.integer, number=fmt.number, value=_value, breakable=_breakable)
    return environment


def headline(document: dict[str, Any]) -> str:
    """The report in one sentence."""
    artifacts = document["artifacts"]
    if not artifacts:
        count = len(document["measurements"])
        return f"{count} measurement{'s' * (count != 1)}, nothing converted here."
    judged = [c for c in document["comparisons"] if fmt.budget_word(c) != "not judged"]
    compared = {c["recipe"] for c in judged}
    failed = {c["recipe"] for c in judged if not c["passed"]}
    shown = sum(not a["quarantined"] and a["recipe"] in compared - failed for a in artifacts)
    if not compared:
        ran = sum(not a["quarantined"] for a in artifacts)
        return f"{ran} of {len(artifacts)} artifacts passed their gate; none was judged against the cloud."
    if len(artifacts) == 1:
        return f"The artifact {'runs, and is' if shown else 'is not'} shown to keep its budget against the cloud."
    subject = f"All {shown}" if shown == len(artifacts) else f"{shown} of {len(artifacts)}"
    return f"{subject} artifacts run, and are shown to keep their budget against the cloud."


def _samples(measurement: Measurement) -> dict[str, Any] | None:
    """A measurement's card: its distribution, its course over time, its profile of operators where one was taken."""
    from toolkit.report import charts

    found = charts.distribution(measurement)
    profile = measurement.provenance.get("profile")
    return None if found is None else {**found, "drift": drift(measurement), "profile": profile}


def _disagreement(comparison: Comparison) -> dict[str, Any]:
    from toolkit.report.pictures import data_uri

    samples = []
    for sample in comparison.worst:
        try:
            source = data_uri(sample["image"]) if sample.get("image") else None
        except ValueError as error:
            raise BrokenInput(
                str(error),
                where=f"comparison of {comparison.recipe} on {comparison.target}, sample {sample.get('index')}",
                remedy="run the validation again",
            ) from error
        samples.append({**_NO_SAMPLE, **sample, "source": source})
    return {"recipe": comparison.recipe, "target": comparison.target, "against": comparison.against, "samples": samples}


def _plans(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Every plan once, with how many measurements it took."""
    plans = [vars(m.plan) for m in measurements]
    return [{**plan, "measurements": plans.count(plan)} for i, plan in enumerate(plans) if plan not in plans[:i]]


def _controls(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """A/A controls: what the harness found when it measured an artifact against itself."""
    found = []
    for m in measurements:
        control = m.provenance.get("aa_control")
        if isinstance(control, dict) and isinstance(control.get("ratio"), (int, float)):
            found.append({"interval": None, "verdict": None, "recipe": m.recipe, "target": m.target.name, **control})
    return found


def _conditions(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Per target: each reading before and after, over all its measurements, and what could not be read."""
    targets = []
    for name in dict.fromkeys(m.target.name for m in measurements):
        here = [m for m in measurements if m.target.name == name]
        before, after = [m.conditions.before for m in here], [m.conditions.after for m in here]
        readings = dict.fromkeys(key for maps in (before, after) for readings in maps for key in readings)
        targets.append(
            {
                "target": vars(here[0].target),
                "readings": [(key, _spread(before, key), _spread(after, key)) for key in readings],
                "unknown": {key: why for m in here for key, why in m.conditions.unknown.items()},
            }
        )
    return targets


def _spread(maps: Iterable[dict[str, Any]], key: str) -> str:
    values = [m[key] for m in maps if m.get(key) is not None]
    if not values:
        return fmt.NOTHING
    if all(type(v) in (int, float) for v in values) and min(values) != max(values):
        return f"{_value(min(values))} to {_value(max(values))}"
    return "; ".join(dict.fromkeys(_value(v) for v in values))


def _versions(details: Records) -> list[tuple[str, str]]:
    found: dict[str, dict[str, None]] = {}
    for versions in ([details.bundle.versions] if details.bundle else []) + [a.versions for a in details.artifacts]:
        for name, version in versions.items():
            found.setdefault(name, {})[version] = None
    for m in details.measurements:
        found.setdefault(m.target.runtime, {})[m.target.runtime_version] = None
    return [(name, ", ".join(versions)) for name, versions in sorted(found.items())]


def _breakable(name: str) -> Any:
    """The name, escaped, with leave to break the line after an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _reading(value: Any) -> str:
    """A label or an answer: a class, or a regression's value, to the unit or to six digits."""
    return f"{value:,.0f}" if isinstance(value, float) and abs(value) >= 1e5 else _value(value)


def _value(value: Any) -> str:
    """Any JSON value as a reader wants it."""
    if value is None:
        return fmt.NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return ", ".join(_value(v) for v in value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
