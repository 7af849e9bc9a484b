"""The end of a network that predicts a number."""

from typing import Any

import numpy as np

from ratchet.kinds.parts import Start
from ratchet.tasks.regression.answers import Regression

_SCALE = "targets"


def loss(answers: Regression) -> str:
    return "MeanSquaredError" if answers.squared else "MeanAbsoluteError"


def end(answers: Regression, start: Start, x: Any) -> Any:
    """A number [N, 1], from one of mean 0 and variance 1, in a layer that is not trained."""
    import keras

    return keras.layers.Dense(answers.width, trainable=False, name=_SCALE)(keras.layers.Dense(answers.width)(x))


def adapt(model: Any, targets: np.ndarray) -> None:
    """Sets mean and variance of the targets [N, 1]."""
    if any(layer.name == _SCALE for layer in model.layers):  # a recipe's own network may have none
        scale = float(targets.std()) or 1.0
        model.get_layer(_SCALE).set_weights([np.array([[scale]]), np.array([float(targets.mean())])])


def temperature(targets: np.ndarray, outputs: np.ndarray) -> float:
    return 1.0


def confusion(answers: Regression, targets: np.ndarray, outputs: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return ()
