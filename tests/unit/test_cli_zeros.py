"""The command that makes zeros says which, in text and in JSON, and its report shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.command import Done, write_mnist

pytestmark = pytest.mark.slow


def test_training_with_proximal_l1_tells_its_zeros(edge_export: Callable[..., Done], tmp_path: Path) -> None:
    words = ["train", "mnist", "--data-dir", write_mnist(tmp_path / "data"), "--epochs", "3", "--activation", "elu"]
    sparse = [*words, "--l1", "1e-3", "--proximal", "--run-dir", tmp_path / "sparse"]
    said = edge_export(*sparse)
    assert said.code == 0, said.err
    (line,) = [text for text in said.out.splitlines() if text.startswith("zeros: ")]
    told = {row["name"]: row["zeros"] for row in json.loads(edge_export(*sparse, "--json").out)["sparsity"]}
    assert list(told) == ["hidden_1/kernel", "hidden_2/kernel", "probabilities/kernel"]
    assert told["hidden_1/kernel"] > 0.1
    assert f"hidden_1 {100 * told['hidden_1/kernel']:.0f} %" in line

    assert edge_export("report", tmp_path / "sparse").code == 0
    assert 'id="zeros"' in (tmp_path / "sparse" / "report.html").read_text(encoding="utf-8")

    dense = edge_export(*words, "--run-dir", tmp_path / "dense")
    assert dense.code == 0, dense.err
    assert "zeros" not in dense.out
