"""The lie detector: for every cell of the legality table a real file, and the gate's own answer to it.

Cells marked wrong or refused fail the gate, with the refusal out of the way, for the reason that the table gives;
cells marked right pass.
"""

from __future__ import annotations

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import fleet
from fakes import kinds as fakes

from converters import bundle, convert, gate, kinds, legality, recipes
from converters.legality import REFUSED, RIGHT, WRONG, Row, Runtime
from toolkit import flatbuffer
from toolkit.errors import UsageError
from toolkit.progress import Progress
from toolkit.records import Tolerance
from toolkit.store import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]

TABLE = legality.table()
CELLS = [(row, runtime) for row in TABLE.rows for runtime in TABLE.runtimes]
IDS = [f"{'/'.join(row.kind)} on {runtime.title}" for row, runtime in CELLS]


def tolerance(dtype: str) -> Tolerance:
    """That of the recipes of such a dtype, as legality.toml promises."""
    if dtype == "float32":
        return recipes.load("float32").RECIPE.tolerance
    if dtype == "float16":
        return recipes.load("float16").RECIPE.tolerance
    name = "dynamic_int4" if "int4" in dtype else "int8"
    return Tolerance(psnr_db=recipes.load(name).RECIPE.tolerance.psnr_db, reason="as the recipe's")


@pytest.fixture(scope="session")
def absent() -> dict[str, str]:
    """Runtimes of the table that are not here, by title, and why."""
    found = {runtime.title: fleet.absent(f"{runtime.name}=={runtime.version}") for runtime in TABLE.runtimes}
    return {title: why for title, why in found.items() if why}


@pytest.fixture(scope="session")
def verdicts(zoo: fakes.Zoo, absent: dict[str, str]) -> dict[kinds.Kind, gate.Verdict]:
    """The gate's verdict on a file of every row, on every runtime that is here."""
    older = [f"{r.name}=={r.version}" for r in TABLE.runtimes if r.xnnpack is None and r.title not in absent]

    def judge(row: Row) -> gate.Verdict:
        recipe = SimpleNamespace(tolerance=tolerance(row.kind.dtype))
        module: Any = SimpleNamespace(RECIPE=recipe, expect=lambda model: [])
        return gate.judge(zoo.file(row.kind, row.by), module, zoo.evidence(row.kind), older)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        for row in TABLE.rows:
            zoo.file(row.kind, row.by)
            zoo.evidence(row.kind)
    # A gate is processes that one waits for; the files are all there.
    with ThreadPoolExecutor(2) as pool:
        return dict(zip([row.kind for row in TABLE.rows], pool.map(judge, TABLE.rows), strict=True))


@pytest.mark.parametrize("row", TABLE.rows, ids=lambda row: "/".join(row.kind))
def test_the_file_is_of_the_kind_that_the_row_is_about(zoo: fakes.Zoo, row: Row) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        found = kinds.of_file(flatbuffer.read(zoo.file(row.kind, row.by)))
    wanted = row.kind._replace(pattern="unstructured") if row.kind.pattern == "2:4" else row.kind
    about = Row(kind=wanted, by=row.by, answers=row.answers)
    assert any(about.covers(kind) for kind in found), found
    # What is left in float for being small is no fault.
    assert all(about.covers(kind) or kind.dtype == "float32" for kind in found), found


@pytest.mark.parametrize(("row", "runtime"), CELLS, ids=IDS)
def test_the_gate_finds_what_the_table_says(
    verdicts: dict[kinds.Kind, gate.Verdict], absent: dict[str, str], row: Row, runtime: Runtime
) -> None:
    if runtime.title in absent:
        pytest.skip(absent[runtime.title])
    name = {True: "xnnpack-on", False: "xnnpack-off", None: f"runtime {runtime.name}=={runtime.version}"}
    verdict = verdicts[row.kind]
    check = next(c for c in verdict.gate.checks if c.name == name[runtime.xnnpack])
    answer = row.answer(runtime)
    if answer.verdict == RIGHT:
        assert check.passed, check.detail
        return
    assert not check.passed, check.detail
    assert not verdict.gate.passed
    if answer.verdict == REFUSED:
        assert answer.evidence in check.detail
    else:
        # It loaded, it ran, and nothing but the comparison tells.
        assert answer.verdict == WRONG
        assert re.match(r"NaN or infinite|PSNR -?[\d.]+ dB <|max-abs [\d.e+]+ >", check.detail), check.detail


def recipe_of(row: Row) -> Any:
    """A recipe that would make such files."""
    said = (row.kind.pattern, row.kind.dtype)
    return SimpleNamespace(RECIPE=recipes.load("int8").RECIPE, KINDS={row.kind.layer: said})


@pytest.mark.parametrize(("row", "runtime"), CELLS, ids=IDS)
def test_what_is_broken_is_refused_beforehand_with_the_alternative(row: Row, runtime: Runtime) -> None:
    answer, text = row.answer(runtime), f"{runtime.name}=={runtime.version}"
    said = legality.broken(row.kind, runtime.name, runtime.version, xnnpack=runtime.xnnpack)
    assert [answer.evidence in clause for clause in said] == [True] * (answer.verdict != RIGHT)
    # Our own runtime counts always, with XNNPACK and without.
    concerned = [r for r in TABLE.runtimes if r == runtime or r.xnnpack is not None]
    why = legality.refusal(recipe_of(row), made_of("Dense", "Conv2D", "DepthwiseConv2D"), [text])
    if all(row.answer(r).verdict == RIGHT for r in concerned):
        assert why is None
    else:
        assert why is not None
        assert why.endswith(f": use {row.instead}")
    assert legality.refusal(recipe_of(row), made_of("LSTM"), [text]) is None, "a model without such layers"


def made_of(*layers: str) -> Any:
    """A bundle of these layers."""
    return SimpleNamespace(layers=dict.fromkeys(layers, 1))


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> convert.Conversion:
    """A network pruned in blocks, as a bundle."""
    run, quiet = Run(tmp_path_factory.mktemp("lies") / "run"), Progress(quiet=True)
    kept = run.path("bundle", "model.keras")
    kept.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        fakes.pruned("dense", "blocks").save(kept)
        made = bundle.create(run, name="blocks", keras_file=kept, keras_version=2, progress=quiet)
    return convert.Conversion(run=run, bundle=made, progress=quiet)


def test_a_recipe_that_lies_is_refused_and_without_the_refusal_ends_in_quarantine(
    job: convert.Conversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    plain = recipes.load("dynamic_range")

    def configure(converter: Any, representative: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]

    lying = SimpleNamespace(
        RECIPE=plain.RECIPE,
        configure=configure,
        expect=plain.expect,
        KINDS={"dense": ("blocks", "dynamic int8, per channel")},
    )
    monkeypatch.setattr(recipes, "load", lambda name: lying)
    with pytest.raises(UsageError, match=r"gets wrong with XNNPACK \(-21 dB\): use dynamic_range") as refused:
        convert.convert(job, ["dynamic_range"])
    assert refused.value.exit_code == 2
    monkeypatch.setattr(legality, "refusal", lambda *given: None)
    (artifact,) = convert.convert(job, ["dynamic_range"])
    assert artifact.path == "artifacts/quarantine/dynamic_range.tflite"
    assert {c.name for c in artifact.gate.checks if not c.passed} == {"xnnpack-on", "xnnpack-agree"}
