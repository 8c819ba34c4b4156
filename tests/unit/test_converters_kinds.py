"""Kinds of kernels as recipes promise them, the legality table itself, and its page in the docs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from converters import adjusting, cells, kinds, legality, recipes
from converters.kinds import Kind
from devices import runtimes

ROOT = Path(__file__).parents[2]
TABLE = legality.table()


def promised(name: str) -> dict[str, str]:
    return {kind.layer: f"{kind.pattern}/{kind.dtype}" for kind in kinds.of_recipe(recipes.load(name))}


def test_what_follows_from_a_recipes_record() -> None:
    assert promised("float32") == dict.fromkeys(("dense", "conv", "depthwise"), "dense/float32")
    assert promised("float16")["conv"] == "dense/float16"
    assert promised("dynamic_range") == {
        "dense": "dense/dynamic int8, per tensor",
        "conv": "dense/dynamic int8, per channel",
        "depthwise": "dense/dynamic int8, per channel",
    }
    assert promised("int8")["dense"] == "dense/int8, per channel"
    assert promised("qat_int8") == {
        "dense": "dense/int8, per tensor",
        "conv": "dense/int8, per channel",
        "depthwise": "dense/int8, per channel",
    }
    assert promised("int16x8")["dense"] == "dense/int16x8, per channel"
    assert promised("pruned_16x1") == {
        "dense": "blocks/float32",
        "conv": "dense/float32",
        "depthwise": "dense/float32",
    }


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_in_the_table_and_right_here(name: str) -> None:
    own = runtimes.installed("ai-edge-litert")
    assert own is not None
    for kind in kinds.of_recipe(recipes.load(name)):
        assert TABLE.row(kind) is not None, f"{kind} has no row in converters/legality.toml"
        assert legality.broken(kind, "ai-edge-litert", own) == []


def test_the_table_is_whole() -> None:
    assert len({row.kind for row in TABLE.rows}) == len(TABLE.rows)
    for row in TABLE.rows:
        assert len(row.answers) == len(TABLE.runtimes)
        assert all(a.verdict in (legality.RIGHT, legality.WRONG, legality.REFUSED) for a in row.answers)
        assert all(a.evidence for a in row.answers)
        broken = row.since is not None or any(a.verdict != legality.RIGHT for a in row.answers)
        assert bool(row.instead) == broken, f"{row.kind}: an alternative where something is broken, and only there"
        assert row.kind.layer in kinds.LAYERS.values()


def test_the_row_that_says_most_is_the_one() -> None:
    undeclared = Kind("dense", "dense", "dynamic int8, per channel, undeclared")
    for kind in (undeclared, undeclared._replace(dtype="dynamic int8, per channel")):
        row = TABLE.row(kind)
        assert row is not None
        assert row.kind == kind
    fine = TABLE.row(Kind("conv", "dense", "int8, per channel"))
    assert fine is not None
    assert fine.kind.dtype == "int8", "of convolutions the granularity makes no difference"
    narrow = TABLE.row(Kind("dense", "dense", "dynamic int4, narrow, per tensor"))
    assert narrow is not None
    assert narrow.kind.dtype == "dynamic int4, narrow"
    assert TABLE.row(Kind("dense", "dense", "int2")) is None
    assert legality.broken(Kind("dense", "dense", "int2"), "tflite-runtime", "2.14.0") == []


@pytest.mark.parametrize(
    ("version", "verdict"),
    [("2.7.0", ["gets wrong (18 dB)"]), ("2.9.1", ["gets wrong (18 dB)"]), ("2.10.0", []), ("2.14", []), ("3.0", [])],
)
def test_a_column_stands_for_its_versions(version: str, verdict: list[str]) -> None:
    assert legality.broken(Kind("dense", "dense", "int8, per channel"), "tflite-runtime", version) == verdict


def test_a_version_before_which_nothing_was_right() -> None:
    int4 = Kind("dense", "dense", "dynamic int4, per channel")
    assert legality.broken(int4, "tflite-runtime", "2.14.0") == []
    assert "18 dB on 2.13.0" in legality.broken(int4, "tflite-runtime", "2.13.0")[0]
    assert "refuses" in legality.broken(int4, "tflite-runtime", "2.9.1")[0]
    blocks = Kind("dense", "blocks", "int8, per tensor")
    assert legality.broken(blocks, "tflite-runtime", "2.9.1") == []
    assert legality.broken(blocks, "tflite-runtime", "2.8.0") == ["gets wrong (3 dB on 2.7.0 and 2.8.0)"]


@pytest.mark.parametrize(
    ("units", "inputs", "narrow"),
    [(64, 784, False), (4, 32, False), (1, 7, False), (3, 784, True), (64, 31, True), (64, 33, True), (64, 30, True)],
)
def test_shapes_that_four_bits_are_wrong_for(units: int, inputs: int, narrow: bool) -> None:
    assert kinds.narrow((units, inputs)) is narrow
    assert kinds.narrow((None, units, inputs)) is narrow


def test_another_ai_edge_litert_is_not_known() -> None:
    sparse = Kind("dense", "unstructured", "int8, per tensor")
    assert legality.broken(sparse, "ai-edge-litert", "2.3.0") != []
    assert legality.broken(sparse, "ai-edge-litert", "2.3.0", xnnpack=False) == []
    assert legality.broken(sparse, "ai-edge-litert", "1.4.0") == [], "which does load it"


def test_layers_of_a_bundle() -> None:
    def of(*names: str) -> set[str]:
        bundle: Any = SimpleNamespace(layers=dict.fromkeys(names, 1))
        return kinds.layers_of(bundle)

    assert of("Dense", "Flatten") == {"dense"}
    assert of("Conv2D", "Conv1D") == {"conv"}
    assert of("DepthwiseConv2D") == {"depthwise"}
    assert of("SeparableConv2D") == {"conv", "depthwise"}
    assert of("Conv2DTranspose", "LSTM", "custom Mine") == of() == set()


def test_recipes_are_adjusted_for_the_runtimes_that_ask_for_it() -> None:
    int8 = recipes.load("int8")
    assert adjusting.adjusted(int8, ()) is int8
    assert adjusting.adjusted(int8, ("tflite-runtime==2.14.0", "ai-edge-litert==1.4.0")) is int8
    old = adjusting.adjusted(int8, ("tflite-runtime==2.14.0", "tflite-runtime==2.9.1"))
    assert old is not int8
    assert adjusting.asking(int8, ("tflite-runtime==2.14.0", "tflite-runtime==2.9.1")) == ["tflite-runtime==2.9.1"]
    assert old.RECIPE.granularity == adjusting.GRANULARITY
    assert Kind("dense", "dense", "int8, per tensor") in kinds.of_recipe(old)
    assert old.expect is int8.expect

    class Converter:
        target_spec = SimpleNamespace()

    converter: Any = Converter()
    old.configure(converter, None)
    assert converter._experimental_disable_per_channel_quantization_for_dense_layers is True
    for name in ("float32", "dynamic_range", "qat_int8"):
        assert adjusting.adjusted(recipes.load(name), ("tflite-runtime==2.9.1",)) is recipes.load(name)


def test_what_a_recipe_becomes_is_right_where_it_is_adjusted_for() -> None:
    for name in recipes.names():
        for text in ("tflite-runtime==2.9.1", "tflite-runtime==2.14.0"):
            made = adjusting.adjusted(recipes.load(name), (text,))
            if made is not recipes.load(name):
                found = [legality.broken(kind, *runtimes.parse(text)) for kind in kinds.of_recipe(made)]
                assert found == [[], [], []], name


def test_advice_is_about_the_kind_that_is_broken() -> None:
    found = {Kind("dense", "dense", "float32"), Kind("conv", "dense", "dynamic int4, per channel")}
    said = legality.advice(found, "tflite-runtime", "2.14.0")
    assert said is not None
    assert said.startswith("known of conv layers in dynamic int4, per channel (every value stored): it gets wrong")
    assert "use mixed_int4_int8" in said
    assert legality.advice(found, "ai-edge-litert", "2.3.0") is None


def test_the_page_in_the_docs_is_the_table() -> None:
    page = (ROOT / "docs" / "legality.md").read_text(encoding="utf-8")
    assert cells.markdown() in page, "put `python -c 'from converters import cells; print(cells.markdown())'` there"


def test_every_cell_says_what_was_measured_and_how_to_see_it_again() -> None:
    rows = cells.rows()
    assert len(rows) == len(TABLE.rows) * len(TABLE.runtimes)
    for row in rows:
        assert row["evidence"].endswith(".")
        assert "scripts/benchmarks/legality_table.py --only" in row["reproduce"]
    broken = [row for row in rows if row["verdict"] != "right"]
    assert all(row["instead"] for row in broken)
