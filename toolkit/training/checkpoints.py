"""Where a distributed training can be taken up again: weights, optimizer, random numbers, history, early stopping."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.store import disk_errors, remove

KEPT = 2
"""Checkpoints kept: a worker that died while saving is at most one epoch behind."""

_FINISHED = "finished"


class Checkpoints:
    """The state after every epoch, of one worker.

    Args:
        folder: this worker's own.
        key: of all that decides the weights: a checkpoint of another training is not taken up.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._all = folder
        self._folder = folder / key[:16]
        self._notes: Any = None
        self._manager: Any = None

    def epochs(self) -> list[int]:
        """Epochs that there are whole checkpoints of."""
        import tensorflow as tf

        state = tf.train.get_checkpoint_state(str(self._folder))
        found = [Path(name).name for name in state.all_model_checkpoint_paths] if state else []
        return [int(n.rpartition("-")[2]) for n in found if (self._folder / f"{n}.index").exists()]

    @property
    def finished(self) -> bool:
        """Whether the training is over, on all workers: what is left to do, each does alone."""
        return (self._folder / _FINISHED).exists()

    def finish(self) -> None:
        """Notes that it is over. Only after every worker has saved its last epoch: none will be needed again."""
        with disk_errors(self._folder):
            (self._folder / _FINISHED).touch()

    def remove(self) -> None:
        """Removes all of them."""
        remove(self._all)

    def open(self, model: Any, epoch: int, *, stopping: Any = None) -> bool:
        """Brings ``model`` (compiled, its optimizer's variables made) to where it was after ``epoch``, if above 0.

        Args:
            model: whose state is saved from now on by :meth:`callback`.
            epoch: one of :meth:`epochs`, or 0.
            stopping: Keras's ``EarlyStopping`` of the training, if there is one; brought there by :meth:`callback`.

        Returns:
            Whether early stopping had ended the training by then.
        """
        import tensorflow as tf

        self._notes = _notes(model, stopping)
        saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer, notes=self._notes)
        self._manager = tf.train.CheckpointManager(saved, str(self._folder), max_to_keep=KEPT)
        if epoch:
            path = next(p for p in self._manager.checkpoints if p.endswith(f"-{epoch}"))
            saved.restore(path).assert_existing_objects_matched()
        return bool(self._notes.stopped)

    @property
    def history(self) -> dict[str, list[float]]:
        """Of all epochs so far, whenever they were."""
        return {name: list(values) for name, values in self._notes.history.items()}

    @property
    def best_weights(self) -> list[np.ndarray] | None:
        """Those that early stopping would go back to, without early stopping ``None``."""
        found: list[np.ndarray] | None = self._notes.state.get("best_weights")
        return found

    def callback(self) -> Any:
        """Saves after every epoch; must come after the callbacks that change the logs or stop the training."""
        import tf_keras

        notes, manager = self._notes, self._manager

        class Saver(tf_keras.callbacks.Callback):
            def on_train_begin(self, logs: Any = None) -> None:
                notes.put()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                for name, value in (logs or {}).items():
                    notes.history.setdefault(name, []).append(float(value))
                notes.take(stopped=self.model.stop_training)
                with disk_errors(Path(manager.directory)):
                    manager.save(checkpoint_number=epoch + 1)

        return Saver()


def _random_states(model: Any) -> list[Any]:
    """Variables int64 ``[3]``: where the model's random layers are in their numbers, on each replica of this process.

    Keras leaves them out of a checkpoint, and TensorFlow would save those of the first replica for all of them.
    """
    layers = [getattr(layer, "_random_generator", None) for layer in model._flatten_layers()]
    found = [getattr(generator, "_generator", None) for generator in layers]
    states = [generator._state_var for generator in found if generator is not None]
    return [one for state in states for one in getattr(state, "values", [state])]


def _notes(model: Any, stopping: Any) -> Any:
    """What is saved beside tensors: ``history``, ``stopped``, random numbers, and the ``state`` of early stopping."""
    import tensorflow as tf

    names = ("best", "best_epoch", "wait", "stopped_epoch")

    class Notes(tf.train.experimental.PythonState):
        def __init__(self) -> None:
            self.history: dict[str, list[float]] = {}
            self.stopped = False
            self.state: dict[str, Any] = {}

        def take(self, *, stopped: bool) -> None:
            self.stopped = bool(stopped)
            if stopping is not None:
                self.state = {name: getattr(stopping, name) for name in (*names, "best_weights")}

        def put(self) -> None:
            for name, value in self.state.items():
                setattr(stopping, name, value)

        def serialize(self) -> bytes:
            weights: Sequence[np.ndarray] = self.state.get("best_weights") or ()
            plain = {name: float(self.state[name]) for name in names if name in self.state}
            random = [state.numpy().tolist() for state in _random_states(model)]
            text = json.dumps([self.history, self.stopped, plain, random])
            stream = io.BytesIO()
            np.savez(stream, *weights, text=np.frombuffer(text.encode(), np.uint8))
            return stream.getvalue()

        def deserialize(self, string_value: bytes) -> None:
            with np.load(io.BytesIO(string_value)) as found:
                self.history, self.stopped, self.state, random = json.loads(found["text"].tobytes())
                if self.state:
                    self.state["best_weights"] = [found[f"arr_{i}"] for i in range(len(found.files) - 1)]
            # On another number of replicas than before the numbers differ anyway.
            for variable, value in zip(_random_states(model), random, strict=False):
                variable.assign(value)

    return Notes()
