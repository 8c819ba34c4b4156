"""What every device can do: answer inputs, time a model, and say what it is like. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from toolkit.errors import BrokenInput, DeviceError

if TYPE_CHECKING:
    import numpy as np

    from toolkit.records import Failure, Plan, ProcessRun, Target


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model put out on a device, by output name, samples along the first axis.

    ``raw`` is as the model gave it; ``outputs`` holds real values: (q - zero_point) · scale where the tensor is
    quantized, float32. ``delegated_ops`` is (taken by the delegate, all) or ``None`` with
    ``provenance["delegation_unknown"]``. ``seconds`` is the time of the inferences, not of the process.
    """

    outputs: dict[str, np.ndarray]
    raw: dict[str, np.ndarray]
    delegated_ops: tuple[int, int] | None
    partitions: int | None
    seconds: float
    provenance: dict[str, Any] = field(default_factory=dict)


class Timed(NamedTuple):
    """One fresh process's timing and what ran there."""

    run: ProcessRun
    delegated_ops: tuple[int, int] | None
    partitions: int | None
    provenance: dict[str, Any]


class RunnerFailed(DeviceError):
    """A runner that crashed, hung, refused the model or left a result nobody can read."""

    def __init__(self, failure: Failure, *, where: str = "", remedy: str = "") -> None:
        self.failure = failure
        super().__init__(failure.message, where=where, remedy=remedy)


class NoAnswers(DeviceError):
    """A runner that times a model and gives out nothing of what it answers."""


class Device(Protocol):
    """One place where models run. A later transport or accelerator is one more class with these four."""

    target: Target

    def answer(
        self, model: Path, inputs: Mapping[str, np.ndarray], *, batch: int = 64, signature: str | None = None
    ) -> Answer:
        """Outputs for ``inputs`` (by name, samples along the first axis), the same bits whatever ``batch`` is.

        A single input may go without a name (``""``): it is the model's only one, whatever that is called.

        Raises:
            BrokenInput: no such model or no intact one; names, shapes or dtypes do not fit it.
            DeviceError: the device cannot run it, or its runner died.
        """

    def time(
        self,
        model: Path,
        inputs: Mapping[str, np.ndarray] | None,
        plan: Plan,
        *,
        round: int,
        signature: str | None = None,
    ) -> Timed:
        """One fresh process's share of ``plan``; without ``inputs``, eight seeded ones. Raises as :meth:`answer`."""

    def conditions(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Readings of this moment, and why the missing ones could not be taken."""


def check_tflite(model: Path) -> None:
    """Refuses what is clearly no .tflite file before a process is spent on it.

    Raises:
        BrokenInput: missing, unreadable, empty or without the TFL3 mark.
    """
    try:
        with open(model, "rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise BrokenInput(
            f"cannot be read ({error.strerror})", where=str(model), remedy="give the path of a .tflite file"
        ) from error
    if head[4:8] != b"TFL3":
        what = "is not a TFLite model (no TFL3 mark)" if head else "is empty"
        raise BrokenInput(what, where=str(model), remedy="give a .tflite file")
