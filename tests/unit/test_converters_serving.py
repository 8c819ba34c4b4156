"""A SavedModel as a server meets it: tf.Examples, warm-up requests, and the bodies of REST calls."""

from __future__ import annotations

import base64
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import features as made_up

from converters import bundle, serving
from converters.saved_model import EXAMPLES, EXAMPLES_INPUT, Loaded
from toolkit.errors import BrokenInput, UsageError
from toolkit.features import encode
from toolkit.progress import Progress
from toolkit.records import Signature, TensorSpec
from toolkit.store import Run

pytestmark = pytest.mark.slow


def example(**features: Any) -> bytes:
    """A tf.Example as a client writes it: what is ``None`` it leaves out."""
    import tensorflow as tf

    made = {}
    for name, value in features.items():
        if value is None:
            continue
        if isinstance(value, (str, bytes)):
            content = value.encode("utf-8", "replace") if isinstance(value, str) else value
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
        elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))
        else:
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[float(value)]))
    found: bytes = tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()
    return found


def test_raw_features_in_examples_become_what_the_host_encodes() -> None:
    import tensorflow as tf

    spec, raw = made_up.eight_inputs(), made_up.adversarial(600, 3)
    kinds = {t.name: t.dtype for t in spec.inputs()}
    sources = {c.tensor: c.source for c in spec.columns}
    numbers = {sources[name] for name, dtype in kinds.items() if dtype == "float32"}
    # An integer feature holds integers, and a float feature floats, which a client has cast.
    rows = []
    for i in range(600):
        row = {name: values[i] for name, values in raw.items()}
        for name in row:
            if name in numbers and row[name] is not None:
                with np.errstate(over="ignore"):
                    row[name] = float(np.float32(float(row[name])))
        rows.append(row)
    kept = [i for i, row in enumerate(rows) if not any(isinstance(row[n], float) for n in row if n not in numbers)]
    assert len(kept) > 300
    parse = serving.parser(spec.inputs(), spec)
    found = parse(tf.constant([example(**rows[i]) for i in kept]))
    expected = encode(spec, {name: np.array([rows[i][name] for i in kept], dtype=object) for name in raw})
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name].numpy(), values, equal_nan=values.dtype.kind == "f"), name
    # And the way back, which requests are made by.
    again = parse(tf.constant(serving.serialized(expected, spec)))
    for name, values in expected.items():
        assert np.array_equal(again[name].numpy(), values, equal_nan=values.dtype.kind == "f"), name


def model(version: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if version == 3:
            import keras as library
        else:
            import tf_keras as library
        library.utils.set_random_seed(1)
        image, number = library.Input((4, 4), name="image"), library.Input((1,), name="number", dtype="int32")
        flat = library.layers.Flatten()(image)
        both = library.layers.Concatenate()([flat, library.layers.Rescaling(0.5)(number)])
        return library.Model([image, number], library.layers.Dense(3, name="scores")(both))


@pytest.fixture(scope="module", params=[2, 3])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Loaded]:
    run = Run(tmp_path_factory.mktemp("served") / "run")
    path = run.path("bundle", "model.keras")
    path.parent.mkdir()
    model(request.param).save(path)
    quiet = Progress(quiet=True)
    made = bundle.create(run, name="net", keras_file=path, keras_version=request.param, examples=True, progress=quiet)
    assert made.signatures == ()
    assert list(made.left_out) == [EXAMPLES]
    return run, Loaded(run.path(made.saved_model))


def test_examples_are_answered_as_tensors_are(served: tuple[Run, Loaded]) -> None:
    _, loaded = served
    assert set(loaded.keys) == {EXAMPLES, "serving_default"}
    rng = np.random.default_rng(0)
    inputs = {"image": rng.random((5, 4, 4), np.float32), "number": rng.integers(0, 9, (5, 1)).astype(np.int32)}
    examples = serving.serialized(inputs, None)
    found = loaded.also(EXAMPLES)({EXAMPLES_INPUT: examples})
    for name, values in loaded(inputs).items():
        assert np.array_equal(found[name], values)


def test_warm_up_requests_are_answered_by_every_signature(served: tuple[Run, Loaded]) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    _, loaded = served
    path = loaded.path.joinpath(*serving.WARM_UP)
    seen = []
    for record in tf.compat.v1.io.tf_record_iterator(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "net"
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        outputs = loaded.also(request.model_spec.signature_name)(inputs)
        assert all(np.isfinite(v).all() and len(v) == 1 for v in outputs.values())
        seen.append(request.model_spec.signature_name)
    assert set(seen) == set(loaded.keys)


def test_request_bodies_are_what_the_rest_api_takes(served: tuple[Run, Loaded]) -> None:
    run, loaded = served
    for key in loaded.keys:
        body = json.loads(run.path("bundle", "requests", f"{key}.json").read_text())
        assert body["signature_name"] == key
        (row,) = body["instances"]
        inputs = {
            # The REST API takes binary values so, and nothing but.
            name: np.array([base64.b64decode(v["b64"])], dtype=object) if isinstance(v, dict) else np.array([v])
            for name, v in row.items()
        }
        assert set(inputs) == {t.name for t in loaded.also(key).signature.inputs}
        assert all(np.isfinite(v).all() for v in loaded.also(key)(inputs).values())


def test_a_dimension_of_any_size_has_no_examples(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="input 'x' has a dimension of any size"):
        serving.parser([TensorSpec(name="x", shape=(None, None, 3), dtype="float32")], None)


def test_a_foreign_saved_model_keeps_its_own_signatures(served: tuple[Run, Loaded], tmp_path: Path) -> None:
    from converters import sources

    _, loaded = served
    source = sources.identify(loaded.path)
    with pytest.raises(UsageError, match="--tf-examples is for Keras models"):
        bundle.adopt(Run(tmp_path / "a"), source, examples=True, progress=Progress(quiet=True))


def test_made_up_requests_hold_words_that_the_model_knows() -> None:
    spec = made_up.eight_inputs()
    signature = Signature(key="serving_default", inputs=tuple(spec.inputs()), outputs=())
    found = serving.made_up(signature, spec, 4)
    texts = [bytes(row).rstrip(b"\0").decode() for row in found["payment"]]
    assert texts == ["Cash"] * 4 or set(texts) <= {"Cash", "Crédit", "日本語", "a" * 7}
    assert len(found["company"]) == 4
