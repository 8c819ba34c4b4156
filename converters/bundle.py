"""Makes the ModelBundle of a run: from a model just trained here, or from a file of the user's."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import toolkit
from converters import further, keras_models, saved_model, serving
from converters.legality import FEATURES
from converters.sources import Source
from toolkit import features, parity
from toolkit.errors import BrokenInput, UsageError
from toolkit.features import FeatureSpec
from toolkit.progress import Progress
from toolkit.records import ModelBundle, Signature, from_json
from toolkit.store import Run, key_of, read_json, replacing, sha256_file, sha256_tree, write_json

_PACKAGES = (
    "tensorflow",
    "tf_keras",
    "keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "numpy",
)

_ROUNDS = b"FakeQuantWithMinMax"
"""The operators of quantization-aware training are called so; a graph names each of its operators."""

EXPORT_TOLERANCE = 1e-5
"""Largest output difference between a Keras model and its SavedModel, relative to the outputs' peak: they
run the same float kernels, fused differently."""


def versions() -> dict[str, str]:
    """Versions of everything that decides an artifact's bytes."""
    found = {"edge-export": toolkit.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load(run: Run) -> ModelBundle:
    """The run's bundle.

    Raises:
        BrokenInput: there is none, or it is damaged.
    """
    path = run.path("bundle", "bundle.json")
    if not path.exists():
        raise BrokenInput("has no trained model", where=str(run.root), remedy="run edge-export train or convert first")
    try:
        return from_json(ModelBundle, read_json(path))
    except ValueError as error:
        raise BrokenInput(f"is damaged ({error})", where=str(path), remedy="run the stage again") from error


def create(
    run: Run,
    *,
    name: str,
    keras_file: Path,
    keras_version: int,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    data: Mapping[str, Any] | None = None,
    signatures: Mapping[str, str] | None = None,
    examples: bool = False,
    unsafe: bool = False,
    progress: Progress,
) -> ModelBundle:
    """Exports a Keras file in the run directory to its SavedModel and writes ``bundle.json``.

    Done already for the same Keras file: nothing is done again.

    Args:
        run: the run directory.
        name: the model's.
        keras_file: in the run directory.
        keras_version: 2 or 3.
        seed: of its training.
        options: of its training.
        metrics: of its training.
        data: what it was trained on.
        signatures: further signatures, key to the name of the layer whose output it gives, e.g. ``{"encode": "code"}``.
        examples: give the SavedModel ``serve_tf_examples`` too. Artifacts have no such signature.
        unsafe: let Lambda layers run their code.
        progress: told what is going on.

    Raises:
        BrokenInput: the file cannot be loaded, or has no such layer; its SavedModel answers differently.
    """
    digest = sha256_file(keras_file)
    facts = {
        "name": name,
        "keras_version": keras_version,
        "seed": seed,
        "options": dict(options or {}),
        "metrics": dict(metrics or {}),
        "data": dict(data or {}),
        "versions": versions(),
        # Without any, the key of a run made before there were signatures holds.
        **({"signatures": dict(signatures)} if signatures else {}),
        **({"examples": True} if examples else {}),
    }
    declared = (data or {}).get(FEATURES)
    spec = features.loads(str(declared), format="json", where="the model's features") if declared else None

    def work() -> Iterable[Path]:
        with progress.task("export SavedModel"):
            model = keras_models.load(keras_file, keras_version, unsafe=unsafe)
            _clear(run.path("bundle", "saved_model"))
            version = saved_model.export(
                model,
                run.path("bundle", "saved_model"),
                keras_version=keras_version,
                layers=signatures,
                examples=functools.partial(serving.parser, spec=spec) if examples else None,
                finish=lambda beside: _warm_up(beside, name, spec),
            )
            loaded = saved_model.Loaded(version)
            _same_answers(model, keras_version, loaded)
            others = [loaded.also(key) for key in signatures or {}]
            for other in others:
                part = saved_model.up_to(model, other.key, (signatures or {})[other.key], keras_version=keras_version)
                _same_answers(part, keras_version, other)
            if examples:
                _same_examples(loaded, spec)
            requests = serving.write_requests(run.path("bundle", "requests"), _requests(loaded, spec))
        kept = [other.signature for other in others]
        known = {**facts, "layers": keras_models.kinds(model)}
        left_out = {saved_model.EXAMPLES: "is for the cloud: it takes serialized tf.Examples"} if examples else None
        record = _write(run, version, loaded.signature, digest, run.relative(keras_file), known, kept, left_out)
        return [*record, *requests]

    run.stage("saved-model", key_of({"sha256": digest, **facts}), work)
    return load(run)


def adopt(
    run: Run,
    source: Source,
    *,
    code: Path | None = None,
    unsafe: bool = False,
    examples: bool = False,
    progress: Progress,
) -> ModelBundle:
    """Takes a ``.keras``, ``.h5`` or SavedModel of the user's into the run directory, unchanged.

    ``code`` is the file that defines the model's own layers, as it was given; it is recorded, not run here.

    Raises:
        UsageError: ``examples`` of a SavedModel, which has the signatures that it has.
        BrokenInput: it is a ``.tflite``, or damaged.
    """
    if source.kind in ("keras", "h5"):
        kept = run.path("bundle", "model.keras" if source.kind == "keras" else "model.h5")
        digest = sha256_file(source.path)
        if not kept.exists() or sha256_file(kept) != digest:
            with replacing(kept) as beside:
                shutil.copyfile(source.path, beside)
        assert source.keras_version is not None
        return create(
            run,
            name=source.name,
            keras_file=kept,
            keras_version=source.keras_version,
            options={"code": str(code.resolve()), "code_sha256": sha256_file(code)} if code else None,
            examples=examples,
            unsafe=unsafe,
            progress=progress,
        )
    if source.kind != "saved_model":
        raise BrokenInput(
            "is already a .tflite", where=str(source.path), remedy="convert the Keras model or SavedModel it came from"
        )
    if examples:
        raise UsageError(
            "--tf-examples is for Keras models: a SavedModel keeps its own signatures",
            where=str(source.path),
            remedy="leave it out, or give the Keras file",
        )
    digest = sha256_tree(source.path)

    def work() -> Iterable[Path]:
        with progress.task("read SavedModel"):
            loaded = saved_model.Loaded(source.path)
            _clear(run.path("bundle", "saved_model"))
            version = run.path("bundle", "saved_model", source.path.name if source.path.name.isdigit() else "1")
            with replacing(version) as beside:
                shutil.copytree(source.path, beside)
            kept, left_out = further.choose(loaded)
        facts = {"name": source.name, "versions": versions()}
        return _write(run, version, loaded.signature, digest, None, facts, kept, left_out)

    run.stage("saved-model", key_of({"sha256": digest, "name": source.name}), work)
    bundle = load(run)
    for key, why in bundle.left_out.items():
        progress.warn(f"signature {key} left out: {why}")
    return bundle


def layers(bundle: ModelBundle) -> dict[str, str]:
    """The further signatures of a bundle as :func:`create` was given them: their outputs are named like the layers."""
    return {signature.key: signature.outputs[0].name for signature in bundle.signatures}


def _write(
    run: Run,
    version: Path,
    signature: Signature,
    digest: str,
    keras_file: str | None,
    facts: Mapping[str, Any],
    others: Sequence[Signature],
    left_out: Mapping[str, str] | None = None,
) -> list[Path]:
    bundle = ModelBundle(
        name=facts["name"],
        keras_file=keras_file,
        keras_version=facts.get("keras_version"),
        saved_model=run.relative(version),
        signature=signature,
        sha256=digest,
        seed=facts.get("seed"),
        options=facts.get("options", {}),
        metrics=facts.get("metrics", {}),
        data=facts.get("data", {}),
        versions=facts["versions"],
        signatures=tuple(others),
        left_out=dict(left_out or {}),
        layers=facts.get("layers", {}),
        quantized=_ROUNDS in (version / "saved_model.pb").read_bytes(),
    )
    record = run.path("bundle", "bundle.json")
    write_json(record, bundle)
    return [record, version, *([run.path(keras_file)] if keras_file else [])]


def _requests(loaded: saved_model.Loaded, spec: FeatureSpec | None) -> dict[str, dict[str, np.ndarray]]:
    """A request for each signature of a SavedModel of our own; none where nothing can be made up."""
    try:
        inputs = serving.made_up(loaded.also(saved_model.SIGNATURE).signature, spec)
    except BrokenInput:
        return {}
    made: dict[str, dict[str, np.ndarray]] = {}
    for key in loaded.keys:
        if key == saved_model.EXAMPLES:
            made[key] = {saved_model.EXAMPLES_INPUT: serving.serialized(inputs, spec)}
        else:
            made[key] = {tensor.name: inputs[tensor.name] for tensor in loaded.also(key).signature.inputs}
    return made


def _warm_up(folder: Path, name: str, spec: FeatureSpec | None) -> None:
    serving.write_warm_up(folder, name, _requests(saved_model.Loaded(folder), spec))


def _same_examples(loaded: saved_model.Loaded, spec: FeatureSpec | None) -> None:
    """tf.Examples of some inputs must be answered as the inputs themselves are, to the last bit."""
    inputs = serving.made_up(loaded.signature, spec, 8)
    parsed = loaded.also(saved_model.EXAMPLES)({saved_model.EXAMPLES_INPUT: serving.serialized(inputs, spec)})
    for output, found in parity.compare(loaded(inputs), parsed).items():
        if found.max_abs != 0:
            raise BrokenInput(
                f"{saved_model.EXAMPLES} answers differently (output {output!r}: {parity.describe(found)})"
            )


def _clear(folder: Path) -> None:
    """Versions of an earlier model go, or a server that takes the newest could serve the wrong one."""
    if folder.exists():
        shutil.rmtree(folder)


def _same_answers(model: Any, keras_version: int, loaded: saved_model.Loaded) -> None:
    """Keras model and SavedModel must give the same answers before anything is converted."""
    try:
        inputs = further.seeded_inputs(loaded.signature, 8)
    except BrokenInput:
        return  # inputs that cannot be made up are compared with the user's own in validation
    expected = saved_model.call(model, inputs, keras_version=keras_version)
    for name, found in parity.compare(expected, loaded(inputs)).items():
        if not found.max_abs <= EXPORT_TOLERANCE * max(1.0, found.peak):
            raise BrokenInput(
                f"its SavedModel answers differently (output {name!r}: {parity.describe(found)})",
                remedy="remove randomness and training-only layers from the model's inference path",
            )
