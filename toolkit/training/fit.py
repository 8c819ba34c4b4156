"""A training run: reproducible, reported epoch by epoch, watched, stopped when it diverges."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import toolkit.models
from toolkit.datasets._dataset import Dataset
from toolkit.errors import CheckFailed, UsageError
from toolkit.features import wide
from toolkit.models import Blueprint, Task, user
from toolkit.progress import Progress
from toolkit.progress import Task as Bar
from toolkit.records import TensorSpec, to_json
from toolkit.store import key_of, remove, sha256_file
from toolkit.tables.steps import steps as steps_of
from toolkit.training import distribution, embeddings, health, keras_file, loops, optimizers, sparsity, tasks
from toolkit.training.checkpoints import Checkpoints
from toolkit.training.feeding import Feed
from toolkit.training.options import TrainingOptions

VALIDATION_SHARE = 0.1
"""Share of the training split that early stopping watches; evaluation is never looked at."""

PROBED = 512
"""Training samples by which the health of a training is watched."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training left.

    ``metrics`` are those of :func:`toolkit.training.tasks.evaluate` on the evaluation split, and ``epochs``, those that
    were run. ``history`` includes penalties. ``weights_sha256`` is
    :func:`toolkit.training.keras_file.weights_digest` of the model. ``facts`` is what the report tells beside:
    ``sparsity`` of every kernel, ``health`` as of :func:`toolkit.training.health.monitor`.
    """

    keras_file: Path
    metrics: dict[str, float]
    history: dict[str, list[float]]
    versions: dict[str, str]
    weights_sha256: str
    facts: dict[str, Any] = field(default_factory=dict)


def train(
    model_name: str,
    dataset: Dataset,
    options: TrainingOptions,
    *,
    out: Path,
    logs: Path,
    maps: Path | None = None,
    progress: Progress,
) -> Trained:
    """Trains one model. The same options and data give the same weights, bit for bit, on one machine.

    Args:
        model_name: family, e.g. ``"mnist"``.
        dataset: what it learns from and is evaluated on; of a table, encoded.
        options: everything else that decides the weights.
        out: where the ``.keras`` file goes, whole or not at all; equal weights give equal bytes.
        logs: folder for TensorBoard events.
        maps: folder for pictures of what was learned (:mod:`toolkit.training.embeddings`); ``None``: none are made.
        progress: told about every epoch.

    Raises:
        UsageError: unknown family or architecture, or too few samples to stop early by.
        CheckFailed: the loss became NaN or infinite, or the training is unhealthy and was to be stopped then.
        MissingError: a file cannot be written, or another worker cannot be reached.
    """
    plan = _Plan.of(model_name, dataset, options)

    def build() -> tuple[Any, bool]:
        model = toolkit.models.load(model_name).build(plan.blueprint)
        logits = plan.task.kind == "classification" and tasks.gives_logits(model, plan.feed.inputs)
        model.compile(
            optimizer=optimizers.build(model, options, plan.optimizer),
            loss=tasks.loss(plan.task, logits=logits),
            metrics=tasks.metrics(plan.task),
        )
        return model, logits

    saved = Checkpoints(out.parent / "checkpoints", key_of([model_name, *_same(dataset, options).values()]))
    with progress.task(f"train {model_name} {options.variant}", total=plan.epochs) as bar:
        if options.strategy == "none":
            remove(logs)
            seed_everything(options.seed)
            model, logits = build()
            history, vitals = _run(model, plan, options, logs, bar, progress)
        else:
            vitals = {}
            if not saved.finished:
                vitals = _together(build, plan, options, saved, _same(dataset, options), logs, bar, progress)
            # A model of this process alone: whatever is done with it needs no other worker.
            seed_everything(options.seed)
            model, logits = build()
            saved.open(model, max(saved.epochs()))
            if saved.best_weights is not None:
                model.set_weights(saved.best_weights)
            history = saved.history
    must_be_finite(model, options.learning_rate)
    zeros = sparsity.of(model)
    if maps is not None:
        embeddings.export(
            model,
            codes=toolkit.models.variant(model_name, options.variant).codes,
            samples=dataset.evaluation(),
            folder=maps,
            logs=logs / "projector",
            classes=dataset.facts.get("classes"),
            seed=options.seed,
        )
    if options.wide_table != "dense":
        model = wide.compact(model, wide.FLOAT32_BYTES if options.wide_table == "sparse" else wide.INT8_BYTES)
    keras_file.save(_bare(model), out)
    found = tasks.evaluate(model, dataset.evaluation(), plan.task, logits=logits)
    why = tasks.clueless(found, dataset.evaluation(), plan.task)
    if why:
        progress.warn(
            f"the model learned nothing: {why}; "
            f"try another learning rate (it was {options.learning_rate:g}) or weaker penalties"
        )
    saved.remove()
    return Trained(
        keras_file=out,
        metrics={**found, "epochs": float(len(history["loss"]))},
        history=history,
        versions=_versions(),
        weights_sha256=keras_file.weights_digest(model),
        facts={"sparsity": zeros, "health": vitals},
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What options and data come to."""

    blueprint: Blueprint
    task: Task
    optimizer: str
    feed: Feed
    held: tuple[dict[str, np.ndarray], np.ndarray] | None
    epochs: int
    steps: int

    @classmethod
    def of(cls, name: str, dataset: Dataset, options: TrainingOptions) -> _Plan:
        family, variant = toolkit.models.load(name), toolkit.models.variant(name, options.variant)
        split, task = dataset.train(), tasks.of(dataset, family)
        inputs, wanted, held = split.inputs, tasks.targets(split, task), None
        if options.early_stopping is not None or options.evaluations is not None:
            inputs, wanted, held = _held_back(split.inputs, wanted, options.seed)
        feed = Feed(inputs=inputs, labels=wanted, batch_size=options.batch_size, seed=options.seed)
        epochs, steps = options.epochs or variant.epochs, feed.steps_per_pass
        if options.train_examples is not None and options.evaluations is not None:
            found = steps_of(options.train_examples, options.evaluations, options.batch_size)
            epochs, steps = found.epochs, found.steps_per_epoch
        blueprint = Blueprint(
            variant=options.variant,
            task=task,
            layers=options.layers,
            spec=dataset.spec,
            inputs=tuple(
                TensorSpec(name=n, shape=(None, *v.shape[1:]), dtype=v.dtype.name) for n, v in dataset.inputs.items()
            ),
            module=options.module,
        )
        return cls(
            blueprint=blueprint,
            task=task,
            optimizer=options.optimizer or str(getattr(family, "OPTIMIZER", "adam")),
            feed=feed,
            held=held,
            epochs=epochs,
            steps=steps,
        )


