"""The graph against the truth: the same ids and numbers, eager and traced, for any spec and any row."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from fakes import features as made_up
from hypothesis import HealthCheck, given, settings

from toolkit.features import FeatureSpec, Numeric, Vocabulary, encode, transform
from toolkit.features.lowering import lower

QUICK = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def tf() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        import tensorflow

    return tensorflow


def differences(spec: FeatureSpec, rows: Any, numeric: Any, ids: Any) -> list[str]:
    """The columns in which the graph does not say what numpy says."""
    truth = transform(spec, rows)
    assert set(ids) == set(truth.ids)
    wrong = [name for name, found in ids.items() if not np.array_equal(found.numpy(), truth.ids[name])]
    wrong += [name for name, found in ids.items() if found.numpy().dtype != np.int32]
    if not np.allclose(numeric.numpy(), truth.numeric, rtol=1e-6, atol=1e-6):
        wrong.append("numeric")
    return wrong


@QUICK
@given(made_up.specs(), made_up.rows())
def test_eager_says_what_numpy_says(tf: Any, spec: FeatureSpec, rows: Any) -> None:
    assert differences(spec, rows, *lower(spec, encode(spec, rows))) == []


@settings(QUICK, max_examples=12)
@given(made_up.specs(), made_up.rows())
def test_the_traced_graph_says_what_numpy_says(tf: Any, spec: FeatureSpec, rows: Any) -> None:
    signature = {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in spec.inputs()}
    traced = tf.function(lambda inputs: lower(spec, inputs), input_signature=[signature])
    assert differences(spec, rows, *traced(encode(spec, rows))) == []


def test_many_adversarial_rows(tf: Any) -> None:
    spec, rows = made_up.eight_inputs(), made_up.adversarial(10_000, seed=1)
    assert len(spec.inputs()) == 8
    assert differences(spec, rows, *lower(spec, encode(spec, rows))) == []
    truth = transform(spec, rows)
    for column in spec.id_columns:  # rows that reach few ids would prove little
        assert len(np.unique(truth.ids[column.name])) > 0.5 * min(spec.count(column.name), 300), column.name


def test_a_large_vocabulary(tf: Any) -> None:
    words = [f"word{i}" for i in range(30_000)]
    spec = FeatureSpec(label="y", columns=(Vocabulary(name="v", vocabulary=tuple(words)),))
    given = [words[0], words[-1], "word30000", "", words[12_345]]
    found = lower(spec, encode(spec, {"v": given}))
    assert found[0] is None
    assert found[1]["v"].numpy().tolist() == [1, 30_000, 0, 0, 12_346]


def test_an_unknown_word_with_a_known_words_key_is_unknown(tf: Any) -> None:
    # Two texts of eight letters with one key under the first multiplier, found by their birthdays.
    from toolkit.features.hashing import polynomial, powers

    letters = np.random.default_rng(3).integers(97, 123, (200_000, 8)).astype(np.uint8)
    keys = polynomial(letters, powers(8))
    order = np.argsort(keys, kind="stable")
    same = int(np.flatnonzero(np.diff(keys[order]) == 0)[0])
    known, unknown = (letters[order[same + i]].tobytes().decode() for i in (0, 1))
    assert known != unknown
    spec = FeatureSpec(label="y", columns=(Vocabulary(name="v", vocabulary=("other", known)),))
    assert lower(spec, encode(spec, {"v": [known, unknown]}))[1]["v"].numpy().tolist() == [2, 0]


def test_an_integer_input_is_missing_as_a_number_too(tf: Any) -> None:
    column = Numeric(name="n", input="i", normalisation="none", default=-7.0)
    spec = FeatureSpec(label="y", columns=(column, Vocabulary(name="v", input="i", vocabulary=(3,))))
    numeric, ids = lower(spec, encode(spec, {"i": [3, None, 2**40, 5]}))
    assert numeric.numpy()[:, 0].tolist() == [3, -7, -7, 5]
    assert ids["v"].numpy().tolist() == [1, 0, 0, 0]
