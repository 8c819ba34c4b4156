"""What decides a trained model, besides its data. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of a training run.

    Args:
        variant: which architecture of the family.
        epochs: passes over the training split, at least 1; ``None``: the architecture's own.
        batch_size: samples per step, at least 1.
        learning_rate: of Adam, above 0.
        dropout: share of hidden outputs dropped, 0 up to but not 1.
        l1: penalty on kernels' absolute values, at least 0.
        l2: penalty on kernels' squares, at least 0.
        early_stopping: epochs without a better validation loss before stopping; ``None``: never.
        seed: of everything random.

    Raises:
        UsageError: a value out of range.
    """

    variant: str
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    early_stopping: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"--epochs {self.epochs} trains nothing", remedy="give at least 1")
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size} is no batch", remedy="give at least 1")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UsageError(f"--learning-rate {self.learning_rate:g} is out of range", remedy="give a number above 0")
        if not 0 <= self.dropout < 1:
            learns = "learns nothing" if self.dropout == 1 else "is out of range"
            raise UsageError(f"--dropout {self.dropout:g} {learns}", remedy="give a share from 0 up to, but not, 1")
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"--{name} {value:g} is out of range", remedy="give a number from 0")
        if self.early_stopping is not None and self.early_stopping < 1:
            raise UsageError(f"--early-stopping {self.early_stopping} is no patience", remedy="give at least 1 epoch")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed} is out of range", remedy="give a whole number from 0 to 4294967295")