def _together(
    build: Callable[[], tuple[Any, bool]],
    plan: _Plan,
    options: TrainingOptions,
    saved: Checkpoints,
    same: Mapping[str, str],
    logs: Path,
    bar: Bar,
    progress: Progress,
) -> dict[str, Any]:
    """Trains on several replicas, from the latest epoch that all workers have; leaves the last one in ``saved``.

    Returns the record of its health.
    """
    first = distribution.common_epoch(options.strategy, saved.epochs(), same, progress.say)
    with distribution.lost_workers():
        strategy = distribution.strategy(options.strategy)
        progress.say(f"strategy {options.strategy}: replicas {strategy.num_replicas_in_sync}")
        if first:
            progress.say(f"training goes on after epoch {first}")
            bar.advance(first)
        else:
            remove(logs)
        seed_everything(options.seed)
        with strategy.scope():
            model, _ = build()
            _, vitals = _run(model, plan, options, logs, bar, progress, strategy=strategy, first=first, saved=saved)
        # Nobody goes on before everybody has saved the last epoch.
        distribution.mean(strategy, 0.0)
    saved.finish()
    return vitals


def _run(
    model: Any,
    plan: _Plan,
    options: TrainingOptions,
    logs: Path,
    bar: Bar,
    progress: Progress,
    *,
    strategy: Any = None,
    first: int = 0,
    saved: Checkpoints | None = None,
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Takes the loop and the callbacks that the options ask for, and trains; history, and the record of its health."""
    import tf_keras

    callbacks: list[Any] = []
    if plan.held is not None:
        callbacks.append(_validation(model, plan.held, strategy))
    callbacks += [
        tf_keras.callbacks.TensorBoard(str(logs), update_freq="epoch", write_graph=False, profile_batch=0),
        epoch_reporter(bar, options.learning_rate),
    ]
    watch = _watch(model, plan.feed, options, logs, progress)
    callbacks.append(watch)
    stopping = None
    if options.early_stopping is not None:
        stopping = tf_keras.callbacks.EarlyStopping(
            "val_loss", patience=options.early_stopping, restore_best_weights=True
        )
        callbacks.append(stopping)
    if saved is not None:
        if saved.open(model, first, stopping=stopping) or first >= plan.epochs:
            return saved.history, {}
        callbacks.append(saved.callback())
    given: dict[str, Any] = {
        "epochs": plan.epochs,
        "steps": plan.steps,
        "callbacks": callbacks,
        "metrics": tasks.metrics(plan.task),
    }
    if options.loop == "custom":
        history = loops.custom(model, plan.feed, **given)
    else:
        history = loops.fit(model, plan.feed, first_epoch=first, strategy=strategy, **given)
    return history, watch.record()


def _watch(model: Any, feed: Feed, options: TrainingOptions, logs: Path, progress: Progress) -> Any:
    """The callback that watches the training's health, by some of the training samples."""
    rows = np.random.default_rng(options.seed).permutation(len(feed.labels))[:PROBED]
    return health.monitor(
        model,
        loss=model.loss,
        probe=feed.take(rows),
        logs=logs,
        warn=progress.warn,
        stop=options.stop_on_unhealthy,
        learning_rate=options.learning_rate,
    )


def _bare(model: Any) -> Any:
    """The model without optimizer and loss, which would double its file: it is taken up by weights alone."""
    import tf_keras

    return tf_keras.Model(model._nested_inputs, model._nested_outputs, name=model.name)


def decisive(options: TrainingOptions) -> dict[str, Any]:
    """The options as JSON, with the content of the user's file in place of its name: equal ones train alike."""
    found: dict[str, Any] = to_json(options)
    if options.module is not None:
        path, function = user.split(options.module)
        found["module"] = [sha256_file(path), function]
    return found


def _same(dataset: Dataset, options: TrainingOptions) -> dict[str, str]:
    """Digests of what all workers must have in common, by what a message calls it."""
    versions = {name: version for name, version in _versions().items() if name != "python"}
    return {
        "set of options": key_of(decisive(options)),
        "data set": key_of({k: v for k, v in dataset.describe().items() if k != "source"}),
        "set of versions": key_of(versions),
    }


def seed_everything(seed: int) -> None:
    """Makes what follows independent of what this process did before: seeds Python, numpy and TensorFlow."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)


def epoch_reporter(task: Bar, learning_rate: float) -> Any:
    """A Keras callback that advances ``task`` by one per epoch, with the losses beside the bar.

    It raises :class:`CheckFailed` out of ``fit`` when a loss is no number any more. (``TerminateOnNaN``
    says so on stdout, which belongs to results, and the weights it leaves are damaged all the same.)
    """
    import tf_keras

    class Reporter(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            found = logs or {}
            task.advance(note=" ".join(f"{k} {v:.4f}" for k, v in found.items()))
            if not math.isfinite(found.get("loss", 0.0)):
                raise CheckFailed(
                    f"the loss became {found['loss']} in epoch {epoch + 1}",
                    where="training",
                    remedy=f"lower the learning rate (it was {learning_rate:g})",
                )

    return Reporter()


def must_be_finite(model: Any, learning_rate: float) -> None:
    """Raises :class:`CheckFailed` if a weight is no number: the last step can diverge behind a finite loss."""
    for variable in model.weights:
        if not np.isfinite(variable.numpy()).all():
            raise CheckFailed(
                f"weights of {variable.name} became NaN or infinite",
                where="training",
                remedy=f"lower the learning rate (it was {learning_rate:g})",
            )


def _validation(model: Any, held: tuple[dict[str, np.ndarray], np.ndarray], strategy: Any) -> Any:
    """A callback that adds ``val_loss`` (without penalties) to the logs, the same in every loop and on every worker."""
    import tf_keras

    inputs, wanted = held

    class Validation(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if logs is not None:
                loss = float(np.mean(model.loss.call(wanted, tasks.answers(model, inputs))))
                logs["val_loss"] = distribution.mean(strategy, loss)

    return Validation()


def _held_back(inputs: Mapping[str, np.ndarray], wanted: np.ndarray, seed: int) -> tuple[Any, Any, Any]:
    if len(wanted) < 2:
        raise UsageError("one sample is too few to stop early by", remedy="leave --early-stopping out")
    order = np.random.default_rng(seed).permutation(len(wanted))
    cut = max(1, int(len(wanted) * VALIDATION_SHARE))
    kept, held = order[cut:], order[:cut]

    def take(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[rows] for name, values in inputs.items()}

    return take(kept), wanted[kept], (take(held), wanted[held])


def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("tensorflow", "tf_keras", "numpy")}
    return {"python": platform.python_version(), **found}
