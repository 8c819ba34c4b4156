"""What a family is asked to build: the task, the layers' options and, for tables, the columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolkit.errors import UsageError, unknown_name
from toolkit.records import TensorSpec

if TYPE_CHECKING:  # a list of models must not wait for numpy
    from toolkit.features import FeatureSpec

ACTIVATIONS = (
    "linear",
    "sigmoid",
    "tanh",
    "relu",
    "leaky-relu",
    "prelu",
    "elu",
    "selu",
    "gelu",
    "softplus",
    "swish",
    "relu6",
)
"""What hidden layers can be followed by; all of them become builtin TFLite operators."""

LEAKY_SLOPE = 0.2
"""Slope of leaky ReLU below 0, as in tf.nn.leaky_relu."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Options of the hidden layers, the same for every family.

    Args:
        activation: one of :data:`ACTIVATIONS`; ``_`` may stand for ``-``.
        dropout: share of a hidden layer's outputs dropped in training, 0 up to but not 1.
        l1: penalty on kernels' absolute values.
        l2: penalty on kernels' squares.
        max_norm: largest Euclidean norm of the weights into a unit; ``None``: unbounded.
        batch_norm: normalise a hidden layer's outputs over the batch, before the activation.
        noise: standard deviation of Gaussian noise on the hidden layers' outputs in training.
        augment: shift, turn and zoom images in training.

    Raises:
        UsageError: an unknown activation.
    """

    activation: str = "relu"
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    batch_norm: bool = False
    noise: float = 0.0
    augment: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", self.activation.replace("_", "-"))
        if self.activation not in ACTIVATIONS:
            raise unknown_name("activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted.

    ``kind`` is ``classification`` (``classes`` of them), ``regression`` (of labels with mean ``centre`` and standard
    deviation ``spread``, both of the training split, in label units) or ``reconstruction`` of the input.
    """

    kind: str
    label: str = "label"
    classes: int = 0
    centre: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """All that decides an untrained model.

    Args:
        variant: one of the family's.
        task: what is predicted.
        layers: options of the hidden layers.
        spec: the adapted columns of a table, ``None`` for other data.
        inputs: name, shape without the batch and dtype of the arrays that the model is trained on.
        module: ``PATH.py:FUNCTION`` of the user's own model.
    """

    variant: str
    task: Task
    layers: Layers = field(default_factory=Layers)
    spec: FeatureSpec | None = None
    inputs: tuple[TensorSpec, ...] = ()
    module: str | None = None

    def require_spec(self, family: str) -> FeatureSpec:
        """The columns, of a family that is nothing without.

        Raises:
            UsageError: the data are no table.
        """
        if self.spec is None:
            raise UsageError(f"{family} needs a table", remedy="give --data FILE.csv, with --spec or --label")
        return self.spec
