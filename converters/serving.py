"""What a SavedModel needs beside its main signature to be served: tf.Examples, warm-up requests, requests to copy.

TF Serving replays ``assets.extra/tf_serving_warmup_requests`` when it loads a version, before it takes traffic (its
documentation, "SavedModel Warmup"); the records are made of the messages of ``tensorflow-serving-api``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters import further
from converters.saved_model import EXAMPLES
from toolkit.errors import BrokenInput
from toolkit.features import FeatureSpec
from toolkit.features.columns import INT_MAX, MISSING_INT
from toolkit.records import Signature, TensorSpec
from toolkit.store import replacing

WARM_UP = ("assets.extra", "tf_serving_warmup_requests")

_SMALLEST = float(np.finfo(np.float32).tiny)


def parser(inputs: Sequence[TensorSpec], spec: FeatureSpec | None) -> Callable[[Any], dict[str, Any]]:
    """A TensorFlow function from serialized tf.Examples, string ``[N]``, to the model's inputs by name.

    With a spec, features are called like its raw inputs and hold numbers, integers or texts as its columns read them; a
    missing one is a missing value, as :func:`toolkit.features.encode` has it. Without, they are called like the
    model's inputs and hold all values of one sample, row by row; none may be missing.

    Raises:
        BrokenInput: an input has a dimension of any size, which no tf.Example can tell.
    """
    import tensorflow as tf

    sources = {c.tensor: c.source for c in spec.columns} if spec is not None else {}
    asked = {}
    for tensor in inputs:
        asked[sources.get(tensor.name, tensor.name)] = _feature(tensor, spec is not None)

    def parse(examples: Any) -> dict[str, Any]:
        found = tf.io.parse_example(examples, asked)
        return {t.name: _tensor(found[sources.get(t.name, t.name)], t, spec is not None) for t in inputs}

    return parse


def _feature(tensor: TensorSpec, raw: bool) -> Any:
    import tensorflow as tf

    shape = list(tensor.shape[1:])
    if raw:
        kind, gap = {
            "uint8": (tf.string, b""),
            "int32": (tf.int64, MISSING_INT),
            "float32": (tf.float32, float("nan")),
        }[tensor.dtype]
        return tf.io.FixedLenFeature([], kind, gap)
    if None in shape:
        raise BrokenInput(
            f"input {tensor.name!r} has a dimension of any size",
            where=f"signature {EXAMPLES}",
            remedy="leave --tf-examples out, or fix the input's shape",
        )
    if tensor.dtype == "string":
        return tf.io.FixedLenFeature(shape, tf.string)
    return tf.io.FixedLenFeature(shape, tf.float32 if tensor.dtype.startswith(("float", "bfloat")) else tf.int64)


def _tensor(values: Any, tensor: TensorSpec, raw: bool) -> Any:
    import tensorflow as tf

    if not raw:
        return values if values.dtype == tensor.dtype else tf.cast(values, tensor.dtype)
    if tensor.dtype == "uint8":
        return tf.io.decode_raw(values, tf.uint8, fixed_length=tensor.shape[1])
    if tensor.dtype == "int32":
        fits = (values >= MISSING_INT) & (values <= INT_MAX)
        return tf.cast(tf.where(fits, values, MISSING_INT), tf.int32)
    # Runtimes differ on whether a subnormal number equals 0; so none travels.
    return tf.where(tf.abs(values) < _SMALLEST, 0.0, values)


def made_up(signature: Signature, spec: FeatureSpec | None, n: int = 1) -> dict[str, np.ndarray]:
    """Inputs of a request that anybody may see: no sample of the training data is among them.

    Texts are words that the spec knows; all else is as of :func:`converters.further.seeded_inputs`.

    Raises:
        BrokenInput: an input's type cannot be made up.
    """
    from toolkit.features.hashing import padded

    found = further.seeded_inputs(signature, n)
    words = {c.tensor: getattr(c, "vocabulary", None) or () for c in spec.columns} if spec is not None else {}
    for tensor in signature.inputs:
        if spec is None or tensor.dtype != "uint8":
            continue
        known = [str(word).encode() for word in words.get(tensor.name, ()) if isinstance(word, str)] or [b"example"]
        found[tensor.name] = padded([known[i % len(known)] for i in range(n)], int(tensor.shape[1] or 1))
    return found


def serialized(inputs: Mapping[str, np.ndarray], spec: FeatureSpec | None) -> np.ndarray:
    """Samples as serialized tf.Examples, bytes ``[N]``, that :func:`parser` turns into the same inputs again.

    Args:
        inputs: the model's, ``[N, ...]``.
        spec: as the parser's; missing values are left out of the examples.
    """
    import tensorflow as tf

    sources = {c.tensor: c.source for c in spec.columns} if spec is not None else {}
    found = []
    for i in range(len(next(iter(inputs.values())))):
        features = {}
        for name, values in inputs.items():
            value = _value(values[i], spec is not None)
            if value is not None:
                features[sources.get(name, name)] = value
        found.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return np.array(found, dtype=object)


def _value(value: np.ndarray, raw: bool) -> Any:
    import tensorflow as tf

    if value.dtype.kind in "OSU":
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in np.ravel(value).tolist()]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    if raw and value.dtype == np.uint8:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.tobytes().rstrip(b"\0")]))
    if value.dtype.kind == "f":
        if raw and np.isnan(value).any():
            return None
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value).tolist()))
    if raw and (value == MISSING_INT).any():
        return None
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(v) for v in np.ravel(value)]))


def write_warm_up(folder: Path, name: str, requests: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """Writes the warm-up requests of a SavedModel, one for each signature.

    Args:
        folder: of the version, before it gets its name.
        name: of the model, as it will be served.
        requests: inputs ``[N, ...]`` by signature and name.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder.joinpath(*WARM_UP)
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for key, inputs in requests.items():
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = name, key
            for input_name, values in inputs.items():
                request.inputs[input_name].CopyFrom(tf.make_tensor_proto(values, shape=values.shape))
            writer.write(log.SerializeToString())
    return path


def write_requests(folder: Path, requests: Mapping[str, Mapping[str, np.ndarray]]) -> list[Path]:
    """Writes ``folder/SIGNATURE.json``, each a body for TF Serving's REST predict call.

    curl -d @serving_default.json http://localhost:8501/v1/models/NAME:predict
    """
    made = []
    for key, inputs in requests.items():
        count = len(next(iter(inputs.values())))
        rows = [{name: _json(values[i]) for name, values in inputs.items()} for i in range(count)]
        path = folder / f"{key}.json"
        with replacing(path) as beside:
            beside.write_text(json.dumps({"signature_name": key, "instances": rows}, indent=1) + "\n", encoding="utf-8")
        made.append(path)
    return made


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
        return [_json(v) for v in value]
    return np.asarray(value).tolist()
