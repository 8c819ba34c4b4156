"""What decides a trained model, besides its data. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from toolkit.errors import UsageError, unknown_name
from toolkit.models import Layers

OPTIMIZERS = ("adam", "sgd", "ftrl+adam")
"""What ``--optimizer`` can be; see :mod:`toolkit.training.optimizers`."""

LOOPS = ("fit", "custom")
WIDE_TABLES = ("auto", "dense", "sparse")
STRATEGIES = ("none", "mirrored", "multi-worker")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of a training run.

    Args:
        variant: which architecture of the family.
        epochs: passes over the training split, at least 1; ``None``: the architecture's own.
        batch_size: samples per step, at least 1, over all replicas together.
        learning_rate: of Adam or SGD, above 0.
        optimizer: one of :data:`OPTIMIZERS`; ``None``: the family's own.
        wide_learning_rate: of FTRL; ``None``: min(0.2, 1 / sqrt(wide columns)).
        wide_l1: L1 of FTRL, at least 0: a weight whose gradients sum up to less stays exactly 0.
        wide_table: how the wide weights are stored: ``dense``; ``sparse``, those that are not 0, if that makes the
            float32 file smaller; ``auto``, sparse if that makes the file of every recipe smaller.
        activation, dropout, l1, l2, max_norm, batch_norm, noise, augment: see :class:`toolkit.models.Layers`.
        proximal: apply ``l1`` after each step, exactly, instead of as a penalty: weights become exactly 0.
        early_stopping: epochs without a better validation loss before stopping; ``None``: never.
        train_examples: rows trained on in all; ``None``: ``epochs`` passes.
        evaluations: how often the training is evaluated on the way, with ``train_examples``.
        loop: ``fit``, or ``custom``: the same steps by a loop of our own.
        strategy: ``none``, ``mirrored`` over this machine's devices, or ``multi-worker`` as TF_CONFIG says.
        stop_on_unhealthy: end the training at the first finding of :mod:`toolkit.training.health`.
        module: ``FILE.py:FUNCTION`` of the user's own model.
        seed: of everything random.

    Raises:
        UsageError: a value out of range, or options that exclude each other.
    """

    variant: str
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: str | None = None
    wide_learning_rate: float | None = None
    wide_l1: float | None = None
    wide_table: str = "auto"
    activation: str = "relu"
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    batch_norm: bool = False
    noise: float = 0.0
    augment: bool = False
    proximal: bool = False
    early_stopping: int | None = None
    train_examples: int | None = None
    evaluations: int | None = None
    loop: str = "fit"
    strategy: str = "none"
    stop_on_unhealthy: bool = False
    module: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", self.layers.activation)
        if not 0 <= self.dropout < 1:
            learns = "learns nothing" if self.dropout == 1 else "is out of range"
            raise UsageError(f"--dropout {self.dropout:g} {learns}", remedy="give a share from 0 up to, but not, 1")
        for option in ("learning_rate", "wide_learning_rate", "max_norm"):
            self._need(option, lambda value: value > 0, "give a number above 0")
        for option in ("l1", "l2", "noise", "wide_l1"):
            self._need(option, lambda value: value >= 0, "give a number from 0")
        for option, remedy in (
            ("epochs", "trains nothing; give at least 1"),
            ("batch_size", "is no batch; give at least 1"),
            ("early_stopping", "is no patience; give at least 1 epoch"),
            ("train_examples", "trains nothing; give at least 1"),
            ("evaluations", "is no number of evaluations; give at least 1"),
        ):
            value = getattr(self, option)
            if value is not None and value < 1:
                what, _, mend = remedy.partition("; ")
                raise UsageError(f"{_flag(option)} {value} {what}", remedy=mend)
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed} is out of range", remedy="give a whole number from 0 to 4294967295")
        for option, known in (
            ("optimizer", OPTIMIZERS),
            ("loop", LOOPS),
            ("strategy", STRATEGIES),
            ("wide_table", WIDE_TABLES),
        ):
            value = getattr(self, option)
            if value is not None and value not in known:
                raise unknown_name(option.replace("_", " "), value, known)
        self._check_together()

    @property
    def layers(self) -> Layers:
        """Those options that families build their hidden layers by.

        With ``proximal`` the optimizer has ``l1``, and the layers have none.
        """
        values = {field.name: getattr(self, field.name) for field in fields(Layers)}
        return Layers(**{**values, "l1": 0.0} if self.proximal else values)

    def _need(self, option: str, fits: Callable[[float], bool], remedy: str) -> None:
        value = getattr(self, option)
        if value is not None and not (math.isfinite(value) and fits(value)):
            raise UsageError(f"{_flag(option)} {value:g} is out of range", remedy=remedy)

    def _check_together(self) -> None:
        if self.proximal and not self.l1:
            raise UsageError("--proximal has no penalty to apply", remedy="give --l1, e.g. --l1 1e-4")
        if (self.train_examples is None) != (self.evaluations is None):
            raise UsageError("--train-examples and --evaluations belong together", remedy="give both, or neither")
        if self.train_examples is not None and self.epochs is not None:
            raise UsageError("--epochs and --train-examples exclude each other", remedy="give one of them")
        if self.strategy != "none" and self.loop == "custom":
            raise UsageError("--loop custom runs on one device", remedy="leave --strategy or --loop out")


def _flag(option: str) -> str:
    return "--" + {"noise": "gaussian-noise"}.get(option, option.replace("_", "-"))
