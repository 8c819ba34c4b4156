"""When a model's health is looked at, and who is told: the user, TensorBoard, the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import CheckFailed
from toolkit.serial import to_json
from toolkit.training.health import Finding, diagnose, no_number
from toolkit.training.health_probe import Probe, Vitals

PROBED_BATCHES = (1, 10, 100)
"""Of the first epoch: what goes wrong at once should not wait for its end."""


class Watch:
    """The course of a model's health: takes loss and probes, warns, writes. See :func:`health.monitor`."""

    def __init__(
        self,
        probe: Probe,
        *,
        logs: Path,
        warn: Callable[[str], None],
        stop: bool,
        learning_rate: float,
    ) -> None:
        self.findings: list[Finding] = []
        self._probe, self._logs, self._warn, self._stop, self._rate = probe, logs, warn, stop, learning_rate
        self._course: list[Vitals] = []
        self._largest: str | None = None
        self._writer: Any = None
        self._epoch, self._epochs_steps, self._step = 0, 0, 0

    def begin(self) -> None:
        """Before the first step."""
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(self._logs / "health"))
        self._look()

    def epoch_begins(self) -> None:
        """Counts epochs by themselves: their numbers start anywhere when training goes on."""
        self._epoch += 1
        self._epochs_steps = self._step

    def batch_ended(self, batch: int, logs: Mapping[str, Any] | None) -> None:
        """``batch`` counts from 0."""
        self._step = self._epochs_steps + batch + 1
        self._must_be_number(logs, batch + 1)
        if self._epoch == 1 and batch + 1 in PROBED_BATCHES:
            self._look(batch + 1)

    def epoch_ended(self, logs: Mapping[str, Any] | None) -> None:
        """The loss is looked at again: not everyone who trains reports batches."""
        self._must_be_number(logs, None)
        self._look(ended_epoch=True)

    def end(self) -> None:
        """Closes TensorBoard's file."""
        self._writer.close()

    def record(self) -> dict[str, Any]:
        """Findings and the last probe as plain JSON values; empty before the first."""
        if not self._course:
            return {}
        now = self._course[-1]
        return to_json(
            {
                "epoch": now.epoch,
                "step": now.step,
                "gradient_norm": now.gradients,
                "gradient_over_weights": now.relative,
                "arriving_gradient_norm": now.arriving,
                "dead_relu_share": now.dead,
                "zero_share": now.zeros,
                "findings": self.findings,
            }
        )

    def _look(self, batch: int | None = None, *, ended_epoch: bool = False) -> None:
        now = self._probe.look(epoch=self._epoch, step=self._step, ended_epoch=ended_epoch)
        # An epoch of 10 batches ends where a probe has just been: the same state twice is no trend.
        earlier = self._course
        if earlier and earlier[-1].step == now.step:
            earlier.pop()
        else:
            self._write(now)
        self._largest = now.largest or self._largest
        self._finite(now.loss, batch)
        found = diagnose(now, earlier, self._rate)
        earlier.append(now)
        self._tell(found)

    def _must_be_number(self, logs: Mapping[str, Any] | None, batch: int | None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None:
            self._finite(float(loss), batch)

    def _finite(self, loss: float, batch: int | None) -> None:
        if math.isfinite(loss):
            return
        found = no_number(loss, epoch=self._epoch, batch=batch, largest=self._largest, learning_rate=self._rate)
        self.findings.append(found)
        raise CheckFailed(found.line)

    def _tell(self, found: list[Finding]) -> None:
        said = {(f.kind, f.layer) for f in self.findings}
        new = [f for f in found if (f.kind, f.layer) not in said]
        self.findings += new
        for finding in new[self._stop :]:
            self._warn(finding.line)
        if new and self._stop:
            raise CheckFailed(new[0].line)

    def _write(self, now: Vitals) -> None:
        import tensorflow as tf

        charts = {
            "gradient_norm": now.gradients,
            "gradient_over_weights": now.relative,
            "arriving_gradient_norm": now.arriving,
            "dead_relu_share": now.dead,
            "zero_share": now.zeros,
        }
        with self._writer.as_default():
            tf.summary.scalar("loss", now.loss, step=now.step)
            for chart, numbers in charts.items():
                for name, number in numbers.items():
                    if number is not None:
                        tf.summary.scalar(f"{chart}/{name}", number, step=now.step)
        # A run that is stopped or killed keeps what led to it.
        self._writer.flush()


def watching(
    model: Any,
    *,
    loss: Callable[[Any, Any], Any],
    probe: tuple[Mapping[str, np.ndarray], np.ndarray],
    **options: Any,
) -> Any:
    """The callback of :func:`toolkit.training.health.monitor`; ``options`` are :class:`Watch`'s."""
    import tf_keras

    watch = Watch(Probe(model, loss, *probe), **options)

    class Health(tf_keras.callbacks.Callback):
        # Else Keras turns all of a batch's metrics into numbers, to have one looked at.
        _supports_tf_logs = True
        findings = watch.findings
        record = staticmethod(watch.record)

        def on_train_begin(self, logs: Any = None) -> None:
            watch.begin()

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            watch.epoch_begins()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            watch.batch_ended(batch, logs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            watch.epoch_ended(logs)

        def on_train_end(self, logs: Any = None) -> None:
            watch.end()

    return Health()
